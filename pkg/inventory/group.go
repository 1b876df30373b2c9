package inventory

import "github.com/berth-dev/berth/pkg/placement"

// group is a volume group: who says that it has it, what is in it, and what it
// owes.
type group struct {
	label      string
	carriers   map[string]struct{} // nodes with the label
	capacities map[*capacity]struct{}
	volumes    map[*held]struct{}
	making     map[*birth]struct{}

	// What follows from these.
	published bool // somebody publishes it
	shown     bool // and the API server itself has shown that
	seqno     int  // of the metadata, as the oldest of its reports has it
	promised  int64
	members   int
}

// group returns the entry of a volume group, made when it is new.
func (l *ledger) group(label string) *group {
	g := l.groups[label]
	if g == nil {
		g = &group{
			label:      label,
			carriers:   map[string]struct{}{},
			capacities: map[*capacity]struct{}{},
			volumes:    map[*held]struct{}{},
			making:     map[*birth]struct{}{},
		}
		l.groups[label] = g
	}
	return g
}

func (g *group) empty() bool {
	return len(g.carriers) == 0 && len(g.capacities) == 0 && len(g.volumes) == 0 && len(g.making) == 0
}

// settle adds the group up, and tells whether shown has changed.
//
// The group owes the volumes that are being made, and those that its published
// free space still contains. The metadata's sequence number orders a volume and
// a capacity without a clock. Classes that share the group publish one after the
// other, so the oldest number counts.
func (g *group) settle(checks *checks) (shownChanged bool) {
	was := g.shown
	g.published, g.shown, g.promised = false, false, 0
	seqno := 0
	for c := range g.capacities {
		if !g.published || c.seqno < seqno {
			seqno = c.seqno
		}
		g.published = true
		g.shown = g.shown || checks.proven(c.uid)
	}
	g.seqno = seqno
	members := map[placement.Member]struct{}{}
	count := func(m placement.Member, c placement.ClaimName) {
		if !m.Known() { // whoever it is, it is somebody
			m = placement.Member{Namespace: c.Namespace, StatefulSet: c.Name, Ordinal: -1}
		}
		members[m] = struct{}{}
	}
	for h := range g.volumes {
		if h.seqno > seqno {
			g.promised += h.bytes
		}
		count(h.member, h.claim)
	}
	for b := range g.making {
		g.promised += b.bytes
		count(b.member, b.claim)
	}
	g.members = len(members)
	return was != g.shown
}
