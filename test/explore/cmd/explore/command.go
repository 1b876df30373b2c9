package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/test/explore"
	"github.com/berth-dev/berth/test/figures"
)

// Run explores scenarios within a time.
type Run struct {
	Seconds  int
	More     uint8
	Only     string
	Mutants  bool
	Figures  string
	Parallel int
}

func newCommand() *cobra.Command {
	var r Run
	cmd := &cobra.Command{
		Use:   "explore",
		Short: "Drive the real decision and grants through every order of faults",
		Long: `explore drives the real code of pkg/rebuild through every order of starts, reports, crashes, power
cuts, isolation, lost answers, lost objects and disks, people's overrides and scaling, and checks in every
state that no second bootstrap (I6), none from the wrong data (I7) and no loss (I9) happens, and that a
decision is reached when all members come back. A violation ends it with the shortest way there.

Each scenario takes its faults as often as its budget says; "complete" means that all of its states were
seen. More time and --more look further.`,
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          func(*cobra.Command, []string) error { return r.Run() },
	}
	fs := cmd.Flags()
	fs.IntVar(&r.Seconds, "seconds", 150, "time for all scenarios together; what one leaves, the next ones get")
	fs.Uint8Var(&r.More, "more", 0, "how often more each fault of a scenario may happen")
	fs.StringVar(&r.Only, "only", "", "only scenarios whose name contains this")
	fs.BoolVar(&r.Mutants, "mutants", true, "first plant mutants, each of which has to be found")
	fs.StringVar(&r.Figures, "figures", "_out", "directory for explore.json")
	fs.IntVar(&r.Parallel, "processors", 1, "processors to use; the search itself is on one")
	return cmd
}

// Run explores and prints what was seen.
func (r *Run) Run() error {
	runtime.GOMAXPROCS(max(1, r.Parallel))
	report := figures.Report{Target: "explore"}
	if r.Mutants {
		for _, m := range explore.Mutants() {
			result := explore.Explore(m.Scenario, m.Rules, explore.Limits{Elapsed: 2 * time.Minute})
			if result.Violation == "" {
				return fmt.Errorf("mutant %q was not found in %d states", m.Name, result.States)
			}
			add(&report, "mutant: "+m.Name, result, "found")
		}
	}
	var chosen []explore.Scenario
	for _, s := range explore.Scenarios() {
		if strings.Contains(s.Name, r.Only) {
			chosen = append(chosen, s.More(r.More))
		}
	}
	if len(chosen) == 0 {
		return fmt.Errorf("no scenario's name contains %q", r.Only)
	}
	var total explore.Result
	left := time.Duration(r.Seconds) * time.Second
	for i, s := range chosen {
		fmt.Fprintf(os.Stderr, "exploring: %s\n", s.Name)
		result := explore.Explore(s, explore.Real(), explore.Limits{Elapsed: left / time.Duration(len(chosen)-i), Deep: true})
		if result.Violation != "" {
			return fmt.Errorf("scenario %q: %s\n  %s", s.Name, result.Violation, strings.Join(result.Trace, "\n  "))
		}
		left -= result.Elapsed
		add(&report, s.Name, result, map[bool]string{true: "complete", false: "within the time"}[result.Complete])
		total.States += result.States
		total.Steps += result.Steps
		total.Bootstraps += result.Bootstraps
		total.Depth = max(total.Depth, result.Depth)
		total.Elapsed += result.Elapsed
	}
	add(&report, "all scenarios", total, "no violation")
	return report.Emit(os.Stdout, r.Figures)
}

func add(report *figures.Report, what string, r explore.Result, outcome string) {
	report.Add(what, figures.F("states", r.States), figures.F("steps", r.Steps), figures.F("depth", r.Depth), figures.F("bootstraps", r.Bootstraps),
		figures.F("elapsed_seconds", r.Elapsed.Seconds()), figures.F("outcome", outcome))
}
