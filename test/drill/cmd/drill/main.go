// Command drill rehearses the worst day of a Galera cluster on the test bed and
// shows what came of it.
package main

import "github.com/berth-dev/berth/test/program"

func main() { program.Main(root()) }
