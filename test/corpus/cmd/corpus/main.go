// Command corpus makes data directories of real MariaDB servers, damages them,
// and sets Berth's verifier against them.
package main

import "github.com/berth-dev/berth/test/program"

func main() { program.Main(root()) }
