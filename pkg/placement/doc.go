// Package placement decides where the pod of a database member may run: on the
// node that holds its data, on any node with room when it has none yet, or
// nowhere, with the reason.
//
// It is pure. Decide looks at one Request and the Facts gathered for it, asks
// nobody and keeps nothing, so that every story can be told as a script in
// testdata. The order of its rules is the order of what they protect: data that
// exists, then data that may exist, then room for new data.
package placement
