package main

import (
	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/test/program"
)

func main() { program.Main(newCommand()) }

type options struct {
	build, out             string
	parts                  []string
	volumes                []int
	rounds, bursts, claims int
}

func newCommand() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "bench-volumes",
		Short: "Measure the provisioner beside bare commands, and how long it takes to find volumes again",
		Long: `bench-volumes has two parts. On a loop device, with a real API server and real LVM
metadata, an agent starts on volumes whose API objects are gone:

  found again  seconds to the last PersistentVolume, and that nothing was made,
               formatted, wiped or removed on the way
  idle         commands and writes to the API when nothing happens

On a node of the test bed, with a real device-mapper, claims are made in turn
with the bare commands on the same node, the agent at rest:

  one claim    until its PersistentVolume is published, over lvcreate and mkfs
  many claims  at once, over the same commands one after the other
  free space   until the node's capacity counts the volume, or shows what somebody
               did by hand

ratio is ours over the bare commands, by medians, or what was measured over what
is allowed. The exit code is 1 when a ratio misses its target. On the loop device
no volume can be active: that all are, and which file system each holds, is what
the benchmark tells the agent. Needs root and what make bed-build makes.`,
		Args:         cobra.NoArgs,
		SilenceUsage: true, SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context()) },
	}
	flags := cmd.Flags()
	flags.StringVar(&o.build, "build", "_out", "directory of what make bed-build made")
	flags.StringVar(&o.out, "out", "_out", "directory for bench-volumes.json")
	flags.StringSliceVar(&o.parts, "parts", []string{"loop", "bed"}, "what to measure: loop, bed")
	flags.IntSliceVar(&o.volumes, "volumes", []int{3, 100, 1000}, "loop: how many volumes to find again")
	flags.IntVar(&o.rounds, "rounds", 7, "bed: rounds of one claim")
	flags.IntVar(&o.bursts, "bursts", 3, "bed: rounds of many claims at once")
	flags.IntVar(&o.claims, "claims", 50, "bed: how many claims at once")
	return cmd
}
