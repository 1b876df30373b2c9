package main

import (
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
}

// result is what a lane cost in each round, and how many of its pods took the
// place that an equal pod's cycle had left for them.
type result struct {
	lane    *lane
	samples []sample
	pods    int
	batched float64
}

// interleave measures a kind of pod in all lanes, round by round, so that
// whatever else the machine does falls on all of them. The order turns around
// each time, so that no lane always runs in the wake of the same other.
func interleave(k kind, lanes []*lane, p plan) ([]result, error) {
	results := make([]result, len(lanes))
	for i, l := range lanes {
		if err := l.warm(k, 1); err != nil { // the first cycle takes in all nodes
			return nil, err
		}
		usual, err := l.run(k, min(3, p.most))
		if err != nil {
			return nil, err
		}
		results[i] = result{lane: l, pods: min(p.most, max(3, int(p.length/max(usual.cpu, 1))))}
	}
	if !k.ours {
		// What is to be equal must also have equal rounds.
		least := slices.MinFunc(results, func(a, b result) int { return a.pods - b.pods }).pods
		for i := range results {
			results[i].pods = least
		}
	}
	order := make([]int, len(lanes))
	for i := range order {
		order[i] = i
	}
	for range p.rounds {
		for _, i := range order {
			r := &results[i]
			before, err := hintsUsed(r.lane.profile)
			if err != nil {
				return nil, err
			}
			s, err := r.lane.run(k, r.pods)
			if err != nil {
				return nil, err
			}
			after, err := hintsUsed(r.lane.profile)
			if err != nil {
				return nil, err
			}
			r.samples = append(r.samples, s)
			r.batched += (after - before) / float64(r.pods*p.rounds)
		}
		slices.Reverse(order)
	}
	return results, nil
}

// hintsUsed reads the scheduler's own count of pods that were batched.
func hintsUsed(profile string) (float64, error) {
	return testutil.GetCounterMetricValue(metrics.BatchAttemptStats.WithLabelValues(profile, metrics.BatchAttemptHintUsed))
}
