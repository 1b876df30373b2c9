package main

import (
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"k8s.io/component-base/metrics/testutil"
	"k8s.io/kubernetes/pkg/scheduler/metrics"
)

// plan says how much is measured.
type plan struct {
	rounds int           // of each lane
	length time.Duration // aimed at for a round
	most   int           // pods a round
	every  int           // round of foreign pods that the extender's lane takes part in
}

// slow is a cycle of which one a round is enough.
const slow = time.Second

// result is what a lane cost in each of its rounds.
type result struct {
	lane    string
	samples []sample
	pods    int
}

// sum is how many pods the samples are of.
func (r result) sum() int {
	n := 0
	for _, s := range r.samples {
		n += s.pods
	}
	return n
}

// joined adds the rounds of schedulers that were started anew to those of before.
func joined(before, now []result) []result {
	if before == nil {
		return now
	}
	first := before[0].samples // of stock, which takes part in each
	after := first[len(first)-1].round + 1
	for i := range before {
		for _, s := range now[i].samples {
			s.round += after
			before[i].samples = append(before[i].samples, s)
		}
	}
	return before
}

// besides is what this lane cost over what stock did, in each round in which both
// ran: whatever the machine did then, it did to both.
func (r result) besides(stock result) []float64 {
	ours, theirs := r.byRound(), stock.byRound()
	var ratios []float64
	for round, cost := range ours {
		if beside := theirs[round]; len(beside) > 0 {
			ratios = append(ratios, mean(cost)/mean(beside))
		}
	}
	return ratios
}

func (r result) byRound() map[int][]float64 {
	costs := map[int][]float64{}
	for _, s := range r.samples {
		costs[s.round] = append(costs[s.round], cpuMicros(s))
	}
	return costs
}

// interleave measures a kind of pod in all lanes, round by round, so that
// whatever else the machine does falls on all of them. Foreign pods, which are
// compared to one part in a hundred, are measured on one processor.
func interleave(k kind, lanes []*lane, p plan) (results []result, err error) {
	if k.ours {
		return inTurn(k, lanes, p)
	}
	err = onOneProcessor(func() error {
		results, err = inTurn(k, lanes, p)
		return err
	})
	return results, err
}

func inTurn(k kind, lanes []*lane, p plan) ([]result, error) {
	results := make([]result, len(lanes))
	for i, l := range lanes {
		first, err := l.warm(k, 1) // the first cycle takes in all nodes
		if err != nil {
			return nil, err
		}
		least := 3
		if first.cpu > slow {
			least = 1
		}
		usual, err := l.usual(k, min(least, p.most))
		if err != nil {
			return nil, err
		}
		results[i] = result{lane: l.name, pods: min(p.most, max(least, int(p.length/max(usual, 1))))}
	}
	if !k.ours {
		// What is to be equal must also have equal rounds.
		least := slices.MinFunc(results, func(a, b result) int { return a.pods - b.pods }).pods
		for i := range results {
			results[i].pods = least
		}
	}
	for round := range p.rounds {
		for _, turn := range turns(k, lanes, round, p.every) {
			if err := uncollected(func() error {
				for _, i := range turn {
					if err := results[i].take(lanes[i], k, round); err != nil {
						return err
					}
				}
				return nil
			}); err != nil {
				return nil, err
			}
		}
	}
	return results, nil
}

// usual is what a pod of the kind costs, by which rounds are sized: the least of
// three runs, for the first ones meet cold caches.
func (l *lane) usual(k kind, pods int) (time.Duration, error) {
	runs := 3
	if pods == 1 {
		runs = 1 // too slow to be asked again
	}
	var least time.Duration
	for n := range runs {
		s, err := l.run(k, pods)
		if err != nil {
			return 0, err
		}
		if n == 0 || s.cpu < least {
			least = s.cpu
		}
	}
	return least, nil
}

// uncollected runs f after a collection and with none in it, so that nobody pays for
// another's garbage: a collection costs more than the difference that is looked
// for. What the lanes leave to collect is in their bytes and allocations.
func uncollected(f func() error) error {
	runtime.GC()
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	return f()
}

// turns are the lanes of a round in their order, in groups with a collection before
// each. The order turns around each time, so that no lane always runs in the wake
// of the same other. Foreign pods cost stock and ours the same but for noise: each
// runs twice, so that neither is the one that drifts, with nothing between them. The
// extender comes after them, in an odd number of rounds: who is next has cold caches,
// and takes turns, too.
func turns(k kind, lanes []*lane, round, every int) [][]int {
	var all [][]int
	if k.ours {
		for i := range lanes {
			all = append(all, []int{i})
		}
	} else {
		all = [][]int{{0, 1, 1, 0}}
		for i := 2; i < len(lanes) && round%every == 0; i++ {
			all = append(all, []int{i})
		}
	}
	switch {
	case round%2 == 0:
	case k.ours:
		slices.Reverse(all)
	default:
		all[0] = []int{1, 0, 0, 1}
	}
	return all
}

// take measures one round of the lane.
func (r *result) take(l *lane, k kind, round int) error {
	before, err := hintsUsed(l.profile)
	if err != nil {
		return err
	}
	s, err := l.run(k, r.pods)
	if err != nil {
		return err
	}
	after, err := hintsUsed(l.profile)
	if err != nil {
		return err
	}
	s.round, s.batched = round, (after-before)/float64(r.pods)
	r.samples = append(r.samples, s)
	return nil
}

// hintsUsed reads the scheduler's own count of pods that were batched.
func hintsUsed(profile string) (float64, error) {
	return testutil.GetCounterMetricValue(metrics.BatchAttemptStats.WithLabelValues(profile, metrics.BatchAttemptHintUsed))
}
