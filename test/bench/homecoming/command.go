package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/test/figures"
)

type options struct {
	size           size
	rounds         int
	only           []string
	manifests, out string
}

func newCommand() *cobra.Command {
	o := options{}
	cmd := &cobra.Command{
		Use:   "bench-scheduler-e2e",
		Short: "Re-create Galera StatefulSets against their volumes, and count who comes home",
		Long: `bench-scheduler-e2e starts etcd, a Kubernetes API server with its controllers, and
nodes that are played, with the released volumes of many Galera clusters on them.
Then all StatefulSets are applied at once, under stock kube-scheduler, Berth's, and
stock kube-scheduler with Berth's extender in turn. The table says how many pods
were bound a second, how many members are on another node than their data, and how
many got a blank volume. It fails when that happened under a scheduler of Berth.`,
		Example: "  bench-scheduler-e2e\n  bench-scheduler-e2e --clusters 20 --nodes 9",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context()) },
	}
	flags := cmd.Flags()
	flags.IntVar(&o.size.clusters, "clusters", 500, "StatefulSets of three")
	flags.IntVar(&o.size.nodes, "nodes", 100, "nodes, each with a volume group")
	flags.DurationVar(&o.size.look, "look", 2*time.Second, "longest that an agent takes to see that a volume was released")
	flags.DurationVar(&o.size.limit, "limit", 15*time.Minute, "longest run")
	flags.DurationVar(&o.size.still, "still", time.Minute, "a run is over when no pod was bound for so long")
	flags.IntVar(&o.rounds, "rounds", 1, "runs of each scheduler, in turn")
	flags.StringSliceVar(&o.only, "only", nil, "only these of stock, VolumeHome, stock+extender")
	flags.StringVar(&o.manifests, "manifests", "manifests", "directory with the configurations: base/scheduler.yaml, extender")
	flags.StringVar(&o.out, "out", "_out", "directory for bench-scheduler-e2e.json")
	return cmd
}

func (o options) run(ctx context.Context) error {
	report := figures.Report{Target: "bench-scheduler-e2e"}
	speeds := map[string][]float64{}
	var lost error
	for round := range o.rounds {
		for _, c := range contenders() {
			if len(o.only) > 0 && !slices.Contains(o.only, c.name) {
				continue
			}
			fmt.Fprintf(os.Stderr, "%d clusters on %d nodes: %s\n", o.size.clusters, o.size.nodes, c.name)
			result, err := homecoming(ctx, c, o.size, o.manifests)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			speed := float64(result.bound()) / result.took.Seconds()
			speeds[c.name] = append(speeds[c.name], speed)
			row := []figures.Figure{
				figures.F("members", o.size.clusters*members),
				figures.F("bound", result.bound()),
				figures.F("seconds", result.took.Seconds()),
				figures.F("pods_bound_per_second", speed),
				figures.F("wrong_node", result.wrong),
				figures.F("blank_volume", result.blank),
				figures.F("blank_volumes_made", result.blanksMade),
				figures.F("with_a_sibling", result.shared),
				figures.F("pending", result.pending),
			}
			if stock := speeds["stock"]; c.name != "stock" && len(stock) > 0 {
				row = append(row, figures.F(figures.Ratio, speed/stock[len(stock)-1]))
			}
			report.Add(fmt.Sprintf("%s, round %d", c.name, round+1), row...)
			if c.name != "stock" && (result.wrong > 0 || result.blank > 0 || result.pending > 0) {
				lost = fmt.Errorf("under %s %d members are on a wrong node, %d have a blank volume, %d wait", c.name, result.wrong, result.blank, result.pending)
			}
		}
	}
	if err := report.Emit(os.Stdout, o.out); err != nil {
		return err
	}
	return lost
}
