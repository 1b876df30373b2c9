package rebuild

import "slices"

// Stranded says that a member's server, which does not serve yet, will not: it
// was started to join, and there is nobody whom it could join. Every other member
// waits without a server, or has one that was started to join as well and serves
// no more than this one: silent are the members whose sidecar says so right now.
// A server that was granted the bootstrap is not stranded, it may recover for
// long; one that has served since its start may again.
func Stranded(c Cluster, ordinal int, podUID string, silent []int) bool {
	me, found := c.Member(ordinal)
	if !found || me.PodUID != podUID || !joins(c, *me) {
		return false
	}
	for _, r := range c.Members {
		if r.Ordinal == ordinal || r.State != Started {
			continue
		}
		if !joins(c, r) || r.Observed != nil || !slices.Contains(silent, r.Ordinal) {
			return false
		}
	}
	for _, expected := range c.Expected() {
		if _, found := c.Member(expected); !found {
			return false
		}
	}
	return c.Replicas > 1
}

// joins says whether a member's server was started to join others.
func joins(c Cluster, r Report) bool {
	if r.State != Started {
		return false
	}
	g, found := c.LastGrant()
	return !found || !g.Consumed || g.PodUID != r.PodUID || g.Start != r.Start
}
