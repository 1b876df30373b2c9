// Command bench-validate measures galera-init validate beside innochecksum, dd
// and the server's own recovery, on the same files in one interleaved run.
package main
