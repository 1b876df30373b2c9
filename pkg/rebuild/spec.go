package rebuild

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/berth-dev/berth/pkg/datadir"
)

// Spec is what people say about a cluster. Nobody but people writes it.
type Spec struct {
	Policy Policy `json:"policy,omitzero"`
	// Lost are volumes that a person declares destroyed: nobody waits for them.
	Lost []Lost `json:"lost,omitempty"`
	// Overrides are single-use permissions to bootstrap where no rule allows it.
	Overrides []Override `json:"overrides,omitempty"`
}

// Policy says how far the decision may go by itself.
type Policy struct {
	// MissingMembers is Wait (also when empty) or AllowMajority.
	MissingMembers Missing `json:"missingMembers,omitempty"`
	// PatienceSeconds is how long AllowMajority waits for the others; 0 is 300.
	PatienceSeconds int64 `json:"patienceSeconds,omitempty"`
	// AllowedLoss is how many transactions below the highest observed position a
	// cluster may still start by itself.
	AllowedLoss int64 `json:"allowedLoss,omitempty"`
}

// Missing is what to do about members that are away and may hold newer data.
type Missing string

// Policies for missing members.
const (
	WaitForAll Missing = "Wait"
	// AllowMajority goes on with a majority of the last Primary view. What only the
	// missing members had made durable is lost.
	AllowMajority Missing = "AllowMajority"
)

const defaultPatience = 5 * time.Minute

func (p Policy) patience() time.Duration {
	if p.PatienceSeconds > 0 {
		return time.Duration(p.PatienceSeconds) * time.Second
	}
	return defaultPatience
}

// Lost declares a member's volume destroyed. It names the volume, so that it
// says nothing about the one that takes its place.
type Lost struct {
	Member int    `json:"member"`
	Volume string `json:"volume"`
	Reason string `json:"reason"`
}

// Override lets one member bootstrap from one position in one attempt. It is
// used up when that attempt has been issued, and refused when member, position
// or attempt are no longer what they were when it was written.
type Override struct {
	Attempt  int64  `json:"attempt"`
	Member   int    `json:"member"`
	Position string `json:"position"` // UUID:SEQNO
	// Without are the members whose agreement is not waited for. That no server of
	// theirs runs is the word of the person who writes it.
	Without []int  `json:"without,omitempty"`
	Reason  string `json:"reason"`
}

// override looks for one that permits the next attempt, or that permitted the
// open one. The notes say why the others do nothing.
func (c *Cluster) override() (o Override, found bool, notes []Reason) {
	next := c.NextAttempt()
	last, _ := c.LastGrant()
	for _, candidate := range c.Spec.Overrides {
		if last != nil && last.Attempt == candidate.Attempt && last.Rule == ByOverride && !last.Consumed {
			next = last.Attempt // it is being used: judge it again
		}
		switch why := c.mismatch(candidate, next); {
		case candidate.Attempt < next:
			notes = append(notes, because(OverrideUsed, "the override for attempt %d does nothing any more: attempts up to %d were issued or seen", candidate.Attempt, next-1).
				unblockedBy("to override again, look at the members anew and name attempt %d", next))
		case why != "":
			notes = append(notes, because(OverrideRefused, "the override for attempt %d does not match: %s", candidate.Attempt, why).
				unblockedBy("look at the members anew and correct it or take it away"))
		case !found:
			o, found = candidate, true
		}
	}
	return o, found, notes
}

// mismatch says in which way an override is not what the members reported.
func (c *Cluster) mismatch(o Override, next int64) string {
	if o.Attempt != next {
		return fmt.Sprintf("the next attempt is %d", next)
	}
	position, err := datadir.ParsePosition(o.Position)
	if err != nil {
		return err.Error()
	}
	r, found := c.Member(o.Member)
	switch {
	case !found || r.State != Waiting || !c.IsExpected(o.Member):
		return fmt.Sprintf("member %d does not wait for a verdict", o.Member)
	case r.Position != position || !position.IsReal():
		return fmt.Sprintf("%s is at %s, not at %s", r.Pod, r.Position, o.Position)
	case r.Class == datadir.Foreign:
		return fmt.Sprintf("%s is %s: the volume belongs to somebody else", r.Pod, r.Class)
	case o.Reason == "":
		return "it gives no reason"
	}
	for _, ordinal := range c.concerned() {
		if r, found := c.Member(ordinal); (!found || r.State != Waiting) && !slices.Contains(o.Without, ordinal) {
			return fmt.Sprintf("%s does not wait for a verdict and is not named under without", names(*c, []int{ordinal}))
		}
	}
	return ""
}

// command is the override that starts the cluster from a member's position now.
func (c *Cluster) command(r Report) string {
	o := Override{Attempt: c.NextAttempt(), Member: r.Ordinal, Position: r.Position.String(), Reason: "WHY"}
	g, found := c.LastGrant()
	for _, ordinal := range c.concerned() {
		other, reported := c.Member(ordinal)
		silent := found && reported && !g.Consumed && other.Agreed != g.Attempt
		if ordinal != r.Ordinal && (!reported || other.State != Waiting || silent) {
			o.Without = append(o.Without, ordinal)
		}
	}
	return c.patch("overrides", o)
}

// declare is the command that says that a volume is destroyed.
func (c *Cluster) declare(member int, volume string) string {
	return c.patch("lost", Lost{Member: member, Volume: volume, Reason: "WHY"})
}

func (c *Cluster) patch(field string, entry any) string {
	content, err := json.Marshal(map[string]any{"spec": map[string]any{field: []any{entry}}})
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("kubectl patch galeracluster %s -n %s --type=merge -p '%s'", c.Name, c.Namespace, content)
}

// goOnWithout is what a person can do about members that are away: declare their
// volumes destroyed, where these are known, or start from the freshest of the
// others.
func (c *Cluster) goOnWithout(m muster, away []int) string {
	var commands []string
	for _, ordinal := range away {
		if r, found := c.Member(ordinal); found && r.Volume != "" {
			commands = append(commands, fmt.Sprintf("when volume %s is destroyed: %s", r.Volume, c.declare(ordinal, r.Volume)))
			break
		}
	}
	candidates := slices.DeleteFunc(slices.Clone(m.reports), func(r Report) bool { return !mayLead(r.Class) || !r.Position.IsReal() })
	if len(candidates) > 0 {
		best := slices.MinFunc(candidates, compare)
		commands = append(commands, fmt.Sprintf("when no server of them runs, to start from %s of %s and lose what is newer: %s", best.Position, best.Pod, c.command(best)))
	}
	if len(commands) == 0 {
		return "when they are not wanted, scale the StatefulSet down"
	}
	return strings.Join(commands, "; ")
}

// isLost says whether a person declared a report's volume destroyed.
func (c *Cluster) isLost(r Report) bool {
	for _, l := range c.Spec.Lost {
		if l.Member == r.Ordinal && l.Volume != "" && l.Volume == r.Volume {
			return true
		}
	}
	return false
}
