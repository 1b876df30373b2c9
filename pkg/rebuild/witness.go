package rebuild

import (
	"slices"

	"github.com/berth-dev/berth/pkg/datadir"
)

// Sighting is what the sidecar of a running server sees, in this order: first
// the view, then a position, which it makes durable by flushing the engine's log.
// The server shows a view only when it has applied everything before it.
type Sighting struct {
	// Position is the last one committed.
	Position datadir.Position
	// View are the IP addresses of all members of the Primary component
	// (wsrep_incoming_addresses). A server that is not in one reports none.
	View []string
}

// Witness takes a sighting in and says whether it changed anything: the highest
// observed position grows, and members that are not in the Primary component are
// behind it. That is proof for a decision without them; a member beyond the
// replicas that is behind is not waited for.
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
	known := 0 // members of the view whose reports are here
	for _, r := range c.Members {
		if slices.Contains(s.View, r.Address) {
			known++
		}
	}
	var behind []Behind
	for _, ordinal := range c.everybody() {
		r, reported := c.Member(ordinal)
		switch {
		case reported && !slices.Contains(s.View, r.Address):
			behind = append(behind, Behind{ordinal, g.ID})
		case !reported && known == len(s.View):
			behind = append(behind, Behind{ordinal, g.ID})
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

// everybody lists everybody who can be behind: replicas and all that ever
// reported.
func (c *Cluster) everybody() []int {
	all := c.Expected()
	for _, r := range c.Members {
		all = append(all, r.Ordinal)
	}
	slices.Sort(all)
	return slices.Compact(all)
}
