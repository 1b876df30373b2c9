package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/test/corpus/attack"
	"github.com/berth-dev/berth/test/figures"
)

func crashCommand(o *options) *cobra.Command {
	var runs int
	cmd := &cobra.Command{
		Use:   "crash-runs",
		Short: "Kill servers under load: no false alarm, and the server's own position",
		Long: `crash-runs kills N servers, through all formats and kinds of load, every third with a binary log.
Each directory is verified before and after the server's own recovery, and the position that Berth reads
before is compared with the server's. It fails when a sound directory is called damaged, when a position
without binary log is not equal or one with it is higher. The directories of such runs are kept.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runCrashes(cmd.Context(), o, runs) },
	}
	cmd.Flags().IntVar(&runs, "runs", 200, "how many crashes")
	return cmd
}

func runCrashes(ctx context.Context, o *options, n int) error {
	m, err := o.maker()
	if err != nil {
		return err
	}
	bar := progress(n, "crash")
	var mutex sync.Mutex
	var runs []attack.CrashRun
	bad := 0
	crashes := attack.Crashes(n, o.seed)
	err = o.each(ctx, n, func(ctx context.Context, i int) error {
		name := attack.Name(i, crashes[i])
		run, err := attack.RunCrash(ctx, m, crashes[i], name)
		if err != nil {
			return err
		}
		mutex.Lock()
		defer mutex.Unlock()
		bar.Add(1)
		runs = append(runs, run)
		complaints := append(run.Alarms, run.Faults...)
		if len(complaints) == 0 {
			return os.RemoveAll(filepath.Join(m.Root, name))
		}
		bad++
		fmt.Fprintf(os.Stderr, "%s (kept):\n", name)
		for _, c := range complaints[:min(5, len(complaints))] {
			fmt.Fprintln(os.Stderr, " ", c)
		}
		return nil
	})
	// What was played counts, also when the rest cannot be.
	report := figures.Report{Target: "crash-runs"}
	for _, row := range attack.Tally(runs) {
		report.Add(row.Of, figures.F("runs", row.Runs), figures.F("false_alarms_before", row.AlarmsBefore), figures.F("false_alarms_after", row.AlarmsAfter),
			figures.F("positions_equal", row.Equal), figures.F("positions_lower", row.Lower), figures.F("positions_higher", row.Higher),
			figures.F("positions_unknown", row.Unknown), figures.F("faults", row.Faults), figures.F("redo_bytes_max", row.Redo), figures.F("recoveries_hung", row.Hung))
	}
	err = errors.Join(err, report.Emit(os.Stdout, o.out))
	if bad > 0 {
		err = errors.Join(err, fmt.Errorf("%d of %d crashes were judged wrongly; their directories are in %s", bad, len(runs), m.Root))
	}
	return err
}
