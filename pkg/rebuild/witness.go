package rebuild

import (
	"slices"

	"github.com/berth-dev/berth/pkg/datadir"
)

// Sighting is what the sidecar of a server in the Primary component sees. The
// order of looking matters: view, saved view, position, flush.
type Sighting struct {
	// View are the IP addresses of the component's members (wsrep_incoming_addresses).
	// The server shows a view only when it has applied everything from before it.
	View []string
	// ID is the identity of that view in gvwstate.dat; empty when the file names other
	// members than the server does.
	ID string
	// Position is the last one committed, made durable by flushing the engine's log
	// after it was read.
	Position datadir.Position
}

// Witness takes a sighting in and says whether it changed anything. The highest
// observed position grows; the view is settled; and a member that was scaled away
// is behind once it has left the component.
func (c *Cluster) Witness(s Sighting) bool {
	changed := false
	if s.Position.IsReal() && highestObserved(*c, nil, s.Position.UUID) < s.Position.Seqno {
		c.observe(s.Position)
		changed = true
	}
	g, found := c.Running()
	if len(s.View) == 0 || !found || g.Position.UUID != s.Position.UUID {
		return changed
	}
	if settled := (Settled{Epoch: g.ID, View: s.ID}); s.ID != "" && c.Settled != settled {
		c.Settled, changed = settled, true
	}
	var behind []Behind
	for i := range c.Members {
		r := &c.Members[i]
		within := slices.Contains(s.View, r.Address)
		switch {
		case within && r.State == Started && !r.Joined:
			r.Joined, changed = true, true
		case !within && r.State == Started && r.Joined && !c.IsExpected(r.Ordinal):
			behind = append(behind, Behind{r.Ordinal, g.ID})
		}
	}
	if !slices.Equal(behind, c.Behind) {
		c.Behind, changed = behind, true
	}
	// A server on a volume that its member no longer has may run outside of the
	// Primary component and harms nobody.
	kept := slices.DeleteFunc(slices.Clone(c.Strays), func(stray Stray) bool { return !slices.Contains(s.View, stray.Address) })
	if len(kept) != len(c.Strays) {
		c.Strays, changed = kept, true
	}
	return changed
}
