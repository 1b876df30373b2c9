package explore

import (
	"strings"
	"testing"
	"time"
)

func TestScenarios(t *testing.T) {
	for _, s := range Scenarios() {
		t.Run(s.Name, func(t *testing.T) {
			r := Explore(s, Real(), Limits{Elapsed: 2 * time.Second})
			t.Logf("%d states, %d steps, depth %d, %d bootstraps, complete %v, %s", r.States, r.Steps, r.Depth, r.Bootstraps, r.Complete, r.Elapsed)
			if r.Violation != "" {
				t.Errorf("%s\n%s", r.Violation, strings.Join(r.Trace, "\n"))
			}
		})
	}
}
