package provisioner

import (
	"context"
	"errors"
	"testing"
	"time"

	"k8s.io/utils/clock"
)

// woken says whether a pass was asked for since the last call.
func (f *fixture) woken() bool {
	select {
	case <-f.agent.wake:
		return true
	default:
		return false
	}
}

// A change that no report has wakes the agent; its own, which its reports have, do
// not, nor what a watch tells late.
func TestNoticed(t *testing.T) {
	f := newFixture(t)
	f.pass()
	f.mustProvision("data-galera-0")
	f.woken() // by the claim itself
	report, err := f.agent.lvm.Report(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	seqno := report.VG("berth")[0].Seqno
	for name, c := range map[string]struct {
		vg    string
		seqno int
		want  bool
	}{
		"its own, in the last report": {"berth", seqno, false},
		"one before":                  {"berth", seqno - 1, false},
		"somebody else's":             {"berth", seqno + 1, true},
		"a group that is new":         {"other", 1, true},
		"removed, or not readable":    {"berth", 0, true},
		"nothing in particular":       {"", 0, true},
	} {
		f.agent.noticed(c.vg, c.seqno)
		if got := f.woken(); got != c.want {
			t.Errorf("%s: woken %t", name, got)
		}
	}

	// What is told while work is in hand is judged by the report that ends it.
	f.agent.mu.Lock()
	judged := make(chan struct{})
	go func() { defer close(judged); f.agent.noticed("berth", seqno+1) }()
	f.agent.seqnos = map[string]int{"berth": seqno + 1}
	f.agent.mu.Unlock()
	<-judged
	if f.woken() {
		t.Error("woken by a change that the report after it has")
	}
}

// askedClock hands over what somebody waits for, and lets it be over.
type askedClock struct {
	clock.Clock
	asked chan time.Duration
	over  chan time.Time
}

func (c askedClock) After(d time.Duration) <-chan time.Time {
	c.asked <- d
	return c.over
}

// A watch that ends is tried again, until the agent ends.
func TestWatchGroups(t *testing.T) {
	f := newFixture(t)
	ctx, cancel := context.WithCancel(t.Context())
	asked := askedClock{clock.RealClock{}, make(chan time.Duration), make(chan time.Time)}
	f.agent.clock = asked
	f.agent.watch = func(_ context.Context, changed func(string, int)) error {
		changed("", 0)
		return errors.New("nothing to watch")
	}
	ended := make(chan struct{})
	go func() { defer close(ended); f.agent.watchGroups(ctx) }()
	for range 2 {
		if d := <-asked.asked; d != watchAgain {
			t.Errorf("waits %s", d)
		}
		if !f.woken() {
			t.Error("not woken")
		}
		asked.over <- time.Time{}
	}
	<-asked.asked
	cancel()
	<-ended
}
