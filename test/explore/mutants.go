package explore

import (
	"slices"
	"time"

	"github.com/berth-dev/berth/pkg/datadir"
	"github.com/berth-dev/berth/pkg/rebuild"
)

// Mutant is the real code with one line of defence taken out: it is called with
// an object, or a memory, in which what that line looks at cannot be seen.
type Mutant struct {
	Name  string
	Rules Rules
	// Scenario is one in which it does harm.
	Scenario Scenario
}

// blind wraps the real rules. hide takes something out of what they see, and
// answers how to put it back into what they leave.
func blind(hide func(w *rebuild.Waiter, c *rebuild.Cluster) (restore func(*rebuild.Cluster))) Rules {
	real := Real()
	mutant := real
	mutant.Act = func(w rebuild.Waiter, c *rebuild.Cluster, now time.Time, fresh func() string) (rebuild.Waiter, rebuild.Verdict, int64, bool) {
		restore := hide(&w, c)
		w, v, promise, changed := real.Act(w, c, now, fresh)
		restore(c)
		return w, v, promise, changed
	}
	mutant.Ready = func(w rebuild.Waiter, c rebuild.Cluster, v rebuild.Verdict, now time.Time) (*rebuild.Grant, bool) {
		c = c.Clone()
		restore := hide(&w, &c)
		g, ready := real.Ready(w, c, v, now)
		if g != nil {
			seen := *g
			restore(&c)
			return &seen, ready
		}
		return g, ready
	}
	mutant.Consume = func(w rebuild.Waiter, c *rebuild.Cluster, attempt int64, now time.Time) *rebuild.Reason {
		restore := hide(&w, c)
		reason := real.Consume(w, c, attempt, now)
		restore(c)
		return reason
	}
	mutant.Enter = func(w rebuild.Waiter, c *rebuild.Cluster, now time.Time) *rebuild.Reason {
		restore := hide(&w, c)
		reason := real.Enter(w, c, now)
		restore(c)
		return reason
	}
	return mutant
}

// alter changes every report before the real code sees it; what the real code
// did not change gets its former value back.
func alter(change func(*rebuild.Report, rebuild.Cluster), back func(now *rebuild.Report, before, shown rebuild.Report)) Rules {
	return blind(func(w *rebuild.Waiter, c *rebuild.Cluster) func(*rebuild.Cluster) {
		before, shown := c.Clone(), map[int]rebuild.Report{}
		for i := range c.Members {
			change(&c.Members[i], before)
			shown[c.Members[i].Ordinal] = c.Members[i]
		}
		return func(c *rebuild.Cluster) {
			for i := range c.Members {
				r := &c.Members[i]
				if old, found := before.Member(r.Ordinal); found && r.Start == old.Start {
					back(r, *old, shown[r.Ordinal])
				}
			}
		}
	})
}

// Mutants lists them, each with the scenario in which it is to be found.
func Mutants() []Mutant {
	crash := Scenario{Name: "crash", Members: 2, Budget: budget{Writes: 1, Kills: 1, Outages: 1}}
	return []Mutant{
		{"a report counts as agreement", alter(func(r *rebuild.Report, c rebuild.Cluster) {
			if g, found := c.LastGrant(); found && r.State == rebuild.Waiting {
				r.Agreed = g.Attempt
			}
		}, func(now *rebuild.Report, before, shown rebuild.Report) {
			if now.Agreed == shown.Agreed {
				now.Agreed = before.Agreed
			}
		}), Scenario{Name: "object restored", Members: 2, Budget: budget{Outages: 1, Snapshots: 1, Restores: 1, Kills: 1}}},
		{"the report of a dead pod counts", alter(func(r *rebuild.Report, c rebuild.Cluster) {
			if g, found := c.LastGrant(); found && r.State == rebuild.Started {
				r.State, r.Agreed, r.Class = rebuild.Waiting, g.Attempt, datadir.Empty
			}
		}, func(now *rebuild.Report, before, shown rebuild.Report) {
			if now.State == shown.State && before.State == rebuild.Started {
				now.State, now.Agreed, now.Class = before.State, before.Agreed, before.Class
			}
		}), crash},
		{"safe_to_bootstrap beats a seqno", alter(func(r *rebuild.Report, _ rebuild.Cluster) {
			if r.Evidence.Grastate.SafeToBootstrap && r.Position.IsReal() {
				r.Position.Seqno += 50
			}
		}, func(now *rebuild.Report, before, _ rebuild.Report) { now.Position = before.Position }), crash},
		{"the victim of a transfer leads", alter(func(r *rebuild.Report, c rebuild.Cluster) {
			if r.Class == datadir.SSTVictim && len(c.Observed) > 0 {
				r.Class, r.Position = datadir.Crashed, c.Observed[0]
			}
		}, func(now *rebuild.Report, before, _ rebuild.Report) {
			now.Class, now.Position = before.Class, before.Position
		}),
			Scenario{Name: "first install", Members: 2, Install: true, Budget: budget{Writes: 1, Kills: 1, Outages: 1}}},
		{"corrupt data leads", alter(func(r *rebuild.Report, _ rebuild.Cluster) {
			if r.Class == datadir.Corrupt {
				r.Class = datadir.Crashed
			}
		}, func(now *rebuild.Report, before, _ rebuild.Report) { now.Class = before.Class }),
			Scenario{Name: "rot", Members: 2, Budget: budget{Writes: 1, Outages: 1, Rots: 1}}},
		{"a consumption is not written", unwritten(), Scenario{Name: "crash", Members: 2, Budget: budget{Writes: 1, Kills: 2, Outages: 1}}},
		{"an old attempt is as good as a new one", blind(func(w *rebuild.Waiter, c *rebuild.Cluster) func(*rebuild.Cluster) {
			w.Seen = 0
			return func(*rebuild.Cluster) {}
		}), Scenario{Name: "overridden, then restored", Members: 2, Budget: budget{Outages: 1, Snapshots: 1, Restores: 1, Overrides: 1}}},
		{"the highest observed position is forgotten", blind(func(_ *rebuild.Waiter, c *rebuild.Cluster) func(*rebuild.Cluster) {
			observed := c.Observed
			c.Observed = nil
			return func(c *rebuild.Cluster) {
				if len(observed) > 0 {
					c.Observed = observed
				}
			}
		}), Scenario{Name: "rot", Members: 2, Sidecar: true, Budget: budget{Writes: 1, Outages: 1, DiskLosses: 1, Declares: 1}}},
		{"histories of one uuid are all the same", blind(func(w *rebuild.Waiter, c *rebuild.Cluster) func(*rebuild.Cluster) {
			before := c.Clone()
			g, found := c.Running()
			same := func(r *rebuild.Report) {
				if l := r.Evidence.Lineage; found && l != nil {
					r.Evidence.Lineage = &datadir.Lineage{Epochs: g.Epochs, Members: l.Members}
				}
			}
			same(&w.Me)
			for i := range c.Members {
				same(&c.Members[i])
			}
			return func(c *rebuild.Cluster) {
				for i := range c.Members {
					if old, found := before.Member(c.Members[i].Ordinal); found {
						c.Members[i].Evidence.Lineage = old.Evidence.Lineage
					}
				}
			}
		}), Scenario{Name: "overrides", Members: 2, Budget: budget{Writes: 2, Kills: 1, Outages: 1, Overrides: 1}}},
		{"uuids are not compared", alter(func(r *rebuild.Report, c rebuild.Cluster) { r.Position.UUID = c.Members[0].Position.UUID },
			func(now *rebuild.Report, before, _ rebuild.Report) { now.Position = before.Position }),
			Scenario{Name: "a stranger's data", Members: 2, Stranger: true, Budget: budget{Kills: 1}}},
		{"a view proves without its members", alter(func(r *rebuild.Report, _ rebuild.Cluster) {
			if v := r.Evidence.View; v != nil {
				r.Evidence.View = &datadir.View{MyUUID: v.MyUUID, ID: v.ID, Members: []string{v.MyUUID}}
			}
		}, func(now *rebuild.Report, before, _ rebuild.Report) { now.Evidence.View = before.Evidence.View }),
			Scenario{Name: "sidecars", Members: 2, Sidecar: true, Budget: budget{Writes: 1, Outages: 1}}},
		{"a saved view need not be settled", blind(func(_ *rebuild.Waiter, c *rebuild.Cluster) func(*rebuild.Cluster) {
			settled := c.Settled
			if g, found := c.Running(); found {
				for _, r := range c.Members {
					if r.Evidence.View != nil && r.State == rebuild.Waiting {
						c.Settled = rebuild.Settled{Epoch: g.ID, View: r.Evidence.View.ID}
					}
				}
			}
			return func(c *rebuild.Cluster) { c.Settled = settled }
		}), Scenario{Name: "killed, then a power cut", Members: 3, Budget: budget{Writes: 1, Kills: 1, Outages: 1}}},
		{"a server on a volume that was given up is forgotten", blind(func(_ *rebuild.Waiter, c *rebuild.Cluster) func(*rebuild.Cluster) {
			c.Strays = nil
			return func(*rebuild.Cluster) {}
		}), Scenario{Name: "given up", Members: 2, Budget: budget{Kills: 1, Stops: 1, Isolations: 1, DiskLosses: 1}}},
		{"members beyond the replicas do not count", blind(func(_ *rebuild.Waiter, c *rebuild.Cluster) func(*rebuild.Cluster) {
			var beyond []rebuild.Report
			var lineages []*datadir.Lineage
			var within []rebuild.Report
			for _, r := range c.Members {
				if c.IsExpected(r.Ordinal) {
					lineages = append(lineages, r.Evidence.Lineage)
					if r.Evidence.Lineage != nil {
						l := *r.Evidence.Lineage
						l.Members = nil
						r.Evidence.Lineage = &l
					}
					within = append(within, r)
				} else {
					beyond = append(beyond, r)
				}
			}
			c.Members = within
			return func(c *rebuild.Cluster) {
				for i := range min(len(lineages), len(c.Members)) {
					c.Members[i].Evidence.Lineage = lineages[i]
				}
				c.Members = append(c.Members, beyond...)
			}
		}), Scenario{Name: "scaled down", Members: 2, Sizes: []uint8{1, 2}, Budget: budget{Writes: 1, Outages: 1, Scales: 1}}},
		{"a server outside of the Primary component can be joined", blind(func(w *rebuild.Waiter, _ *rebuild.Cluster) func(*rebuild.Cluster) {
			w.Answering, w.Outside = append(slices.Clone(w.Answering), w.Outside...), nil
			return func(*rebuild.Cluster) {}
		}), Scenario{Name: "the donor is killed", Members: 2, Install: true, Budget: budget{Kills: 1}}},
		{"a stranded joiner is left alone", strandedIf(func(rebuild.Cluster, int, string, []int) bool { return false }),
			Scenario{Name: "the donor is killed", Members: 2, Install: true, Budget: budget{Kills: 1}}},
		{"two stranded joiners wait for each other", strandedIf(func(c rebuild.Cluster, ordinal int, podUID string, _ []int) bool {
			return rebuild.Stranded(c, ordinal, podUID, nil)
		}), Scenario{Name: "the donor of two is killed", Members: 3, Install: true, Sidecar: true, Budget: budget{Kills: 1}}},
		{"who was granted the bootstrap is stranded", strandedIf(func(c rebuild.Cluster, ordinal int, podUID string, silent []int) bool {
			c.Grants = nil
			return rebuild.Stranded(c, ordinal, podUID, silent)
		}), crash},
	}
}

// strandedIf has sidecars judge otherwise who is stranded.
func strandedIf(judge func(rebuild.Cluster, int, string, []int) bool) Rules {
	mutant := Real()
	mutant.Stranded = judge
	return mutant
}

// unwritten forgets to record that a grant was used.
func unwritten() Rules {
	real := Real()
	mutant := real
	mutant.Consume = func(w rebuild.Waiter, c *rebuild.Cluster, attempt int64, now time.Time) *rebuild.Reason {
		trial := c.Clone()
		return real.Consume(w, &trial, attempt, now)
	}
	return mutant
}
