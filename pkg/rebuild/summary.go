package rebuild

import (
	"fmt"
	"time"
)

// Summary is what people look at first; no decision rests on it.
type Summary struct {
	Phase      Standing    `json:"phase,omitempty"`
	Reported   string      `json:"reported,omitempty"` // waiting or started, of all replicas
	Leader     string      `json:"leader,omitempty"`   // pod that began the epoch
	Position   string      `json:"position,omitempty"` // highest observed, of the epoch's history
	Conditions []Condition `json:"conditions,omitempty"`
	// Spoken is the generation of the spec that the summary takes into account.
	Spoken int64 `json:"observedGeneration,omitempty"`
}

// Standing is the state of a cluster in one word.
type Standing string

// Standings.
const (
	Gathering  Standing = "Gathering"  // members are still to report
	Electing   Standing = "Recovering" // a member was chosen and needs the others' agreement
	Blocked    Standing = "Blocked"    // a person, a node or a volume is needed
	Joining    Standing = "Joining"    // the cluster runs, and members have yet to start
	AllStarted Standing = "Started"
)

// Condition has the form of Kubernetes' conditions.
type Condition struct {
	Type               string `json:"type"`
	Status             string `json:"status"`
	Reason             string `json:"reason"`
	Message            string `json:"message"`
	LastTransitionTime string `json:"lastTransitionTime"`
	ObservedGeneration int64  `json:"observedGeneration,omitempty"`
}

// Types of conditions.
const (
	ConditionEstablished = "Established" // the cluster has had its first bootstrap
	ConditionRecovering  = "Recovering"  // no server of the cluster is known to run
	ConditionBlocked     = "Blocked"     // it does not go on without help
)

// Conclude brings the summary up to date. Whoever changes the state calls it, and
// never for its own sake: waiting members would answer each other without end.
func (c *Cluster) Conclude(now time.Time) {
	v := Review(*c)
	reported, started := 0, 0
	for _, ordinal := range c.Expected() {
		if r, found := c.Member(ordinal); found && r.State != Recovering {
			reported++
			if r.State == Started {
				started++
			}
		}
	}
	c.Reported, c.Spoken = fmt.Sprintf("%d/%d", reported, c.Replicas), c.Generation
	c.Phase = phase(v, started, c.Replicas)
	g, established := c.Running()
	if established {
		c.Leader, c.Position = g.Pod, g.Position.String()
		for _, p := range c.Observed {
			if p.UUID == g.Position.UUID {
				c.Position = p.String()
			}
		}
	}
	c.Conditions = Conditions(*c, v, now)
}

func phase(v Verdict, started, replicas int) Standing {
	switch {
	case started == replicas && replicas > 0:
		return AllStarted
	case started > 0:
		return Joining
	case v.Action == Refuse || (v.Action == Wait && v.Reason.Code == ServerUnreached):
		return Blocked
	case v.Action == Bootstrap:
		return Electing
	}
	return Gathering
}

// Conditions gives the conditions that belong to a verdict. A condition whose
// status did not change keeps its time, which is for people only.
func Conditions(c Cluster, v Verdict, now time.Time) []Condition {
	_, established := c.Running()
	p := c.Phase
	blocked := p == Blocked || (p == Gathering && v.Action == Wait)
	return []Condition{
		c.condition(ConditionEstablished, established, map[bool]string{true: "Bootstrapped", false: "NeverBootstrapped"}[established], c.Leader, now),
		c.condition(ConditionRecovering, p == Gathering || p == Electing || p == Blocked, string(v.Reason.Code), v.Reason.Text, now),
		c.condition(ConditionBlocked, blocked, string(v.Reason.Code), v.Reason.String(), now),
	}
}

func (c *Cluster) condition(kind string, holds bool, reason, message string, now time.Time) Condition {
	next := Condition{Type: kind, Status: "False", Reason: reason, Message: message, ObservedGeneration: c.Generation,
		LastTransitionTime: now.UTC().Format(time.RFC3339)}
	if holds {
		next.Status = "True"
	}
	for _, old := range c.Conditions {
		if old.Type == kind && old.Status == next.Status {
			next.LastTransitionTime = old.LastTransitionTime
		}
	}
	return next
}
