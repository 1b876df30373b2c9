// Command bench-volumes measures how long an agent takes to make volumes, beside
// the bare commands, and to find volumes again whose API objects are gone; and
// what it does when nothing happens.
package main
