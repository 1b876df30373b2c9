package placement

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestProperties lets clusters come, go and return on a small fleet, in thousands
// of random orders, and holds every verdict to what must be true of all of them:
//
//   - two members of a cluster never get volumes in one volume group (I4),
//   - what is promised and used never exceeds a volume group (I5),
//   - a member with data is sent to its data or nowhere,
//   - nothing is new while a node is silent (I3).
func TestProperties(t *testing.T) {
	for seed := range uint64(3000) {
		y := newYard(seed)
		for step := range 60 {
			y.step()
			if problem := y.check(); problem != "" {
				t.Fatalf("seed %d, step %d (%s): %s", seed, step, y.last, problem)
			}
		}
	}
}

// yard is a naive twin of the fleet: what is on the disks, and what the API shows
// of it.
type yard struct {
	*rand.Rand
	nodes []*berth
	last  string // what was done last
	wrong string // what must never be, when it was
}

type berth struct {
	name              string
	size, free        int64 // free is as published
	away, silent      bool
	volumes, promised map[Member]int64 // volumes and not yet volumes
	unpublished       map[Member]bool  // volumes that free still contains
}

func newYard(seed uint64) *yard {
	y := &yard{Rand: rand.New(rand.NewPCG(seed, 0))}
	for n := range 2 + y.IntN(5) {
		size := 10 + y.Int64N(60)
		y.nodes = append(y.nodes, &berth{
			name: fmt.Sprintf("n%d", n), size: size, free: size,
			volumes: map[Member]int64{}, promised: map[Member]int64{}, unpublished: map[Member]bool{},
		})
	}
	return y
}

func (y *yard) step() {
	n := y.nodes[y.IntN(len(y.nodes))]
	switch y.IntN(8) {
	case 0:
		n.away = !n.away
		y.last = fmt.Sprintf("node %s away: %v", n.name, n.away)
	case 1:
		n.silent = y.IntN(4) == 0
		y.last = fmt.Sprintf("node %s silent: %v", n.name, n.silent)
	case 2: // the agent makes what was promised
		for m, bytes := range n.promised {
			n.volumes[m], n.unpublished[m] = bytes, true
		}
		clear(n.promised)
		y.last = "volumes made on " + n.name
	case 3: // and publishes what is left
		n.free = n.size
		for _, bytes := range n.volumes {
			n.free -= bytes
		}
		clear(n.unpublished)
		y.last = "published by " + n.name
	case 4: // a pod did not start after all
		if all := members(n.promised); len(all) > 0 {
			delete(n.promised, all[0])
			y.last = fmt.Sprintf("%s gave up %s", all[0], n.name)
		}
	default:
		y.schedule()
	}
}

// schedule decides on a random member and acts on it, as the scheduler does.
func (y *yard) schedule() {
	m := Member{Namespace: "shop", StatefulSet: fmt.Sprintf("db%d", y.IntN(3)), Ordinal: y.IntN(3)}
	r := Request{Member: m, Claims: []Claim{{
		ClaimName: claimOf(m), UID: "new", Class: "berth", Bytes: 1 + y.Int64N(20),
	}}}
	f := y.facts(m)
	v := Decide(r, f)
	y.last = fmt.Sprintf("%s: %s", m, v.Action)
	home := slices.IndexFunc(y.nodes, func(n *berth) bool { return n.volumes[m] > 0 })
	switch {
	case v.Action == Refuse:
	case home >= 0 && (v.Action != Pin || v.Node != y.nodes[home].name):
		y.wrong = fmt.Sprintf("%s has its data on %s, and the verdict is %s %s", m, y.nodes[home].name, v.Action, v.Node)
	case home >= 0 && y.nodes[home].away:
		y.wrong = fmt.Sprintf("%s was pinned to %s, which is away", m, v.Node)
	case home < 0 && slices.ContainsFunc(y.nodes, func(n *berth) bool { return n.silent }):
		y.wrong = fmt.Sprintf("%s got %s while a node was silent", m, v.Action)
	case v.Action == Allow:
		y.promise(m, r.Claims[0].Bytes, v)
	}
}

// promise takes any node that fits: which one is the scheduler's business.
func (y *yard) promise(m Member, bytes int64, v Verdict) {
	for _, k := range y.Perm(len(y.nodes)) {
		if n := y.nodes[k]; v.Judge(y.room(n)).Fits {
			for _, other := range y.nodes {
				delete(other.promised, m) // the pod has one node at a time
			}
			n.promised[m] = bytes
			return
		}
	}
}

// facts are what an inventory that has seen everything would gather.
func (y *yard) facts(m Member) Facts {
	f := Facts{Synced: true, APIServer: "now"}
	for _, n := range y.nodes {
		f.Nodes = append(f.Nodes, Node{Name: n.name, Ready: !n.away, Room: y.room(n)})
		for _, other := range members(n.volumes) {
			if m.sameCluster(other) {
				f.Volumes = append(f.Volumes, Volume{
					Name: "pv-" + other.pod(), VG: n.name, Class: "berth", Claim: claimOf(other), Member: other,
					APIServer: "now", Nodes: []string{n.name}, Published: true,
				})
			}
		}
		for _, other := range members(n.promised) {
			if m.sameCluster(other) {
				f.Promises = append(f.Promises, Promise{
					Claim: claimOf(other), Member: other, Node: n.name, VG: n.name, Bytes: n.promised[other],
				})
			}
		}
		if n.silent {
			f.Silent = append(f.Silent, n.name)
		}
	}
	f.SilentCount = len(f.Silent)
	return f
}

func (y *yard) room(n *berth) Room {
	p := Pool{Class: "berth", VG: n.name, Free: n.free, Members: len(n.volumes)}
	for _, bytes := range n.promised {
		p.Promised += bytes
	}
	for m := range n.unpublished {
		p.Promised += n.volumes[m]
	}
	return Room{Node: n.name, Pools: []Pool{p}}
}

// check says what is wrong with the yard, if anything is.
func (y *yard) check() string {
	if y.wrong != "" {
		return y.wrong
	}
	for _, n := range y.nodes {
		var total int64
		owners := members(n.volumes)
		for _, m := range members(n.promised) {
			if n.volumes[m] == 0 {
				owners = append(owners, m)
			}
			total += n.promised[m]
		}
		for _, bytes := range n.volumes {
			total += bytes
		}
		if total > n.size {
			return fmt.Sprintf("%d of %d are promised and used on %s", total, n.size, n.name)
		}
		for i, a := range owners {
			for _, b := range owners[:i] {
				if a.Sibling(b) {
					return fmt.Sprintf("%s and %s share %s", a, b, n.name)
				}
			}
		}
	}
	return ""
}

func claimOf(m Member) ClaimName { return ClaimName{m.Namespace, "data-" + m.pod()} }

// members are the keys in order, so that a seed always tells the same story.
func members(of map[Member]int64) []Member {
	all := make([]Member, 0, len(of))
	for m := range of {
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b Member) int {
		return cmp.Or(cmp.Compare(a.StatefulSet, b.StatefulSet), cmp.Compare(a.Ordinal, b.Ordinal))
	})
	return all
}
