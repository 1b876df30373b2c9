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
	program, err := loopback.Build(t.Context(), scratch)
	if err != nil {
		t.Fatal(err)
	}
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
			plant, err := loopback.Build(t.Context(), dir, overlay...)
			if err != nil {
				t.Fatal(err)
			}
			rounds, err := Run(t.Context(), Options{
				Scratch: scratch, Program: program, Plant: plant, Seed: seedOf(test.attack), Rounds: 1, Lanes: 1, Fresh: 1, Limit: 2 * time.Minute,
				Logs: dir, Progress: drill.NewProgress(os.Stderr, false),
			})
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(rounds[0].Faults, func(f string) bool { return strings.Contains(f, test.fault) }) {
				t.Errorf("not caught: no fault with %q in %q", test.fault, rounds[0].Faults)
			}
		})
	}
}

// seedOf is the first seed of an attack that strikes the member with the lowest
// ordinal first, so that it is the stalest.
func seedOf(attack string) int {
	seed := slices.IndexFunc(Attacks(), func(a Attack) bool { return a.Name == attack })
	for victim(seed) != 0 {
		seed += len(Attacks())
	}
	return seed
}

func victim(seed int) int {
	order := []int{0, 1, 2}
	source(seed).Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	return order[0]
}
