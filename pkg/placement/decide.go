package placement

import (
	"cmp"
	"slices"
)

// Decide answers a request. It never allows a new volume for a claim whose data
// may sit on a disk that has not been heard of.
func Decide(r Request, f Facts) Verdict {
	if !f.Synced {
		return refuse(cacheNotSynced())
	}
	home, blank, reason := findHome(r, f)
	if reason != nil {
		return refuse(*reason)
	}
	if len(blank) > 0 {
		if reason := barrier(r.Member, blank[0], f); reason != nil {
			return refuse(*reason)
		}
	}
	if home == "" {
		return Verdict{Action: Allow, Nodes: judgeAll(r.Member, blank, f), Blank: blank}
	}
	if len(blank) > 0 {
		// The member lives here whoever else does, so only room is asked for.
		node, _ := f.node(home)
		if j := judgeRoom(node, blank, ledgerOf(blank, f)); !j.Fits {
			return refuse(j.Reason)
		}
	}
	return Verdict{Action: Pin, Node: home, Blank: blank, Neighbours: neighbours(r.Member, home, f)}
}

// findHome returns the one node that the request's volumes call for, and the
// claims that have no volume. Either may be empty.
func findHome(r Request, f Facts) (home string, blank []Claim, reason *Reason) {
	var first Claim
	for _, c := range r.Claims {
		node, reason := homeOf(c, f)
		switch {
		case reason != nil:
			return "", nil, reason
		case node == "":
			blank = append(blank, c)
		case home == "":
			home, first = node, c
		case home != node:
			return "", nil, homesDiffer(first, home, c, node)
		}
	}
	return home, blank, nil
}

// homeOf returns the node of a claim's volume, or "" when it has none.
func homeOf(c Claim, f Facts) (string, *Reason) {
	v, reason := volumeOf(c, f.Volumes)
	switch {
	case reason != nil:
		return "", reason
	case v != nil:
		home, reason := nodeOf(*v, f)
		if reason == nil && !v.boundTo(c) && !v.reserved() {
			return "", volumeUnverified(c, *v, home)
		}
		return home, reason
	case c.VolumeName != "":
		return "", volumeMissing(c)
	case c.SelectedNode != "":
		// Its agent may have made the volume already, so no other node will do.
		node, known := f.node(c.SelectedNode)
		if !known {
			return "", provisionerGone(c)
		}
		return node.Name, unusable(c, nil, node)
	}
	return "", nil
}

// volumeOf picks the claim's volume: the one it is bound to, else the one that
// is reserved for it, else one that was bound to an earlier claim of its name
// and that no agent has verified since. nil means that there is none.
func volumeOf(c Claim, volumes []Volume) (*Volume, *Reason) {
	var reserved, unverified []*Volume
	for i := range volumes {
		v := &volumes[i]
		switch {
		case v.Claim != c.ClaimName:
		case v.boundTo(c):
			return v, nil
		case v.reserved():
			reserved = append(reserved, v)
		default:
			unverified = append(unverified, v)
		}
	}
	switch {
	case len(reserved) == 1:
		return reserved[0], nil
	case len(reserved) > 1:
		return nil, volumeAmbiguous(c, reserved)
	case len(unverified) > 0:
		return unverified[0], nil
	}
	return nil, nil
}

// nodeOf finds the machine that carries the volume's group and can run a pod.
func nodeOf(v Volume, f Facts) (string, *Reason) {
	var carriers, ready []Node
	for _, name := range v.Nodes {
		if n, known := f.node(name); known {
			carriers = append(carriers, n)
			if n.Ready {
				ready = append(ready, n)
			}
		}
	}
	switch {
	case len(carriers) == 0:
		return "", homeUnknown(v)
	case len(ready) > 1:
		return "", homeAmbiguous(v, ready)
	case len(ready) == 1:
		// A Node object that the machine had before it was renamed is not Ready.
		return ready[0].Name, unusable(Claim{ClaimName: v.Claim}, &v, ready[0])
	}
	return carriers[0].Name, unusable(Claim{ClaimName: v.Claim}, &v, carriers[0])
}

func unusable(c Claim, v *Volume, n Node) *Reason {
	switch {
	case !n.Ready:
		return homeNotReady(c, v, n)
	case n.Cordoned:
		return homeCordoned(c, v, n)
	}
	return nil
}

// barrier refuses a new volume while the claim's data may be on a disk that this
// API server has not been told of.
func barrier(m Member, c Claim, f Facts) *Reason {
	for _, v := range f.Volumes {
		survivor := v.APIServer != f.APIServer && m.sameCluster(v.Member)
		if survivor && m.Ordinal < v.Replicas {
			return memberNotFound(m, c, v)
		}
	}
	var silent []string
	for _, n := range f.Nodes {
		if !n.Reported && !n.Storageless {
			silent = append(silent, n.Name)
		}
	}
	if len(silent) > 0 {
		slices.Sort(silent)
		return nodeNotReported(c, silent)
	}
	return nil
}

// neighbours lists the siblings whose volumes are on the node, by ordinal.
func neighbours(m Member, node string, f Facts) []Member {
	var found []Member
	for _, v := range f.Volumes {
		if m.sibling(v.Member) && slices.Contains(v.Nodes, node) {
			found = append(found, v.Member)
		}
	}
	slices.SortFunc(found, func(a, b Member) int { return cmp.Compare(a.Ordinal, b.Ordinal) })
	return slices.Compact(found)
}
