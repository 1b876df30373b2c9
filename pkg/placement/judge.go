package placement

import "slices"

// Judge says whether the new volumes fit on a node. It is for verdicts that
// allow, and costs the same however many nodes there are.
func (v Verdict) Judge(r Room) Judgement {
	if sibling, taken := v.taken[r.Node]; taken {
		return Judgement{Reason: MemberOnNode(r.Node, sibling)}
	}
	var j Judgement
	for i, c := range v.Blank {
		p, offered := r.pool(c.Class)
		if !offered {
			return Judgement{Reason: noVolumeGroup(r.Node, c)}
		}
		if sibling, taken := v.takenGroups[p.VG]; taken {
			return Judgement{Reason: MemberOnNode(r.Node, sibling)}
		}
		// Claims of several classes may meet in one group and are added up there.
		var need int64
		first := true
		for n, other := range v.Blank {
			if q, offered := r.pool(other.Class); offered && q.VG == p.VG {
				first = first && n >= i
				if n <= i {
					need += other.Bytes
				}
			}
		}
		free := v.available(r.Node, p)
		if need > free {
			return Judgement{Reason: noSpace(r.Node, c, need)}
		}
		j.FreeAfter -= c.Bytes
		if first {
			j.FreeAfter += free
			j.Members += p.Members
		}
	}
	j.Fits = true
	return j
}

// Shuns says that the node is out of the question because of a sibling.
func (v Verdict) Shuns(node string) bool {
	_, taken := v.taken[node]
	return taken
}

// Holds says that the claims in question had a promise on the node, so that a later
// Judge may take it off what is free there.
func (v Verdict) Holds(node string) bool {
	return slices.ContainsFunc(v.own, func(p Promise) bool { return p.Node == node })
}

// available is what is free and not promised, except to the claims in question:
// a claim does not compete with itself.
func (v Verdict) available(node string, p Pool) int64 {
	free := p.Free - p.Promised
	for _, own := range v.own {
		if own.Node == node && own.VG == p.VG {
			free += own.Bytes
		}
	}
	return free
}

// groupsTakenBy maps each volume group with a volume of a sibling to it. Disks that
// moved may be offered by their new node before its label has been seen.
func groupsTakenBy(m Member, f Facts) map[string]Member {
	taken := map[string]Member{}
	for _, v := range f.Volumes {
		if m.Sibling(v.Member) {
			taken[v.VG] = v.Member
		}
	}
	return taken
}

// promisesTo picks the promises to the claims.
func promisesTo(claims []Claim, f Facts) []Promise {
	var own []Promise
	for _, p := range f.Promises {
		if slices.ContainsFunc(claims, func(c Claim) bool { return c.ClaimName == p.Claim }) {
			own = append(own, p)
		}
	}
	return own
}

// takenBy maps each node to a sibling that has, or is about to have, a volume
// there. Volumes count and not pods: a pod that could not start leaves its
// volume behind, and the next member would move in with it.
func takenBy(m Member, f Facts) map[string]Member {
	taken := map[string]Member{}
	for _, v := range f.Volumes {
		if m.Sibling(v.Member) {
			for _, node := range v.Nodes {
				taken[node] = v.Member
			}
		}
	}
	for _, p := range f.Promises {
		if m.Sibling(p.Member) {
			taken[p.Node] = p.Member
		}
	}
	return taken
}

// Scores ranks nodes that fit from 0 to 100. Free space comes first, in steps of
// a tenth of the largest; among equals the node that fewer members share wins,
// because their disks and network are what they compete for.
func Scores(fitting []Judgement) []int64 {
	var mostFree int64
	var mostMembers int
	for _, j := range fitting {
		mostFree = max(mostFree, j.FreeAfter)
		mostMembers = max(mostMembers, j.Members)
	}
	scores := make([]int64, len(fitting))
	for i, j := range fitting {
		if mostFree > 0 {
			scores[i] = 10 * min(9, int64(float64(j.FreeAfter)/float64(mostFree)*10))
		}
		scores[i] += 10
		if mostMembers > 0 {
			scores[i] -= int64(10 * j.Members / mostMembers)
		}
	}
	return scores
}
