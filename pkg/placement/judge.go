package placement

import "slices"

// ledger is what the published free space of each volume group still owes.
type ledger map[pool]int64

// pool is a volume group on a node. Both are named because the group of a
// promise is unknown ("") until its node publishes.
type pool struct{ node, vg string }

// ledgerOf adds up the promises, except those to the claims in question: a
// claim does not compete with itself.
func ledgerOf(blank []Claim, f Facts) ledger {
	owed := ledger{}
	for _, p := range f.Promises {
		own := slices.ContainsFunc(blank, func(c Claim) bool { return c.ClaimName == p.Claim })
		if !own {
			owed[pool{p.Node, p.VG}] += p.Bytes
		}
	}
	return owed
}

// judgeAll judges every node for the new volumes of a member that has no home.
func judgeAll(m Member, blank []Claim, f Facts) map[string]Judgement {
	taken := takenBy(m, f)
	owed := ledgerOf(blank, f)
	nodes := make(map[string]Judgement, len(f.Nodes))
	for _, n := range f.Nodes {
		if sibling, isTaken := taken[n.Name]; isTaken {
			nodes[n.Name] = Judgement{Reason: memberOnNode(n, sibling)}
			continue
		}
		nodes[n.Name] = judgeRoom(n, blank, owed)
	}
	return nodes
}

// takenBy maps each node to a sibling that has, or is about to have, a volume
// there. Volumes count and not pods: a pod that could not start leaves its
// volume behind, and the next member would move in with it.
func takenBy(m Member, f Facts) map[string]Member {
	taken := map[string]Member{}
	for _, v := range f.Volumes {
		if m.sibling(v.Member) {
			for _, node := range v.Nodes {
				taken[node] = v.Member
			}
		}
	}
	for _, p := range f.Promises {
		if m.sibling(p.Member) {
			taken[p.Node] = p.Member
		}
	}
	return taken
}

// judgeRoom asks whether all the claims together fit into the node's groups.
func judgeRoom(n Node, blank []Claim, owed ledger) Judgement {
	need := map[string]int64{}
	free := map[string]int64{}
	for _, c := range blank {
		p, offered := n.Pools[c.Class]
		if !offered {
			return Judgement{Reason: noVolumeGroup(n, c)}
		}
		need[p.VG] += c.Bytes
		free[p.VG] = p.Free - owed[pool{n.Name, p.VG}]
		if need[p.VG] > free[p.VG] {
			return Judgement{Reason: noSpace(n, c, need[p.VG])}
		}
	}
	var after int64
	for vg := range need {
		after += free[vg] - need[vg]
	}
	return Judgement{Fits: true, FreeAfter: after}
}
