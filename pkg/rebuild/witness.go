package rebuild

import (
	"slices"

	"github.com/berth-dev/berth/pkg/datadir"
)

// Sighting is what the sidecar of a running server sees of its Primary component.
type Sighting struct {
	// Position is durable: it was read, then the engine's log was flushed.
	Position datadir.Position
	// View are the IP addresses of all members of the Primary component
	// (wsrep_incoming_addresses). A server that is not in one reports none.
	View []string
}

// Witness takes a sighting in and says whether it changed anything: the highest
// observed position grows; a member beyond the replicas that the Primary
// component went on without has left, and one that is back in it has not; and
// servers on volumes that their members no longer have are not part of it.
func (c *Cluster) Witness(s Sighting) bool {
	changed := false
	if s.Position.IsReal() && highestObserved(*c, nil, s.Position.UUID) < s.Position.Seqno {
		c.observe(s.Position)
		changed = true
	}
	if len(s.View) == 0 {
		return changed
	}
	for i := range c.Members {
		r := &c.Members[i]
		within := slices.Contains(s.View, r.Address)
		switch {
		case r.State == Started && !within && !c.IsExpected(r.Ordinal):
			r.State, changed = Left, true
		case r.State == Left && within:
			r.State, changed = Started, true
		}
	}
	kept := slices.DeleteFunc(slices.Clone(c.Strays), func(stray Stray) bool { return !slices.Contains(s.View, stray.Address) })
	if len(kept) != len(c.Strays) {
		c.Strays, changed = kept, true
	}
	return changed
}
