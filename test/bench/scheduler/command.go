package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/kubernetes/pkg/scheduler/apis/config"

	"github.com/berth-dev/berth/test/figures"
)

type options struct {
	manifests, out string
	nodes          []int
	plan           plan
	neutralRounds  int
	neutralPods    int
	neutralStarts  int
	only           string // a regular expression
	control        string // what takes the place of ours

	parts      []string
	stormNodes int
	weather    weather
}

// The schedulers that are compared, beside stock with an extender.
const (
	laneStock = "stock"
	laneOurs  = "VolumeHome"
	laneAgain = "stock again"
	laneNamed = "stock, one node named"
)

// The controls: what is measured in the place of ours.
const (
	controlStock = "stock"
	controlNamed = "named"
)

// signed is what a row's name ends in when the scheduler may batch.
const signed = ", signed"

// signedStarts is how many times as many starts batched pods get: they cost a fifth of
// others, so that a part in a hundred of them is a microsecond.
const signedStarts = 3

// The parts of the benchmark.
const (
	cycles = "cycles"
	storm  = "storm"
)

func newCommand() *cobra.Command {
	o := options{}
	cmd := &cobra.Command{
		Use:   "bench-scheduler",
		Short: "Measure scheduling cycles of stock kube-scheduler and of Berth's, side by side",
		Long: `bench-scheduler runs stock kube-scheduler, Berth's scheduler and stock
kube-scheduler with Berth's extender in this process, round by round in turn, and
prints for each kind of pod and size of cluster

  cycle_us_p50   median time of a scheduling cycle, queue to assumed pod
  cpu_us_p50     the same in processor time, which other work on the machine blurs less
  ratio          stock's median over this one's, and ratio_cpu; for foreign pods, where
                 1 is the aim, the median of this one's processor time over that of
                 stock in the same turn
  bytes, allocs  allocated for a pod, in both ends for the extender
  batched_share  of pods that took the place an equal pod's cycle left them
  goal, met      what the row has to reach, and whether it does

Then it measures what an API storm does: unrelated pods in a calm and in a storm of
events about volumes and capacities, from the queue to the binding, while members
wait for nodes that are away (bench-scheduler-storm.json). Between the two is a wind,
in which this process makes the events and the scheduler gets none: what that costs
is not the scheduler's.

A pod that is not placed, or not with its volume, ends the run with an error. The
exit code is 1 as well when a goal is missed. Foreign pods are compared to one part
in a hundred, for which the benchmark keeps to one processor; leave it that one.`,
		Example:       "  bench-scheduler\n  bench-scheduler --parts storm\n  bench-scheduler --parts cycles --only 'foreign.*signed' --control stock\n  bench-scheduler --parts cycles --nodes 5000 --only 'new volume' --control named\n  bench-scheduler --parts cycles --nodes 100 --rounds 3 --neutral-rounds 5",
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          func(*cobra.Command, []string) error { return o.run() },
	}
	flags := cmd.Flags()
	flags.StringVar(&o.manifests, "manifests", "manifests", "directory with the configurations: base/scheduler.yaml, extender/kube-scheduler.yaml")
	flags.StringVar(&o.out, "out", "_out", "directory for bench-scheduler.json and bench-scheduler-storm.json")
	flags.StringSliceVar(&o.parts, "parts", []string{cycles, storm}, "what to measure")
	flags.IntSliceVar(&o.nodes, "nodes", []int{100, 1000, 5000}, "sizes of cluster")
	flags.StringVar(&o.only, "only", "", "regular expression of the cycles to measure, as the table names them: \"foreign.*signed\"")
	flags.StringVar(&o.control, "control", "", "in the place of ours: \"stock\", itself, what a ratio of this machine is worth; or \"named\", for new volumes only, stock with a plugin that names a node and knows nothing, the most that any plugin can reach")
	flags.IntVar(&o.plan.rounds, "rounds", 7, "rounds of each scheduler, for pods with volumes of ours")
	flags.IntVar(&o.neutralRounds, "neutral-rounds", 200, "rounds of stock and ours, for foreign pods")
	flags.IntVar(&o.neutralPods, "neutral-pods", 480, "most foreign pods of a scheduler at a time, twice in a round")
	flags.IntVar(&o.neutralStarts, "neutral-starts", 10, "how often the schedulers are started anew for these rounds: where their memory lies is worth a part in a hundred")
	flags.IntVar(&o.plan.every, "extender-every", 5, "the extender takes part in each so manieth of these rounds")
	flags.DurationVar(&o.plan.length, "round", 200*time.Millisecond, "aim for the length of a round")
	flags.IntVar(&o.plan.most, "pods", 60, "most pods in a round")
	flags.IntVar(&o.stormNodes, "storm-nodes", 1000, "size of cluster for the storm")
	flags.IntVar(&o.weather.events, "storm-events", 10_000, "events a second")
	flags.DurationVar(&o.weather.calm, "storm-calm", 20*time.Second, "length of the calm, and of the wind")
	flags.DurationVar(&o.weather.storm, "storm-length", time.Minute, "length of the storm")
	flags.DurationVar(&o.weather.probe, "storm-probe", 20*time.Millisecond, "time between two unrelated pods")
	return cmd
}

// run measures everything before it says which goals were missed.
func (o options) run() error {
	var problems []error
	for _, part := range []struct {
		name    string
		report  figures.Report
		measure func(*figures.Report) error
	}{
		{cycles, figures.Report{Target: "bench-scheduler"}, o.sizes},
		{storm, figures.Report{Target: "bench-scheduler-storm"}, o.storms},
	} {
		if !slices.Contains(o.parts, part.name) {
			continue
		}
		if err := part.measure(&part.report); err != nil {
			return err
		}
		if err := part.report.Emit(os.Stdout, o.out); err != nil {
			return err
		}
		problems = append(problems, missed(part.report))
	}
	return errors.Join(problems...)
}

func (o options) sizes(report *figures.Report) error {
	for _, n := range o.nodes {
		before := len(report.Rows)
		if err := o.size(report, n); err != nil {
			return err
		}
		// It takes an hour: what is known is shown and kept.
		figures.Report{Rows: report.Rows[before:]}.Print(os.Stderr)
		if err := report.Save(o.out); err != nil {
			return err
		}
	}
	if len(report.Rows) == 0 {
		return fmt.Errorf("measure what --only %q matches: it matches no cycle; the table of a run without it has the names", o.only)
	}
	return nil
}

// size measures one size of cluster: as the schedulers are configured, in a
// cluster where no volume is there yet, and with signatures.
func (o options) size(report *figures.Report, nodes int) error {
	stock, ours, err := o.profiles()
	if err != nil {
		return err
	}
	pods := max(o.plan.most, o.neutralPods)
	only, err := regexp.Compile(o.only)
	if err != nil {
		return fmt.Errorf("read --only: %w", err)
	}
	full := world{nodes: nodes, volumes: volumesPerNode * nodes, pods: pods}
	first := world{nodes: nodes, pods: pods}
	for _, part := range []struct {
		world       world
		suffix      string
		kinds       []kind
		stock, ours []config.KubeSchedulerProfile
	}{
		{full, "", []kind{boundVolume(), newVolume(newAmongMany), noVolume(), foreignVolume()}, stock, ours},
		{first, ", none there yet", []kind{newVolume(newAmongNone)}, stock, ours},
		{full, signed, []kind{noVolume()}, withSignatures(stock), withSignatures(ours)},
	} {
		kinds := slices.DeleteFunc(part.kinds, func(k kind) bool { return !only.MatchString(nameOf(part.world, k, part.suffix)) })
		if len(kinds) == 0 {
			continue
		}
		if err := o.lanes(report, part.world, part.suffix, kinds, part.stock, part.ours); err != nil {
			return err
		}
	}
	if o.only != "" {
		return nil
	}
	return footprint(report, full)
}

// nameOf is what the table calls a kind of pod in a cluster.
func nameOf(w world, k kind, suffix string) string {
	return fmt.Sprintf("%d nodes, %s%s", w.nodes, k.name, suffix)
}

func (o options) profiles() (stock, ours []config.KubeSchedulerProfile, err error) {
	if stock, err = stockProfiles(); err != nil {
		return nil, nil, err
	}
	ours, err = ourProfiles(filepath.Join(o.manifests, "base", "scheduler.yaml"))
	return stock, ours, err
}

func (o options) lanes(report *figures.Report, w world, suffix string, kinds []kind, stock, ours []config.KubeSchedulerProfile) error {
	dir, err := os.MkdirTemp("", "bench-scheduler-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	extended, err := extenderSetup(filepath.Join(o.manifests, "extender", "kube-scheduler.yaml"), dir, stock)
	if err != nil {
		return err
	}
	second := setup{name: laneOurs, profiles: ours}
	switch o.control {
	case "":
	case controlStock:
		second = setup{name: laneAgain, profiles: stock, csiDriver: true}
	case controlNamed:
		second = setup{name: laneNamed, profiles: withNamed(stock)}
	default:
		return fmt.Errorf("read --control %q: want %s or %s", o.control, controlStock, controlNamed)
	}
	setups := []setup{{name: laneStock, profiles: stock, csiDriver: true}, second, extended}
	measured := make([][]result, len(kinds))
	starts := o.neutralStarts
	if suffix == signed {
		starts *= signedStarts
	}
	for start := range starts {
		if err := withLanes(setups, w, start%2 == 1, func(lanes []*lane) error {
			for n, k := range kinds {
				p := o.plan
				switch {
				case !k.ours:
					p.rounds, p.most = max(o.neutralRounds/o.neutralStarts, 1), o.neutralPods
				case start > 0:
					continue // factors are looked for, not parts in a hundred
				}
				fmt.Fprintf(os.Stderr, "start %d: %s\n", start+1, nameOf(w, k, suffix))
				results, err := interleave(k, lanes, p)
				if err != nil {
					return err
				}
				measured[n] = joined(measured[n], results)
			}
			return nil
		}); err != nil {
			return err
		}
		if !slices.ContainsFunc(kinds, func(k kind) bool { return !k.ours }) {
			break
		}
	}
	for n, k := range kinds {
		for _, r := range measured[n] {
			add(report, nameOf(w, k, suffix)+": "+r.lane, k, r, measured[n][0], goals(w, k, suffix, r.lane))
		}
	}
	return nil
}

// withLanes starts the schedulers, each on a world of its own, and ends them after f.
// Which one is started first takes turns: it lies in memory that nobody has used yet.
func withLanes(setups []setup, w world, backwards bool, f func([]*lane) error) error {
	lanes := make([]*lane, len(setups))
	for n := range setups {
		if backwards {
			n = len(setups) - 1 - n
		}
		w.csiDriver = setups[n].csiDriver
		l, err := newLane(setups[n], w)
		if err != nil {
			return err
		}
		defer l.stop()
		lanes[n] = l
	}
	return f(lanes)
}

// goals are what a lane's figures have to reach beside stock's.
func goals(w world, k kind, suffix, lane string) []goal {
	switch {
	case lane != laneOurs:
		return nil
	case k.ours && w.nodes < large:
		return nil
	case k.ours:
		return []goal{atLeast(figures.Ratio, k.faster)}
	case suffix == signed:
		return []goal{atMost(figures.Ratio, 1.01), atLeast("batched_share", 0.9)}
	default:
		return []goal{atMost(figures.Ratio, 1.01)}
	}
}

// add makes a row of one lane's result beside the first lane's.
func add(report *figures.Report, what string, k kind, r, stock result, goals []goal) {
	wall := of(r.samples, wallMicros)
	row := []figures.Figure{
		figures.F("pods", r.sum()),
		figures.F("cycle_us_p50", median(wall)),
		figures.F("cpu_us_p50", median(of(r.samples, cpuMicros))),
		figures.F("bytes_per_pod", median(of(r.samples, func(s sample) float64 { return s.bytes }))),
		figures.F("allocs_per_pod", median(of(r.samples, func(s sample) float64 { return s.allocs }))),
		figures.F("batched_share", median(of(r.samples, func(s sample) float64 { return s.batched }))),
	}
	switch {
	case r.lane == stock.lane:
	case k.ours:
		row = append(row,
			figures.F(figures.Ratio, median(of(stock.samples, wallMicros))/median(wall)),
			figures.F("ratio_cpu", median(of(stock.samples, cpuMicros))/median(of(r.samples, cpuMicros))))
	default:
		turns := r.besides(stock)
		row = append(row,
			figures.F(figures.Ratio, median(turns)),
			figures.F("ratio_p25", quantile(turns, 0.25)),
			figures.F("ratio_p75", quantile(turns, 0.75)))
	}
	report.Add(what, judged(row, goals...)...)
}
