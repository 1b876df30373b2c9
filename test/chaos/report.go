package chaos

import (
	"slices"

	"github.com/berth-dev/berth/test/figures"
)

// Report turns rounds into figures: a row a measure over all rounds, then the
// same rows a kind of attack.
func Report(rounds []Round) figures.Report {
	report := figures.Report{Target: "chaos"}
	add := func(name string, of []Round) {
		dark := slices.DeleteFunc(slices.Clone(of), func(r Round) bool { return !r.Dark })
		counts := count(of)
		report.Add(name+": to Primary", append(counts, spread(dark, func(r Round) float64 { return r.Primary })...)...)
		report.Add(name+": to all Synced", spread(of, func(r Round) float64 { return r.Synced })...)
		decided := slices.DeleteFunc(slices.Clone(of), func(r Round) bool { return len(r.Decisions) == 0 })
		report.Add(name+": last report to grant", spread(decided, func(r Round) float64 { return slices.Max(r.Decisions) })...)
	}
	add("all rounds", rounds)
	for _, kind := range Attacks() {
		of := slices.DeleteFunc(slices.Clone(rounds), func(r Round) bool { return r.Attack != kind.Name })
		if len(of) > 0 {
			add(kind.Name, of)
		}
	}
	return report
}

// count sums what must not have happened.
func count(rounds []Round) []figures.Figure {
	var lost, double, avoidable, faults int
	for _, r := range rounds {
		lost += r.Act.Lost()
		double += r.Concurrent
		avoidable += r.Avoidable
		if len(r.Faults) > 0 {
			faults++
		}
	}
	return []figures.Figure{
		figures.F("rounds", len(rounds)), figures.F("rounds_with_faults", faults), figures.F("lost_rows", lost),
		figures.F("double_bootstraps", double), figures.F("avoidable_ssts", avoidable),
	}
}

// spread gives the least, the middle and the greatest of a measure, each with
// the seed of its round. Rounds that did not end are left out.
func spread(rounds []Round, measure func(Round) float64) []figures.Figure {
	rounds = slices.DeleteFunc(slices.Clone(rounds), func(r Round) bool { return r.Synced == 0 })
	if len(rounds) == 0 {
		return nil
	}
	slices.SortStableFunc(rounds, func(a, b Round) int {
		switch x, y := measure(a), measure(b); {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	})
	var fs []figures.Figure
	for _, at := range []struct {
		name  string
		round Round
	}{{"min", rounds[0]}, {"median", rounds[len(rounds)/2]}, {"max", rounds[len(rounds)-1]}} {
		fs = append(fs, figures.F(at.name+"_seconds", measure(at.round)), figures.F(at.name+"_seed", at.round.Seed))
	}
	return fs
}
