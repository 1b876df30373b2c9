package rebuild

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/berth-dev/berth/pkg/datadir"
)

// world is a cluster of processes around an object, with what is really true:
// which servers run, and what the disks hold.
type world struct {
	t       *testing.T
	random  *rand.Rand
	object  Cluster
	past    []Cluster // states the object had
	members []*simulated
	starts  int
	history []string
	grants  int
}

type simulated struct {
	disk    datadir.Position
	attempt int64
	process *Report // waits; nil when there is none
	runs    bool    // a server runs
}

// TestBootstrapsOnlyWhileNoServerRuns lets members start, wait, act and die in
// random order, while the object is lost and restored from old snapshots, and
// peers cannot always reach each other (I6, I7).
func TestBootstrapsOnlyWhileNoServerRuns(t *testing.T) {
	total := 0
	for seed := range uint64(400) {
		w := &world{t: t, random: rand.New(rand.NewPCG(seed, 0))}
		w.object.Replicas = 3
		for range 3 {
			w.members = append(w.members, &simulated{disk: datadir.Undefined})
		}
		for range 400 {
			w.step()
			if t.Failed() {
				t.Fatalf("seed %d", seed)
			}
		}
		total += w.grants
	}
	if total < 400 {
		t.Errorf("%d bootstraps in 400 runs: the test no longer reaches any", total)
	}
}

func (w *world) step() {
	i := w.random.IntN(3)
	m := w.members[i]
	switch n := w.random.IntN(100); {
	case n < 6: // power cut of one, or of all
		m.process, m.runs = nil, false
	case n < 8:
		for _, m := range w.members {
			m.process, m.runs = nil, false
		}
	case n < 9 && len(w.past) > 0: // restored from a snapshot, any time ago
		w.object = copied(w.t, w.past[w.random.IntN(len(w.past))])
		w.note("restore", -1)
	case n < 10: // lost
		w.object = Cluster{Replicas: 3}
		w.note("lose", -1)
	case m.runs:
		m.disk.Seqno++ // a write; the others are behind for now
	case m.process == nil:
		w.report(i, m)
	default:
		w.act(i, m)
	}
}

func (w *world) report(i int, m *simulated) {
	w.starts++
	r := Report{Ordinal: i, Pod: fmt.Sprintf("galera-%d", i), PodUID: "uid", Start: fmt.Sprint(w.starts), State: Waiting, Class: datadir.Empty, Position: m.disk}
	if m.disk.IsReal() {
		r.Class = datadir.Crashed
	}
	r.Evidence.Attempt = m.attempt
	m.process = &r
	w.change(func(c *Cluster) { c.Put(r) })
	w.note("report", i)
}

// act is what a waiting member does with the object, as member.consider does.
func (w *world) act(i int, m *simulated) {
	w.change(func(c *Cluster) {
		if r, found := c.Member(i); !found || !r.Is(*m.process) || r.State != Waiting {
			c.Put(*m.process)
		}
		c.Answering = w.answering(i)
		v := Decide(*c).For(*c, *m.process)
		switch v.Action {
		case Join:
			if c.Enter(*m.process) == nil {
				w.note("join", i)
				w.run(m)
				if !m.disk.KnowsHistory() {
					m.disk = datadir.Position{UUID: fakeUUID("a")}
				}
				if g, found := c.LastGrant(); found {
					m.attempt = g.Attempt
				}
			}
		case Bootstrap:
			if v.Member == i {
				c.Issue(v, fakeUUID("a"))
			}
			c.Agree(*m.process, v)
			g, open := c.OpenGrant(v)
			if !open || g.Member != i || c.Consume(*m.process, g.Attempt) != nil {
				return
			}
			w.note("bootstrap", i)
			w.grants++
			for j, other := range w.members {
				if other.runs {
					w.t.Errorf("member %d bootstraps while member %d runs a server: %v", i, j, w.history)
				}
				if other.disk.Seqno > g.Position.Seqno {
					w.t.Errorf("member %d bootstraps at %s, member %d is at %s: %v", i, g.Position, j, other.disk, w.history)
				}
			}
			w.run(m)
			m.disk, m.attempt = g.Position, g.Attempt
		}
	})
}

func (w *world) run(m *simulated) { m.process, m.runs = nil, true }

// answering are the running servers that this member happens to reach.
func (w *world) answering(me int) []int {
	var answering []int
	for i, m := range w.members {
		if i != me && m.runs && w.random.IntN(3) > 0 {
			answering = append(answering, i)
		}
	}
	return answering
}

func (w *world) change(change func(*Cluster)) {
	if w.random.IntN(10) == 0 {
		w.past = append(w.past, copied(w.t, w.object))
	}
	change(&w.object)
	w.object.Answering = nil
}

func (w *world) note(what string, i int) {
	w.history = append(w.history, fmt.Sprintf("%s %d", what, i))
	if len(w.history) > 30 {
		w.history = w.history[1:]
	}
}

func copied(t *testing.T, c Cluster) Cluster {
	t.Helper()
	content, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	var other Cluster
	if err := json.Unmarshal(content, &other); err != nil {
		t.Fatal(err)
	}
	return other
}
