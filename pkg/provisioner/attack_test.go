//go:build !race

// One goroutine plays the sequences: the race detector would only slow them.

package provisioner

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"k8s.io/client-go/kubernetes/fake"

	"github.com/berth-dev/berth/test/knob"
)

// turn is one act of a sequence; its seed decides what exactly happens, whatever
// came before it, so that a sequence can be made shorter.
type turn struct {
	act  int
	seed uint64
}

const sequenceLength = 80

// livedActs are the acts with which three of four sequences begin, so that there is
// something to lose: claims, volumes, and what users wrote.
var livedActs = []string{"user makes a claim", "user makes a claim", "user makes a claim", "user makes a claim", "user makes a claim", "user makes a claim",
	"everybody works", "user writes", "user writes", "user writes", "user writes", "user writes"}

func sequence(seed uint64) []turn {
	r := rand.New(rand.NewPCG(seed, 1))
	all := acts()
	sum := 0
	for _, a := range all {
		sum += a.weight
	}
	var steps []turn
	if seed%4 != 0 {
		for _, name := range livedActs {
			steps = append(steps, turn{slices.IndexFunc(all, func(a act) bool { return a.name == name }), r.Uint64()})
		}
	}
	for range sequenceLength {
		n := r.IntN(sum)
		for i, a := range all {
			if n -= a.weight; n < 0 {
				steps = append(steps, turn{i, r.Uint64()})
				break
			}
		}
	}
	return steps
}

// writersOf is how many PVs the agents of a sequence write at the same time: one, so
// that it can be played again, and in each eighth as many as they do.
func writersOf(seed uint64) int {
	if seed%8 == 5 {
		return DefaultWriters
	}
	return 1
}

// play runs a sequence and returns what was wrong, and what happened until then.
func play(t testing.TB, empty *fake.Clientset, writers int, steps []turn, reached map[string]int) (problem string, story []string) {
	w := newWorld(t, empty, writers)
	w.reached = reached
	defer w.end()
	all := acts()
	for i, s := range steps {
		said := all[s.act].do(w, rand.New(rand.NewPCG(s.seed, 2)))
		if said == "" {
			continue
		}
		w.reached["act: "+all[s.act].name]++
		story = append(story, fmt.Sprintf("%d %s: %s", i, all[s.act].name, said))
		if w.judge(); w.problem != "" {
			return w.problem, story
		}
	}
	for _, said := range w.converge() {
		if said != "" {
			story = append(story, "at the end: "+said)
		}
	}
	return w.problem, story
}

// shrink leaves out what the problem does not need.
func shrink(t testing.TB, empty *fake.Clientset, writers int, steps []turn, problem string) []turn {
	kind, _, _ := strings.Cut(problem, ":")
	for size := len(steps) / 2; size > 0; size /= 2 {
		for at := 0; at+size <= len(steps); {
			shorter := slices.Delete(slices.Clone(steps), at, at+size)
			if got, _ := play(t, empty, writers, shorter, map[string]int{}); strings.HasPrefix(got, kind+":") {
				steps = shorter
			} else {
				at += size
			}
		}
	}
	return steps
}

// TestRandomSequences lets what happens to a cluster happen in random order and
// holds the disks and the API against a small model after each step: I1 to I5;
// afterwards everything is mended, and every claim has to get its own volume.
// SEQUENCES is how many to play, SEED is the first; with SHRINK=0 a sequence with
// a problem is shown as it is.
func TestRandomSequences(t *testing.T) {
	count, first := knob.Number[uint64](t, "SEQUENCES", 100), knob.Number[uint64](t, "SEED", 1)
	shorter := knob.Number(t, "SHRINK", 1) != 0
	empty, reached := fake.NewClientset(), map[string]int{}
	for seed := first; seed < first+count; seed++ {
		steps := sequence(seed)
		problem, story := play(t, empty, writersOf(seed), steps, reached)
		if problem == "" {
			continue
		}
		if shorter {
			steps = shrink(t, empty, writersOf(seed), steps, problem)
			problem, story = play(t, empty, writersOf(seed), steps, reached)
		}
		t.Fatalf("seed %d: %s\n%s", seed, problem, strings.Join(story, "\n"))
	}
	t.Logf("seeds %d to %d: %v", first, first+count-1, reached)
	for _, what := range wanted() {
		if count >= 100 && reached[what] == 0 {
			t.Errorf("no sequence came to %q: it shows nothing of it", what)
		}
	}
}

// wanted is what many sequences have to come to: each act, each way in which a
// call goes wrong, and what becomes of volumes.
func wanted() []string {
	all := []string{"made", "written", "trash", "wiping", "removed", "undeleted", "grown", "adopted after loss", "put aside", "adopted again"}
	for _, a := range acts() {
		all = append(all, "act: "+a.name)
	}
	for _, f := range faultNames {
		all = append(all, "call "+f)
	}
	return all
}
