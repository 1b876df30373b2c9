// Command bench-volumes measures how long an agent takes to find volumes again
// whose API objects are gone, and what it does when nothing happens.
package main
