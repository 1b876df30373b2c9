package chaos

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/test/drill"
	"github.com/berth-dev/berth/test/loopback"
	"github.com/berth-dev/berth/test/mutant"
)

// scratch is the tmpfs of this test program.
var scratch string

func TestMain(m *testing.M) {
	var err error
	if scratch, err = loopback.Isolate(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// TestMutantsAreCaught attacks programs that are wrong on purpose: each has to
// show in an attack that it cannot bear, and for the reason that is named.
func TestMutantsAreCaught(t *testing.T) {
	for _, test := range []struct {
		name      string
		mutations []mutant.Mutation
		attack    string
		fault     string
	}{
		{"lowest ordinal", mutant.LowestOrdinal, "one after the other", "acknowledged rows"},
		{"skip agreement", mutant.SkipAgreement, "all, old snapshot of the object", "acknowledged rows"},
		{"hand over nothing", mutant.HandOverNothing, "one", "took a full copy (SST)"},
		{"bootstrap always", mutant.BootstrapAlways, "one", "bootstrapped while the server of"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			overlay, err := mutant.Overlay(dir, test.mutations)
			if err != nil {
				t.Fatal(err)
			}
			program, err := loopback.Build(t.Context(), scratch, overlay...)
			if err != nil {
				t.Fatal(err)
			}
			kind := slices.IndexFunc(Attacks(), func(a Attack) bool { return a.Name == test.attack })
			// A seed whose first victim is not the member with the lowest ordinal proves
			// nothing about that mutant: three seeds find one.
			for try := range 3 {
				rounds, err := Run(t.Context(), Options{
					Scratch: scratch, Program: program, Seed: kind + try*len(Attacks()), Rounds: 1, Lanes: 1, Fresh: 1, Limit: 2 * time.Minute,
					Logs: dir, Progress: drill.NewProgress(os.Stderr, false),
				})
				if err != nil {
					t.Fatal(err)
				}
				if slices.ContainsFunc(rounds[0].Faults, func(f string) bool { return strings.Contains(f, test.fault) }) {
					return
				}
				t.Logf("seed %d: faults %q", rounds[0].Seed, rounds[0].Faults)
			}
			t.Errorf("not caught: no fault with %q", test.fault)
		})
	}
}
