// Package recovery measures how long it takes to learn the position of a data
// directory: natively, and by the server's own recovery, on the same directories
// in turn. Both answers have to be equal, or there is no figure.
package recovery
