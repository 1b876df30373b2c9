package explore

import (
	"strings"
	"testing"
	"time"
)

// TestScenarios looks at the first states of every scenario; `make explore`
// looks at all of them.
func TestScenarios(t *testing.T) {
	bootstraps := 0
	for _, s := range Scenarios() {
		t.Run(s.Name, func(t *testing.T) {
			r := Explore(s, Real(), Limits{States: 4000, Deep: true})
			if r.Violation != "" {
				t.Errorf("%s\n%s", r.Violation, strings.Join(r.Trace, "\n"))
			}
			bootstraps += r.Bootstraps
		})
	}
	if bootstraps == 0 {
		t.Error("no bootstrap: nothing was judged")
	}
}

// TestMutantsAreFound shows that the checks can fail: each mutant is the real
// code with one line of defence taken out.
func TestMutantsAreFound(t *testing.T) {
	for _, m := range Mutants() {
		t.Run(m.Name, func(t *testing.T) {
			r := Explore(m.Scenario, m.Rules, Limits{Elapsed: 20 * time.Second})
			if r.Violation == "" {
				t.Fatalf("not found in %d states of %q (all of them: %v)", r.States, m.Scenario.Name, r.Complete)
			}
			t.Logf("after %d states: %s\n%s", r.States, r.Violation, strings.Join(r.Trace, "\n"))
		})
	}
}
