package rebuild

import (
	"slices"

	"github.com/berth-dev/berth/pkg/datadir"
)

// keptGrants is how many grants the state remembers.
const keptGrants = 16

// Grant is the permission to bootstrap once. Grants are never changed but for
// Consumed, which goes from false to true.
type Grant struct {
	Attempt  int64            `json:"attempt"`
	ID       string           `json:"id"` // of the epoch that it begins
	Member   int              `json:"member"`
	Pod      string           `json:"pod"`
	PodUID   string           `json:"podUID"`
	Start    string           `json:"start"`
	Volume   string           `json:"volume"`
	Position datadir.Position `json:"position"`
	Rule     Rule             `json:"rule"`
	Consumed bool             `json:"consumed"`
	// Without are members that nobody waited for, because of Proof.
	Without []int `json:"without,omitempty"`
	Proof   Proof `json:"proof,omitempty"`
	// Epochs are those that the member's data has lived through, this one last.
	Epochs []datadir.Epoch `json:"epochs"`
	// Reports are those on which the decision rests.
	Reports []Report `json:"reports"`
	// Reason is that of an override.
	Reason string `json:"reason,omitempty"`
}

// LastGrant gives the newest grant.
func (c *Cluster) LastGrant() (*Grant, bool) {
	if len(c.Grants) == 0 {
		return nil, false
	}
	return &c.Grants[len(c.Grants)-1], true
}

// Running gives the grant of the epoch in which the cluster runs, as far as the
// object knows: the newest that was consumed.
func (c *Cluster) Running() (*Grant, bool) {
	for i := len(c.Grants) - 1; i >= 0; i-- {
		if c.Grants[i].Consumed {
			return &c.Grants[i], true
		}
	}
	return nil, false
}

// NextAttempt is the number of the next grant: higher than any in the object, on
// any volume that reported, and in this process's memory.
func (c *Cluster) NextAttempt() int64 {
	last := c.Seen
	if g, found := c.LastGrant(); found {
		last = max(last, g.Attempt)
	}
	for _, r := range c.Members {
		last = max(last, r.Evidence.attempt())
	}
	return last + 1
}

// OpenGrant gives the newest grant when it is unconsumed and still what the
// verdict would grant. One that is older than what this process has seen comes
// from an object that lost its memory: it may have been consumed.
func (c *Cluster) OpenGrant(v Verdict) (*Grant, bool) {
	g, found := c.LastGrant()
	if !found || g.Consumed || v.Action != Bootstrap || g.Member != v.Member || g.Attempt < c.Seen {
		return nil, false
	}
	r, found := c.Member(v.Member)
	if !found || r.PodUID != g.PodUID || r.Start != g.Start || r.Volume != g.Volume {
		return nil, false
	}
	if slices.ContainsFunc(v.Without, func(ordinal int) bool { return !slices.Contains(g.Without, ordinal) }) {
		return nil, false // the record says of whom nothing was needed
	}
	if g.Rule != v.Rule || (v.Rule != FirstInstall && g.Position != v.Position) {
		return nil, false
	}
	return g, true
}

// Issue writes the grant that a verdict asks for, when none is open, and says
// whether it did. Every waiting member may issue it. The new epoch gets a fresh
// uuid; a first installation has no history yet and gets one as well.
func (c *Cluster) Issue(v Verdict, freshUUID func() string) bool {
	if _, open := c.OpenGrant(v); open || v.Action != Bootstrap {
		return false
	}
	r, found := c.Member(v.Member)
	if !found {
		return false
	}
	g := Grant{
		Attempt: c.NextAttempt(), ID: freshUUID(), Member: r.Ordinal, Pod: r.Pod, PodUID: r.PodUID, Start: r.Start,
		Volume: r.Volume, Position: v.Position, Rule: v.Rule, Without: v.Without, Proof: v.Proof,
		Reports: sorted(c.Members), Reason: v.Override,
	}
	if v.Rule == FirstInstall {
		g.Position = datadir.Position{UUID: freshUUID(), Seqno: 0}
	}
	parents := ancestors(g.Reports, g.Position)
	if v.Rule == ByOverride { // only the chosen one's line goes on
		parents = ancestors([]Report{*r}, g.Position)
	}
	g.Epochs = datadir.Descend(parents, datadir.Epoch{ID: g.ID, Attempt: g.Attempt, Begin: g.Position})
	c.Grants = append(slices.Clone(c.Grants), g)
	if extra := len(c.Grants) - keptGrants; extra > 0 {
		c.Grants = slices.Delete(c.Grants, 0, extra)
	}
	return true
}

// Lineage is what a member that takes part in a grant's epoch remembers on its
// volume. A member that joined without the API server has to write it when it
// can read the object again: else its data would look like another epoch's.
func (c *Cluster) Lineage(namespace, name string, ordinal int, g Grant, fullTransfer bool) datadir.Lineage {
	return datadir.Lineage{Namespace: namespace, Cluster: name, Ordinal: ordinal,
		Epochs: g.Epochs, Members: c.concerned(), FullTransfer: fullTransfer}
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

// Dissenters lists the members whose agreement a verdict's grant still lacks.
func (c *Cluster) Dissenters(v Verdict, g *Grant) []int {
	var missing []int
	for _, ordinal := range v.Needed {
		if r, found := c.Member(ordinal); !found || r.State != Waiting || r.Agreed != g.Attempt {
			missing = append(missing, ordinal)
		}
	}
	return missing
}

// Consume turns the open grant into a started server of the process that asks:
// the last step before the server starts. It answers why not when the grant of
// this attempt is not this process's, not open, or not agreed by every member
// that has to.
func (c *Cluster) Consume(me Report, attempt int64) *Reason {
	v := Decide(*c)
	if own := v.For(*c, me); own.Action != Bootstrap {
		return &own.Reason
	}
	g, open := c.OpenGrant(v)
	if !open || g.Attempt != attempt || g.Member != me.Ordinal || g.PodUID != me.PodUID || g.Start != me.Start {
		r := because(AwaitingAgreed, "no open grant of attempt %d names this start of %s", attempt, me.Pod)
		return &r
	}
	if missing := c.Dissenters(v, g); len(missing) > 0 {
		r := c.awaiting(g, missing)
		return &r
	}
	g.Consumed = true
	c.observe(g.Position)
	r, _ := c.Member(me.Ordinal)
	c.start(r)
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
	c.start(r)
	return nil
}

// start notes that a server runs: from now on its member may get ahead.
func (c *Cluster) start(r *Report) {
	r.State, r.Joined = Started, false
	c.Behind = slices.DeleteFunc(slices.Clone(c.Behind), func(b Behind) bool { return b.Ordinal == r.Ordinal })
}
