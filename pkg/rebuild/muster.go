package rebuild

import (
	"slices"

	"github.com/berth-dev/berth/pkg/datadir"
)

// Proof says why a bootstrap needs nothing from a member that is away.
type Proof string

// Proofs. AllowMajority is none: it is what a person chose to risk.
const (
	ByDeclaration Proof = "declared-lost"     // a person says that the volume is destroyed
	ByFlag        Proof = "safe-to-bootstrap" // a member was stopped in order as the last of the Primary component
	ByLastView    Proof = "last-view"         // all members of the last Primary view have reported
	ByMajority    Proof = "majority"          // policy AllowMajority: a majority of the last view has agreed
	ByPerson      Proof = "override"
)

// muster is who counts in a decision.
type muster struct {
	reports []Report // complete, of waiting processes
	away    []int    // all others whose data or server matters
	strays  []Stray
	excused []int // of whom nothing is needed, because of proof
	proof   Proof
	view    *datadir.View // the last Primary view, when it is proved
}

// call says who counts and who is excused.
func (c *Cluster) call() muster {
	var m muster
	for _, s := range c.Strays {
		if !slices.ContainsFunc(c.Spec.Lost, func(l Lost) bool { return l.Volume == s.Volume }) {
			m.strays = append(m.strays, s)
		}
	}
	for _, ordinal := range c.concerned() {
		r, found := c.Member(ordinal)
		switch {
		case found && c.isLost(*r):
			m.excused, m.proof = append(m.excused, ordinal), ByDeclaration
		case found && r.State == Waiting && !c.isSilent(*r):
			m.reports = append(m.reports, *r)
		default:
			m.away = append(m.away, ordinal)
		}
	}
	epoch, known := c.lastEpoch(m.reports)
	if !known {
		return m
	}
	members, proved := 0, 0
	m.view, proved = lastView(m.reports, epoch)
	if m.view != nil {
		members = len(m.view.Members)
	}
	switch {
	case len(m.away)+len(m.strays) == 0:
	case flagged(m.reports, epoch):
		m.excuse(ByFlag)
	case m.view != nil && proved == members && c.Settled == (Settled{Epoch: epoch.ID, View: m.view.ID}):
		m.excuse(ByLastView)
	case m.view != nil && c.Spec.Policy.MissingMembers == AllowMajority && c.isPatienceOver(m.away):
		m.excuse(ByMajority)
	}
	return m
}

func (m *muster) excuse(p Proof) {
	m.excused, m.proof = append(m.excused, m.away...), p
	m.away, m.strays = nil, nil
}

// concerned lists the members whose data or server matters: the StatefulSet's
// replicas; members that the reports' own lineage knows, because a StatefulSet
// may have been made again with fewer; and members beyond the replicas that may
// still run a server or have newer data.
func (c *Cluster) concerned() []int {
	ordinals := c.Expected()
	line := longest(c.Members)
	for _, r := range c.Members {
		epochs := r.Evidence.epochs()
		switch {
		case r.State == Started || r.State == Recovering:
			ordinals = append(ordinals, r.Ordinal)
		case r.State == Waiting && len(epochs) > 0 && newest(epochs).ID == newest(line).ID && r.Class != datadir.Foreign:
			ordinals = append(ordinals, r.Evidence.Lineage.Members...)
		}
	}
	slices.Sort(ordinals)
	ordinals = slices.Compact(ordinals)
	return slices.DeleteFunc(ordinals, func(ordinal int) bool {
		r, found := c.Member(ordinal)
		return !c.IsExpected(ordinal) && (c.isBehind(ordinal) || found && (r.State == Waiting || r.State == Recovering && isBlank(*r)))
	})
}

// isBlank says that a volume was found without anything a server leaves.
func isBlank(r Report) bool {
	return r.Evidence.Lineage == nil && r.Evidence.Grastate.State == datadir.GrastateMissing
}

// isSilent says, under AllowMajority, that a member which once waited does not
// agree to the open grant for longer than the policy waits.
func (c *Cluster) isSilent(r Report) bool {
	g, found := c.LastGrant()
	if !found || g.Consumed || r.Agreed == g.Attempt || slices.Contains(c.Alive, r.Ordinal) || c.Spec.Policy.MissingMembers != AllowMajority {
		return false
	}
	return c.Waited >= c.Spec.Policy.patience() || (g.Proof == ByMajority && slices.Contains(g.Without, r.Ordinal))
}

// isPatienceOver says that the policy waits no longer for some members: nothing
// has changed for long enough, or the open grant says so of them.
func (c *Cluster) isPatienceOver(away []int) bool {
	if c.Waited >= c.Spec.Policy.patience() {
		return true
	}
	g, found := c.LastGrant()
	return found && !g.Consumed && g.Proof == ByMajority &&
		!slices.ContainsFunc(away, func(ordinal int) bool { return !slices.Contains(g.Without, ordinal) })
}

// lastEpoch gives the cluster's last epoch, when object and volumes agree that
// there is no later one. Without that, nothing is known of what a member that is
// away has done since.
func (c *Cluster) lastEpoch(reports []Report) (datadir.Epoch, bool) {
	g, found := c.Running()
	line := longest(reports)
	if !found || len(line) == 0 || newest(line).ID != g.ID {
		return datadir.Epoch{}, false
	}
	promised := int64(0)
	for _, r := range reports {
		promised = max(promised, r.Evidence.attempt())
	}
	for attempt := g.Attempt + 1; attempt <= promised; attempt++ {
		if !c.isUnused(attempt, reports) {
			return datadir.Epoch{}, false
		}
	}
	return newest(line), true
}

// isBehind says that the epoch in which the cluster runs went on without a member
// that was scaled away.
func (c *Cluster) isBehind(ordinal int) bool {
	g, found := c.Running()
	return found && slices.Contains(c.Behind, Behind{Ordinal: ordinal, Epoch: g.ID})
}

// isUnused says that an attempt which somebody agreed to was never consumed: its
// member reports again, and its volume, on which a bootstrap is written down
// beforehand, knows nothing of it.
func (c *Cluster) isUnused(attempt int64, reports []Report) bool {
	for _, g := range c.Grants {
		if g.Attempt != attempt {
			continue
		}
		return !g.Consumed && slices.ContainsFunc(reports, func(r Report) bool {
			return r.Ordinal == g.Member && r.Volume == g.Volume && at(r.Evidence.epochs(), datadir.Epoch{ID: g.ID}) < 0 &&
				(r.Start != g.Start || r.PodUID != g.PodUID)
		})
	}
	return false
}

// flagged says that one member was stopped in order when it was alone in the
// Primary component: all others had left before and hold nothing newer.
func flagged(reports []Report, epoch datadir.Epoch) bool {
	claims := 0
	for _, r := range reports {
		if flag(r) == 0 || !holds(r, epoch) {
			continue
		}
		if r.Class != datadir.Clean {
			return false
		}
		claims++
	}
	return claims == 1
}

// lastView finds the last Primary view of an epoch: one which more than half of
// its members saved as their last. Whatever Primary view came after it would
// have had most of them, and they would have saved that one; who leaves in order
// takes the file away. It answers how many saved it.
//
// That alone does not excuse the others: what one of them made durable before it
// was lost, the view's members have received and perhaps not applied. One of them
// has to have been seen with everything from before the view (Settled).
//
// A server renames the file into place without syncing the directory, and the
// sidecar flushes the volume each second: a view younger than that may be gone
// after a power cut of all of its members.
func lastView(reports []Report, epoch datadir.Epoch) (*datadir.View, int) {
	saved, views := map[string]int{}, map[string]*datadir.View{}
	for _, r := range reports {
		view, epochs := r.Evidence.View, r.Evidence.epochs()
		if view != nil && len(epochs) > 0 && newest(epochs).ID == epoch.ID && slices.Contains(view.Members, view.MyUUID) {
			saved[view.ID]++
			views[view.ID] = view
		}
	}
	var last *datadir.View
	for id, view := range views {
		if 2*saved[id] <= len(view.Members) {
			continue
		}
		if last != nil {
			return nil, 0 // they contradict each other
		}
		last = view
	}
	if last == nil {
		return nil, 0
	}
	return last, saved[last.ID]
}
