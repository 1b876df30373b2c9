package placement

import "slices"

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
	v := Verdict{Action: Allow, Blank: blank, own: promisesTo(blank, f)}
	if home == "" {
		v.taken, v.takenGroups = takenBy(r.Member, f), groupsTakenBy(r.Member, f)
		return v
	}
	beside, reason := shared(r, home, f)
	if reason != nil {
		return refuse(*reason)
	}
	if len(blank) > 0 {
		node, _ := f.node(home)
		if j := v.Judge(node.Room); !j.Fits {
			return refuse(j.Reason)
		}
	}
	v.Action, v.Node, v.Beside = Pin, home, beside
	return v
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
		// One that was given up may be the first to return.
		for _, h := range f.Homes {
			if h.Claim == c.ClaimName && !h.Reported && h.Generation > v.Generation && !v.boundTo(c) {
				return "", homeAway(c, h)
			}
		}
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
		if reason := unusable(c, nil, node, f); reason != nil {
			return "", reason
		}
		return node.Name, nil
	}
	return "", nil
}

// volumeOf picks the claim's volume: the one it is bound to, else the one of the
// highest generation that nobody has given up. nil means that there is none.
func volumeOf(c Claim, volumes []Volume) (*Volume, *Reason) {
	var found []*Volume
	abandoned := abandonedBy(c, volumes)
	for i := range volumes {
		v := &volumes[i]
		switch {
		case v.Claim != c.ClaimName:
		case v.boundTo(c):
			return v, nil
		case abandoned > 0 && v.Generation <= abandoned:
		case len(found) > 0 && v.Generation < found[0].Generation:
		case len(found) > 0 && v.Generation == found[0].Generation:
			found = append(found, v)
		default:
			found = []*Volume{v}
		}
	}
	switch len(found) {
	case 0:
		return nil, nil
	case 1:
		return found[0], nil
	}
	return nil, volumeAmbiguous(c, found)
}

// HasVolume says that one of the volumes is the claim's and was not given up.
func HasVolume(c Claim, volumes []Volume) bool {
	v, reason := volumeOf(c, volumes)
	return v != nil || reason != nil
}

// abandonedBy is the generation up to which the claim's volumes were given up.
func abandonedBy(c Claim, volumes []Volume) int {
	abandoned := c.Abandoned
	for _, v := range volumes {
		if v.Claim == c.ClaimName {
			abandoned = max(abandoned, v.Abandoned)
		}
	}
	return abandoned
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
		return "", homeUnknown(v, f)
	case len(ready) > 1:
		return "", homeAmbiguous(v, ready)
	case len(ready) == 1:
		// A Node object that the machine had before it was renamed is not Ready.
		carriers = ready
	}
	home := carriers[0]
	if reason := unusable(Claim{ClaimName: v.Claim}, &v, home, f); reason != nil {
		return "", reason
	}
	if other, replaced := replacement(v, home); replaced {
		return "", homeReplaced(v, home, other)
	}
	return home.Name, nil
}

// unusable says why no pod can run on the node of a volume.
func unusable(c Claim, v *Volume, n Node, f Facts) *Reason {
	switch {
	case n.OutOfService:
		return homeOutOfService(c, v, n)
	case !n.Ready:
		return homeNotReady(c, v, n, f)
	case n.Cordoned:
		return homeCordoned(c, v, n)
	}
	return nil
}

// replacement finds the volume group that serves the volume's class on its node
// now. A machine that was replaced under its old name still has the label of
// the volume's group, for no agent ever takes it off, but other disks. An agent
// that hides a group publishes nothing for the class, and is no replacement.
func replacement(v Volume, n Node) (vg string, replaced bool) {
	p, offered := n.Room.pool(v.Class)
	return p.VG, offered && p.VG != v.VG && !v.Published
}

// barrier refuses a new volume while the claim's data may be on a disk that this
// API server has not been told of.
func barrier(m Member, c Claim, f Facts) *Reason {
	if f.APIServer == "" || f.Unchecked && f.SilentCount > 0 {
		return reportsUnchecked(c)
	}
	abandoned := abandonedBy(c, f.Volumes)
	for _, h := range f.Homes {
		if h.Claim == c.ClaimName && !h.Reported && h.Generation > abandoned {
			return homeAway(c, h)
		}
	}
	if abandoned > 0 {
		return nil // a person gave up what may be anywhere, by name
	}
	for _, v := range f.Volumes {
		survivor := v.APIServer != f.APIServer && m.sameCluster(v.Member)
		if survivor && m.Ordinal < v.Replicas {
			return memberNotFound(m, c, v)
		}
	}
	for _, h := range f.Homes {
		if h.APIServer != f.APIServer && m.sameCluster(h.Member) && m.Ordinal < h.Replicas {
			return memberElsewhere(m, c, h)
		}
	}
	if f.SilentCount > 0 {
		return nodeNotReported(c, f)
	}
	return nil
}

// shared refuses a home that belongs to a sibling already, which an old binding
// can bring about. Of several the lowest ordinal stays, and the others wait
// until somebody has accepted the risk by name.
func shared(r Request, home string, f Facts) (accepted []Member, reason *Reason) {
	for _, v := range f.Volumes {
		if !r.Member.Sibling(v.Member) || v.Member.Ordinal > r.Member.Ordinal || !livesOn(v.Member, home, f) {
			continue
		}
		if !slices.ContainsFunc(r.Claims, func(c Claim) bool { return c.SharesWith == v.Member.pod() }) {
			return nil, homeShared(r, home, v)
		}
		accepted = append(accepted, v.Member)
	}
	return accepted, nil
}

// livesOn says that all the member's volumes are on the node. One that has others
// elsewhere has moved, and left an old volume behind.
func livesOn(m Member, node string, f Facts) bool {
	return !slices.ContainsFunc(f.Volumes, func(v Volume) bool {
		return v.Member == m && !slices.Contains(v.Nodes, node)
	})
}
