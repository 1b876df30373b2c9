package rebuild

import (
	"fmt"
	"strings"
	"time"
)

// Waiter is the memory of one process that waits for its verdict. Its steps are
// pure: whoever keeps the state applies Act, Consume and Enter by
// compare-and-swap, and keeps the Waiter that they answer also when the swap may
// have failed.
type Waiter struct {
	Me Report
	// Answering are the members whose group port was seen open just now.
	Answering []int
	// Outside are those of them whose server is in no Primary component.
	Outside []int
	// Seen is the highest attempt that the process has seen or agreed to. It acts
	// on no lower one: an object that offers one has lost its memory.
	Seen int64

	print string // of the last state
	since time.Time
}

// See takes a state in. The time is the process's own clock and measures only
// how long nothing has changed.
func (w Waiter) See(c Cluster, now time.Time) Waiter {
	if g, found := c.LastGrant(); found {
		w.Seen = max(w.Seen, g.Attempt)
	}
	if p := fingerprint(c); p != w.print || w.since.IsZero() {
		w.print, w.since = p, now
	}
	return w
}

// Act does in a state what the verdict asks of a process that waits: it reports
// again when the object does not know this start, issues the grant, and agrees
// to it. It answers the verdict, the attempt that it agrees to (0: none), which
// has to be durable on the volume before the state is written, and whether there
// is anything to write.
func (w Waiter) Act(c *Cluster, now time.Time, freshUUID func() string) (next Waiter, v Verdict, promise int64, changed bool) {
	w = w.See(*c, now)
	if r, found := c.Member(w.Me.Ordinal); !found || !r.Is(w.Me) || r.State != w.Me.State {
		c.Put(w.Me) // the object was lost, or restored from before this start
		changed = true
	}
	w.lend(c, now)
	cluster := Decide(*c)
	v = cluster.For(*c, w.Me)
	if v.Action == Bootstrap {
		issued := c.Issue(cluster, freshUUID)
		agreed := c.Agree(w.Me, cluster)
		if g, open := c.OpenGrant(cluster); open && agreed {
			w.Seen, promise = max(w.Seen, g.Attempt), g.Attempt
		}
		changed = changed || issued || agreed
	}
	return w, v, promise, changed
}

// Ready says whether a verdict lets this process go on: to Enter, or with a
// grant to Consume.
func (w Waiter) Ready(c Cluster, v Verdict, now time.Time) (*Grant, bool) {
	switch v.Action {
	case Join:
		return nil, true
	case Bootstrap:
		w.lend(&c, now)
		cluster := Decide(c)
		g, open := c.OpenGrant(cluster)
		return g, open && g.Member == w.Me.Ordinal && len(c.Dissenters(cluster, g)) == 0
	}
	return nil, false
}

// Consume is Cluster.Consume with what this process knows.
func (w Waiter) Consume(c *Cluster, attempt int64, now time.Time) *Reason {
	w.lend(c, now)
	return c.Consume(w.Me, attempt)
}

// Enter is Cluster.Enter with what this process knows.
func (w Waiter) Enter(c *Cluster, now time.Time) *Reason {
	w.lend(c, now)
	return c.Enter(w.Me)
}

// lend puts what only this process knows into a state.
func (w Waiter) lend(c *Cluster, now time.Time) {
	c.Answering, c.Outside, c.Seen = w.Answering, w.Outside, w.Seen
	c.Alive = []int{w.Me.Ordinal}
	if c.Waited = 0; !w.since.IsZero() {
		c.Waited = now.Sub(w.since)
	}
}

// fingerprint tells states apart that a waiting process has to think about anew.
func fingerprint(c Cluster) string {
	var b strings.Builder
	for _, r := range c.Members {
		fmt.Fprint(&b, r.Ordinal, r.PodUID, r.Start, r.State, r.Agreed, " ")
	}
	if g, found := c.LastGrant(); found {
		fmt.Fprint(&b, g.Attempt, g.Consumed)
	}
	fmt.Fprint(&b, c.Replicas, c.FirstOrdinal, c.Generation)
	return b.String()
}
