package rebuild

// Review is the verdict for somebody who only looks, and cannot try the
// members' ports: while every member is started, there is nothing to decide.
func Review(c Cluster) Verdict {
	for _, ordinal := range c.Expected() {
		if r, found := c.Member(ordinal); !found || r.State != Started {
			return Decide(c)
		}
	}
	if c.Replicas == 0 {
		return Decide(c)
	}
	return Verdict{Action: Join, Reason: because(PeersRunning, "all %d members have started their servers", c.Replicas)}
}
