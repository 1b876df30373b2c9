package explore

import (
	"fmt"
	"time"

	"github.com/berth-dev/berth/pkg/datadir"
	"github.com/berth-dev/berth/pkg/rebuild"
)

// position is a datadir.Position in small numbers; n is 255 for -1.
type position struct{ uuid, n uint8 }

const none = 255

// report is a rebuild.Report.
type report struct {
	state                uint8 // of states; 0: none
	start, volume, class uint8
	at                   position
	flag, blank, joined  bool
	past                 epochs
	known, vow           uint8
	self, view, with     uint8
	agreed               uint8
}

// grant is a rebuild.Grant without the reports, on which no decision rests.
type grant struct {
	attempt, id, member, start, volume uint8
	at                                 position
	rule, proof                        uint8
	consumed                           bool
	without                            uint8
	past                               epochs
}

type override struct {
	attempt, member uint8
	at              position
	without         uint8
}

// object is a GaleraCluster.
type object struct {
	replicas uint8
	members  [maxMembers]report
	grants   [maxGrants]grant // oldest first; those before the last consumed one are dropped
	observed [2]position
	strays   uint8 // volumes
	behind   uint8 // members, in the epoch of the last consumed grant
	settled  uint8 // view, in that epoch
	override override
	lost     uint8 // volumes
	majority bool
}

var (
	states  = []rebuild.State{"", rebuild.Recovering, rebuild.Waiting, rebuild.Started}
	classes = []datadir.Class{datadir.Empty, datadir.Clean, datadir.Crashed, datadir.SSTVictim, datadir.Corrupt}
	rules   = []rebuild.Rule{"", rebuild.ByOverride, rebuild.OnlyCandidate, rebuild.HighestSeqno, rebuild.BestClass,
		rebuild.SafeFlag, rebuild.LongestCache, rebuild.LowestOrdinal, rebuild.FirstInstall}
	proofs = []rebuild.Proof{"", rebuild.ByDeclaration, rebuild.ByFlag, rebuild.ByLastView, rebuild.ByMajority, rebuild.ByPerson}
)

// numbers gives the strings that stand for small numbers in the real types.
type numbers struct {
	names map[string]uint8
	texts [256]string
	uuids [256]string
	// overflow: a lineage was longer than the model's.
	overflow bool
}

func newNumbers() *numbers {
	t := &numbers{names: map[string]uint8{"": 0}}
	for i := 1; i < 256; i++ {
		t.texts[i] = fmt.Sprintf("x%03d", i)
		t.uuids[i] = fmt.Sprintf("%08x-0000-0000-0000-%012x", i, i)
		t.names[t.texts[i]], t.names[t.uuids[i]] = uint8(i), uint8(i)
	}
	t.uuids[0] = datadir.ZeroUUID
	t.names[datadir.ZeroUUID] = 0
	return t
}

// now is every process's clock: what has to wait for it has waited.
func now() time.Time { return time.Unix(1<<40, 0) }

func (t *numbers) position(p position) datadir.Position {
	if p.n == none {
		return datadir.Position{UUID: t.uuids[p.uuid], Seqno: -1}
	}
	return datadir.Position{UUID: t.uuids[p.uuid], Seqno: int64(p.n)}
}

func (t *numbers) small(p datadir.Position) position {
	if p.Seqno < 0 {
		return position{t.names[p.UUID], none}
	}
	return position{t.names[p.UUID], uint8(p.Seqno)}
}

func (t *numbers) lineage(e epochs) []datadir.Epoch {
	var all []datadir.Epoch
	for _, e := range e.all[:e.n] {
		all = append(all, datadir.Epoch{ID: t.texts[e.id], Attempt: int64(e.attempt), Begin: t.position(position{e.uuid, e.begin})})
	}
	return all
}

func (t *numbers) smallLineage(all []datadir.Epoch) epochs {
	var e epochs
	if len(all) > maxEpochs {
		t.overflow = true
	}
	for _, one := range all[max(0, len(all)-maxEpochs):] {
		p := t.small(one.Begin)
		e.all[e.n] = epoch{t.names[one.ID], uint8(one.Attempt), p.uuid, p.n}
		e.n++
	}
	return e
}

func members(mask uint8) (ordinals []int) {
	for i := range 8 {
		if mask&bit(i) != 0 {
			ordinals = append(ordinals, i)
		}
	}
	return ordinals
}

func mask(ordinals []int) (m uint8) {
	for _, i := range ordinals {
		m |= bit(i)
	}
	return m
}

func (t *numbers) report(ordinal int, r report) rebuild.Report {
	full := rebuild.Report{
		Ordinal: ordinal, Pod: t.texts[ordinal+1], PodUID: t.texts[r.start], Start: t.texts[r.start], Volume: t.texts[r.volume+1], Address: t.texts[r.volume+1],
		State: states[r.state], Class: classes[r.class], Position: t.position(r.at), Agreed: int64(r.agreed), Joined: r.joined,
	}
	full.Evidence.Grastate = datadir.Grastate{State: datadir.GrastatePresent, Position: full.Position, SafeToBootstrap: r.flag}
	if r.blank {
		full.Evidence.Grastate = datadir.Grastate{State: datadir.GrastateMissing, Position: datadir.Undefined, SafeToBootstrap: true}
	}
	full.Evidence.Promised = int64(r.vow)
	if r.past.n > 0 {
		full.Evidence.Lineage = &datadir.Lineage{Epochs: t.lineage(r.past), Members: members(r.known)}
	}
	if r.view > 0 {
		view := &datadir.View{MyUUID: t.texts[r.self+1], ID: t.texts[r.view]}
		for _, v := range members(r.with) {
			view.Members = append(view.Members, t.texts[v+1])
		}
		full.Evidence.View = view
	}
	return full
}

func (t *numbers) smallReport(full rebuild.Report) report {
	r := report{
		state: index(states, full.State), start: t.names[full.Start], volume: t.names[full.Volume] - 1, class: index(classes, full.Class),
		at: t.small(full.Position), flag: full.Evidence.Grastate.SafeToBootstrap, agreed: uint8(full.Agreed), joined: full.Joined, vow: uint8(full.Evidence.Promised),
	}
	if full.Evidence.Grastate.State == datadir.GrastateMissing {
		r.blank, r.flag = true, false
	}
	if l := full.Evidence.Lineage; l != nil {
		r.past, r.known = t.smallLineage(l.Epochs), mask(l.Members)
	}
	if v := full.Evidence.View; v != nil {
		r.self, r.view = t.names[v.MyUUID]-1, t.names[v.ID]
		for _, m := range v.Members {
			r.with |= bit(int(t.names[m]) - 1)
		}
	}
	return r
}

func index[T comparable](all []T, one T) uint8 {
	for i, v := range all {
		if v == one {
			return uint8(i)
		}
	}
	panic(fmt.Sprintf("%v is not known to the explorer", one))
}

// cluster makes the real object.
func (t *numbers) cluster(o object) rebuild.Cluster {
	c := rebuild.Cluster{Namespace: "n", Name: "galera", Replicas: int(o.replicas)}
	for i, r := range o.members {
		if r.state > 0 {
			c.Members = append(c.Members, t.report(i, r))
		}
	}
	for _, g := range o.grants {
		if g.attempt > 0 {
			c.Grants = append(c.Grants, rebuild.Grant{
				Attempt: int64(g.attempt), ID: t.texts[g.id], Member: int(g.member), Pod: t.texts[g.member+1], PodUID: t.texts[g.start], Start: t.texts[g.start],
				Volume: t.texts[g.volume+1], Position: t.position(g.at), Rule: rules[g.rule], Proof: proofs[g.proof], Consumed: g.consumed,
				Without: members(g.without), Epochs: t.lineage(g.past),
			})
		}
	}
	for _, p := range o.observed {
		if p.uuid > 0 {
			c.Observed = append(c.Observed, t.position(p))
		}
	}
	for _, v := range members(o.strays) {
		c.Strays = append(c.Strays, rebuild.Stray{Volume: t.texts[v+1], Address: t.texts[v+1]})
	}
	if g, found := c.Running(); found && o.settled > 0 {
		c.Settled = rebuild.Settled{Epoch: g.ID, View: t.texts[o.settled]}
	}
	for _, member := range members(o.behind) {
		g, _ := c.Running()
		c.Behind = append(c.Behind, rebuild.Behind{Ordinal: member, Epoch: g.ID})
	}
	for _, v := range members(o.lost) {
		for member := range maxMembers { // the volume's name is enough
			c.Spec.Lost = append(c.Spec.Lost, rebuild.Lost{Member: member, Volume: t.texts[v+1], Reason: "x"})
		}
	}
	if v := o.override; v.attempt > 0 {
		c.Spec.Overrides = []rebuild.Override{{Attempt: int64(v.attempt), Member: int(v.member), Position: t.position(v.at).String(), Without: members(v.without), Reason: "x"}}
	}
	if o.majority {
		c.Spec.Policy.MissingMembers = rebuild.AllowMajority
	}
	return c
}

// small folds the real object; what people wrote stays as it was.
func (t *numbers) smallObject(c rebuild.Cluster, old object) object {
	o := object{replicas: uint8(c.Replicas), override: old.override, lost: old.lost, majority: old.majority}
	for _, r := range c.Members {
		o.members[r.Ordinal] = t.smallReport(r)
	}
	kept := c.Grants
	for i, g := range c.Grants {
		if g.Consumed {
			kept = c.Grants[i:]
		}
	}
	for len(kept) > maxGrants { // of unused ones in between, the decision only says that it does not know them
		kept = append([]rebuild.Grant{kept[0]}, kept[2:]...)
	}
	for i, g := range kept {
		o.grants[i] = t.smallGrant(g)
	}
	for i, p := range c.Observed {
		o.observed[i] = t.small(p)
	}
	if g, found := c.Running(); found && g.ID == c.Settled.Epoch {
		o.settled = t.names[c.Settled.View]
	}
	for _, b := range c.Behind {
		if g, found := c.Running(); found && g.ID == b.Epoch { // others say nothing any more
			o.behind |= bit(b.Ordinal)
		}
	}
	for _, s := range c.Strays {
		o.strays |= bit(int(t.names[s.Volume]) - 1)
	}
	return o
}

func (t *numbers) smallGrant(g rebuild.Grant) grant {
	return grant{
		attempt: uint8(g.Attempt), id: t.names[g.ID], member: uint8(g.Member), start: t.names[g.Start], volume: t.names[g.Volume] - 1, at: t.small(g.Position),
		rule: index(rules, g.Rule), proof: index(proofs, g.Proof), consumed: g.Consumed, without: mask(g.Without), past: t.smallLineage(g.Epochs),
	}
}

// describe writes an object for people.
func (t *numbers) describe(o object) (lines []string) {
	c := t.cluster(o)
	for _, r := range c.Members {
		lines = append(lines, fmt.Sprintf("  member %d: %s %s at %d, start %s, volume %s, agreed %d, promised %d, epochs %v", r.Ordinal, r.State, r.Class, r.Position.Seqno, r.Start, r.Volume, r.Agreed, r.Evidence.Promised, r.Evidence.Lineage))
	}
	for _, g := range c.Grants {
		lines = append(lines, fmt.Sprintf("  grant %d to member %d, start %s, at %d by %s, without %v %s, consumed %v", g.Attempt, g.Member, g.Start, g.Position.Seqno, g.Rule, g.Without, g.Proof, g.Consumed))
	}
	v := rebuild.Decide(c)
	return append(lines, "  verdict: "+v.Reason.String())
}
