package attack

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/berth-dev/berth/pkg/innodb"
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
	for _, c := range damage.Cases() {
		t.Run(c.ID+" "+c.What, func(t *testing.T) {
			d, err := stage.Damage(t.Context(), c, c.ID, 1)
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(d.Root)
			j, err := Judge(t.Context(), d)
			if err != nil {
				t.Fatal(err)
			}
			if fault := Missed(c, j.Report); fault != "" {
				t.Errorf("%s; findings:\n%s", fault, strings.Join(sentences(j.Report), "\n"))
			}
		})
	}
}

// TestStageIsSound holds that the directories which are damaged have no finding of
// their own.
func TestStageIsSound(t *testing.T) {
	m := maker(t)
	stage, err := NewStage(t.Context(), m, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, state := range []damage.State{damage.Stopped, damage.Killed} {
		j, err := Judge(t.Context(), stage.states[state])
		if err != nil {
			t.Fatal(err)
		}
		if alarms := falseAlarms(stage.states[state], j.Report); len(alarms) > 0 {
			t.Errorf("%s: %s", state, strings.Join(alarms[:min(8, len(alarms))], "\n"))
		}
		if slices.ContainsFunc(j.Report.Findings, func(f innodb.Finding) bool { return f.Verdict == innodb.Repairable }) && state == damage.Stopped {
			t.Error("a directory that was stopped has to be repaired")
		}
	}
}
