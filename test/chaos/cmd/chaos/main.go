// Command chaos kills members of a Galera cluster at random moments and shows
// what came of it.
package main

import "github.com/berth-dev/berth/test/program"

func main() { program.Main(root()) }
