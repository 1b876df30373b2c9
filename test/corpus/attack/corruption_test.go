package attack

import (
	"os"
	"strings"
	"testing"

	"github.com/berth-dev/berth/test/corpus/damage"
)

// TestCorruption damages directories in every way of the reference's table, and
// wants a finding of the right kind. For damage that no check without a server can
// see it holds that there is none, so that docs/limitations.md stays true.
func TestCorruption(t *testing.T) {
	m := maker(t)
	stage, err := NewStage(t.Context(), m, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, state := range []damage.State{damage.Stopped, damage.Killed, damage.Unflushed} {
		j, err := Judge(t.Context(), stage.states[state], false)
		if err != nil {
			t.Fatal(err)
		}
		if alarms := falseAlarms(stage.states[state], j.Report); len(alarms) > 0 {
			t.Errorf("%s, before any damage: %s", state, strings.Join(alarms[:min(8, len(alarms))], "\n"))
		}
	}
	for _, c := range damage.Cases() {
		t.Run(c.ID+" "+c.What, func(t *testing.T) {
			t.Parallel()
			d, err := stage.Damage(t.Context(), c, c.ID, 1)
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(d.Root)
			j, err := Judge(t.Context(), d, false)
			if err != nil {
				t.Fatal(err)
			}
			if fault := Missed(c, j.Report); fault != "" {
				t.Errorf("%s; findings:\n%s", fault, strings.Join(sentences(j.Report), "\n"))
			}
		})
	}
}
