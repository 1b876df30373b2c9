package rebuild

import (
	"slices"

	"github.com/berth-dev/berth/pkg/datadir"
)

// keptGrants is how many grants the state remembers.
const keptGrants = 16

// OpenGrant gives the newest grant when it is unconsumed and still what the
// verdict would grant.
func (c *Cluster) OpenGrant(v Verdict) (*Grant, bool) {
	g, found := c.LastGrant()
	if !found || g.Consumed || v.Action != Bootstrap || g.Member != v.Member {
		return nil, false
	}
	r, found := c.Member(v.Member)
	if !found || r.PodUID != g.PodUID || r.Start != g.Start || r.Volume != g.Volume {
		return nil, false
	}
	if g.Rule != v.Rule || (v.Rule != FirstInstall && g.Position != v.Position) {
		return nil, false
	}
	return g, true
}

// Issue writes the grant that a verdict asks for, when none is open, and says
// whether it did. A first installation has no history yet and gets freshUUID.
func (c *Cluster) Issue(v Verdict, freshUUID string) bool {
	if _, open := c.OpenGrant(v); open || v.Action != Bootstrap {
		return false
	}
	r, found := c.Member(v.Member)
	if !found {
		return false
	}
	position := v.Position
	if v.Rule == FirstInstall {
		position = datadir.Position{UUID: freshUUID, Seqno: 0}
	}
	c.Grants = append(c.Grants, Grant{
		Attempt: c.lastAttempt() + 1, Member: r.Ordinal, Pod: r.Pod, PodUID: r.PodUID, Start: r.Start,
		Volume: r.Volume, Position: position, Rule: v.Rule, Reports: sorted(c.Members),
	})
	if extra := len(c.Grants) - keptGrants; extra > 0 {
		c.Grants = slices.Delete(c.Grants, 0, extra)
	}
	return true
}

// lastAttempt is the highest attempt in the object or on any volume.
func (c *Cluster) lastAttempt() int64 {
	var last int64
	if g, found := c.LastGrant(); found {
		last = g.Attempt
	}
	for _, r := range c.Members {
		last = max(last, r.Evidence.Attempt)
	}
	return last
}

// Agree records that a waiting process has seen the open grant and will start
// no server before it is consumed or void. It says whether anything changed.
func (c *Cluster) Agree(me Report, v Verdict) bool {
	g, open := c.OpenGrant(v)
	r, found := c.Member(me.Ordinal)
	if !open || !found || !r.Is(me) || r.State != Waiting || r.Agreed == g.Attempt {
		return false
	}
	r.Agreed = g.Attempt
	return true
}

// Dissenters lists the expected members that have not agreed to a grant.
func (c *Cluster) Dissenters(g *Grant) []int {
	var missing []int
	for _, ordinal := range c.Expected() {
		if r, found := c.Member(ordinal); !found || r.State != Waiting || r.Agreed != g.Attempt {
			missing = append(missing, ordinal)
		}
	}
	return missing
}

// Consume turns the open grant into a started server of the process that asks:
// the last step before the server starts. It answers why not when the grant of
// this attempt is not this process's, not open, or not agreed by every member.
func (c *Cluster) Consume(me Report, attempt int64) *Reason {
	v := Decide(*c).For(*c, me)
	if v.Action != Bootstrap {
		return &v.Reason
	}
	g, open := c.OpenGrant(v)
	if !open || g.Attempt != attempt || g.Member != me.Ordinal || g.PodUID != me.PodUID || g.Start != me.Start {
		r := because(AwaitingAgreed, "no open grant of attempt %d names this start of %s", attempt, me.Pod)
		return &r
	}
	if missing := c.Dissenters(g); len(missing) > 0 {
		r := because(AwaitingAgreed, "attempt %d of %s still needs the agreement of %s", g.Attempt, g.Pod, names(*c, missing))
		return &r
	}
	g.Consumed = true
	c.observe(g.Position)
	r, _ := c.Member(me.Ordinal)
	r.State = Started
	return nil
}

// Enter records that a joining process starts its server. It answers why not
// when the verdict is no longer to join.
func (c *Cluster) Enter(me Report) *Reason {
	r, found := c.Member(me.Ordinal)
	if !found || !r.Is(me) {
		reason := because(MissingMembers, "the report of this start of %s is not in the object", me.Pod)
		return &reason
	}
	if v := Decide(*c).For(*c, me); v.Action != Join {
		return &v.Reason
	}
	r.State = Started
	return nil
}
