package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/test/drill"
	"github.com/berth-dev/berth/test/testbed"
)

type options struct {
	bed, build, manifests string
	runs, seed            int
	keep                  bool
}

func root() *cobra.Command {
	o := options{}
	cmd := &cobra.Command{
		Use:   "drill",
		Short: "Rehearse the worst day of a Galera cluster and show what came of it",
		Long: `drill starts a test bed of three nodes, installs Berth and a Galera cluster of
three members from manifests/, and lets a client write. Then
  act 1  the power of all nodes is cut, seconds apart; the StatefulSet, its pods
         and its claims are deleted; power on; the manifests are applied again
  act 2  the same, and the API server forgets everything
  act 3  one member's server is killed under load
It fails when a member changed its node or its logical volume, when not exactly
one freshest member bootstrapped, when a joiner took a full copy without need, or
when an acknowledged row is missing.`,
		Example: "  drill\n  drill --runs 10   # act 1 ten times in a row",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context()) },
	}
	flags := cmd.Flags()
	flags.StringVar(&o.bed, "bed", "_out/demo-bed", "directory of the test bed")
	flags.StringVar(&o.build, "build", "_out", "directory of the build; the figures go there too")
	flags.StringVar(&o.manifests, "manifests", "manifests", "directory with base and galera")
	flags.IntVar(&o.runs, "runs", 0, "instead of the three acts, run act 1 so many times and save the figures as drill-runs.json")
	flags.IntVar(&o.seed, "seed", 0, "which member loses power first, and is killed in act 3 (modulo 3)")
	flags.BoolVar(&o.keep, "keep", false, "leave the test bed running")
	return cmd
}

func (o options) run(ctx context.Context) (err error) {
	info, statErr := os.Stderr.Stat()
	progress := drill.NewProgress(os.Stderr, statErr == nil && info.Mode()&os.ModeCharDevice != 0)
	bed, err := testbed.New(o.bed, testbed.DefaultPaths(o.build))
	if err != nil {
		return err
	}
	bed.Logf = progress.Stage
	// The bed is the drill's own: one that a drill left which was killed is removed.
	if err := bed.Down(ctx); err != nil {
		return err
	}
	if err := bed.Up(ctx, testbed.Config{}); err != nil {
		return err
	}
	if !o.keep {
		defer func() { err = errors.Join(err, bed.Down(context.WithoutCancel(ctx))) }()
	}
	config, err := bed.Config()
	if err != nil {
		return err
	}
	d, err := drill.Start(bed, drill.Options{
		Nodes: config.NodeNames(), Manifests: o.manifests, Writers: 2, Seed: o.seed, Progress: progress,
	})
	if err != nil {
		return err
	}
	defer d.Close()

	record, actErr := o.acts(ctx, d)
	record.Print(os.Stdout)
	target := "demo"
	if o.runs > 0 {
		target = "drill-runs"
	}
	if err := record.Save(o.build, target); err != nil {
		return err
	}
	faults := record.Faults()
	if len(faults) > 0 {
		actErr = errors.Join(fmt.Errorf("%d faults:\n  %s", len(faults), strings.Join(faults, "\n  ")), actErr)
	}
	return actErr
}

// acts runs acts until one cannot be finished, and gives the record of those
// that were.
func (o options) acts(ctx context.Context, d *drill.Drill) (drill.Record, error) {
	acts := []func(context.Context) (drill.Act, error){d.Install, d.PowerCut, d.PowerCutAndWipe, d.KillServer}
	if o.runs > 0 {
		acts = acts[:1]
		for run := range o.runs {
			acts = append(acts, func(ctx context.Context) (drill.Act, error) {
				d.Seed = o.seed + run
				return d.PowerCut(ctx)
			})
		}
	}
	var record drill.Record
	for i, act := range acts {
		done, err := act(ctx)
		if err != nil {
			return record, fmt.Errorf("act %d, %s: %w", i, done.Name, err)
		}
		record.Acts = append(record.Acts, done)
	}
	return record, nil
}
