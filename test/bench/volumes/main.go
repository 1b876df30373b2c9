package main

import (
	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/test/program"
)

func main() { program.Main(newCommand()) }

type options struct {
	build, out string
	volumes    []int
}

func newCommand() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "bench-volumes",
		Short: "Measure how long an agent takes to find volumes again, and what it does when idle",
		Long: `bench-volumes starts an agent on volumes whose API objects are gone, with a real API
server and real LVM metadata on a loop device, and measures

  found again  seconds to the last PersistentVolume, and that nothing was made,
               formatted, wiped or removed on the way
  idle         commands and writes to the API when nothing happens

ratio is what was measured over what is allowed. The exit code is 1 when a ratio
misses its target. Without device-mapper a volume cannot be active: that all are,
and which file system each holds, is what the benchmark tells the agent. Needs
root and the binaries of make control-plane.`,
		Args:         cobra.NoArgs,
		SilenceUsage: true, SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context()) },
	}
	flags := cmd.Flags()
	flags.StringVar(&o.build, "build", "_out", "directory whose bin holds etcd, kube-apiserver and kube-controller-manager")
	flags.StringVar(&o.out, "out", "_out", "directory for bench-volumes.json")
	flags.IntSliceVar(&o.volumes, "volumes", []int{3, 100, 1000}, "how many volumes to find again")
	return cmd
}
