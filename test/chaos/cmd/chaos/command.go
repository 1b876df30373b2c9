package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/test/chaos"
	"github.com/berth-dev/berth/test/drill"
	"github.com/berth-dev/berth/test/loopback"
)

type options struct {
	rounds, seed, lanes, fresh int
	limit                      time.Duration
	out, program               string
	keep                       bool
}

func root() *cobra.Command {
	o := options{}
	cmd := &cobra.Command{
		Use:   "chaos",
		Short: "Kill members of a Galera cluster at random moments and show what came of it",
		Long: `chaos starts three real mariadbd on loopback addresses, each through the real galera-init against a
real API server, in namespaces of its own. Round after round it kills members with kill -9 while clients
write, lets them come back, and compares every member with what was acknowledged. It fails when a row is
missing, when two servers began a group at the same time, when a joiner took a full copy without need, or
when a cluster did not recover by itself.

The seed of a round decides who is killed when; consecutive seeds take all kinds of attack in turn:
  ` + kinds() + `

It needs root, mariadb-server, galera-4 and rsync, and the control plane's binaries (make control-plane).`,
		Example: `  chaos                       # 25 rounds
  chaos --rounds 300 --lanes 2  # two clusters at the same time
  chaos --seed 17 --rounds 1    # the attack of seed 17 again`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context()) },
	}
	flags := cmd.Flags()
	flags.IntVar(&o.rounds, "rounds", 25, "how many rounds")
	flags.IntVar(&o.seed, "seed", 0, "seed of the first round")
	flags.IntVar(&o.lanes, "lanes", 1, "clusters that are attacked at the same time")
	flags.IntVar(&o.fresh, "fresh", 25, "rounds after which a cluster is replaced by a new one")
	flags.DurationVar(&o.limit, "limit", 2*time.Minute, "time to recover, after which a round is given up as faulty; more on a busy machine")
	flags.StringVar(&o.out, "out", "_out", "directory for chaos.json and the logs of rounds with faults")
	flags.BoolVar(&o.keep, "keep-logs", false, "keep the logs of rounds without faults, too")
	flags.StringVar(&o.program, "program", "", "the galera-init to attack; empty: one built from the source")
	return cmd
}

func kinds() string {
	var names []string
	for i, kind := range chaos.Attacks() {
		names = append(names, fmt.Sprintf("%2d  %s", i, kind.Name))
	}
	return strings.Join(names, "\n  ")
}

func (o options) run(ctx context.Context) error {
	if o.rounds < 1 || o.lanes < 1 || o.fresh < 1 || o.seed < 0 {
		return errors.New("--rounds, --lanes and --fresh have to be 1 at least, --seed 0 at least")
	}
	scratch, err := loopback.Isolate()
	if err != nil {
		return err
	}
	program := o.program
	if program == "" {
		if program, err = loopback.Build(ctx, scratch); err != nil {
			return err
		}
	}
	info, statErr := os.Stderr.Stat()
	progress := drill.NewProgress(os.Stderr, statErr == nil && info.Mode()&os.ModeCharDevice != 0)
	rounds, runErr := chaos.Run(ctx, chaos.Options{
		Scratch: scratch, Program: program, Seed: o.seed, Rounds: o.rounds, Lanes: o.lanes, Fresh: o.fresh, Limit: o.limit,
		Logs: filepath.Join(o.out, "chaos"), KeepAll: o.keep, Progress: progress,
	})
	if len(rounds) > 0 {
		if err := chaos.Report(rounds).Emit(os.Stdout, o.out); err != nil {
			return errors.Join(runErr, err)
		}
	}
	var faults []string
	for _, r := range rounds {
		faults = append(faults, r.Faults...)
	}
	if len(faults) > 0 {
		runErr = errors.Join(fmt.Errorf("%d faults (logs in %s):\n  %s", len(faults), filepath.Join(o.out, "chaos"), strings.Join(faults, "\n  ")), runErr)
	}
	return runErr
}
