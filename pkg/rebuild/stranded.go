package rebuild

// Stranded says that a member's server, which does not serve yet, will not: it
// was started to join, and every other member waits without one. A server that
// was granted the bootstrap is not stranded, it may recover for long.
func Stranded(c Cluster, ordinal int, podUID string) bool {
	me, found := c.Member(ordinal)
	if !found || me.PodUID != podUID || me.State != Started {
		return false
	}
	if g, found := c.LastGrant(); found && g.Consumed && g.PodUID == me.PodUID && g.Start == me.Start {
		return false
	}
	for _, r := range c.Members {
		if r.Ordinal != ordinal && r.State == Started {
			return false
		}
	}
	others := 0
	for _, expected := range c.Expected() {
		if expected == ordinal {
			continue
		}
		r, found := c.Member(expected)
		if !found || (r.State != Waiting && r.State != Recovering) {
			return false
		}
		others++
	}
	return others > 0
}
