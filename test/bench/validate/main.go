package main

import (
	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/test/program"
)

func main() { program.Main(newCommand()) }

type options struct {
	program, corpus, out string
	size, redo           int64
	rounds               int
}

func newCommand() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "bench-validate",
		Short: "Measure galera-init validate beside innochecksum, dd and mariadbd --wsrep-recover",
		Long: `bench-validate makes directories with a real server (kept for the next run) and measures, case by
case in turn, so that a busy machine is busy for all:

  warm      the files are in the page cache: validate beside one innochecksum, and beside one a core
  cold      the page cache is dropped before each run: validate beside dd. Needs root
  position  validate --level quick beside mariadbd --wsrep-recover, of which each run has a copy
  rate      validate --rate while dd reads other files of the same disk
  memory    the most that any of these runs of validate had resident
  one pass  bytes that came from the disk in a cold run, over the files' size

ratio is the other one's median over validate's, or what was measured over what was asked for. The
exit code is 1 when a ratio misses its target.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context()) },
	}
	flags := cmd.Flags()
	flags.StringVar(&o.program, "galera-init", "_out/bin/galera-init", "the program to measure")
	flags.StringVar(&o.corpus, "corpus", "_out/bench-validate", "directory for the data directories")
	flags.StringVar(&o.out, "out", "_out", "directory for bench-validate.json")
	flags.Int64Var(&o.size, "size", 2200, "size of the corpus, in MB")
	flags.Int64Var(&o.redo, "redo", 420, "redo log that is not applied when the server is killed, in MB")
	flags.IntVar(&o.rounds, "rounds", 7, "rounds; figures are medians")
	return cmd
}
