package rebuild

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/berth-dev/berth/pkg/datadir"
)

// Action is what a verdict tells a waiting member to do.
type Action string

// Actions.
const (
	Wait      Action = "wait"
	Join      Action = "join"
	Bootstrap Action = "bootstrap"
	Refuse    Action = "refuse"
)

// Rule names what decided between candidates.
type Rule string

// Rules, in the order in which they apply.
const (
	OnlyCandidate Rule = "only-candidate"
	HighestSeqno  Rule = "highest-seqno"
	BestClass     Rule = "best-class"
	SafeFlag      Rule = "safe-to-bootstrap"
	LongestCache  Rule = "longest-cache"
	LowestOrdinal Rule = "lowest-ordinal"
	FirstInstall  Rule = "first-install"
)

// Verdict is the decision for a cluster, or for one member of it (see For).
type Verdict struct {
	Action Action `json:"action"`
	// Member bootstraps from Position; both only with Action Bootstrap.
	Member   int              `json:"member,omitempty"`
	Position datadir.Position `json:"position"`
	Rule     Rule             `json:"rule,omitempty"`
	Reason   Reason           `json:"reason"`
}

// Decide says what the waiting members of a cluster do. The order of reports
// does not matter.
func Decide(c Cluster) Verdict {
	if len(c.Answering) > 0 {
		return Verdict{Action: Join, Reason: because(PeersRunning, "a server answers on the group port of %s: join it", names(c, c.Answering))}
	}
	expected := c.Expected()
	absent, recovering, started := []int{}, []int{}, []int{}
	var reports []Report
	for _, ordinal := range expected {
		r, found := c.Member(ordinal)
		switch {
		case !found:
			absent = append(absent, ordinal)
		case r.State == Started:
			started = append(started, ordinal)
		case r.State == Recovering:
			recovering = append(recovering, ordinal)
		default:
			reports = append(reports, *r)
		}
	}
	for _, r := range c.Members { // a member beyond the replicas may still run a server
		if !slices.Contains(expected, r.Ordinal) && r.State == Started {
			started = append(started, r.Ordinal)
		}
	}
	switch {
	case len(started) > 0:
		return wait(because(ServerUnreached, "a server was started and does not answer: %s; nobody bootstraps before it answers or its pod reports again", describe(c, started)))
	case len(absent) > 0:
		return wait(because(MissingMembers, "no report yet from %s: the freshest data may be there, so the pod has to run on the node that holds its volume", names(c, absent)))
	case len(recovering) > 0:
		return wait(because(RecoveryRunning, "still reading the volume or recovering the position: %s", describe(c, recovering)))
	case len(reports) == 0:
		return wait(because(MissingMembers, "the StatefulSet has no replicas"))
	}
	return choose(c, reports)
}

// choose decides among the reports of all members, none of which runs a server.
func choose(c Cluster, reports []Report) Verdict {
	candidates := slices.DeleteFunc(slices.Clone(reports), func(r Report) bool { return !mayLead(r.Class) || !r.Position.IsReal() })
	if len(candidates) == 0 {
		return firstInstall(c, reports)
	}
	if groups := histories(candidates); len(groups) > 1 {
		return refuse(because(Diverged, "the members hold different histories (%s): find out which one is wanted, and remove the members of the other from the cluster", strings.Join(groups, "; ")))
	}
	slices.SortFunc(candidates, compare)
	best := candidates[0]
	if high := highestObserved(c, reports, best.Position.UUID); high > best.Position.Seqno {
		return refuse(because(Regressed, "the freshest member, %s, is at %d, but %d was observed for %s: %d transactions would be lost; bring back the volume that holds them",
			best.Pod, best.Position.Seqno, high, best.Position.UUID, high-best.Position.Seqno))
	}
	rule := OnlyCandidate
	if len(candidates) > 1 {
		rule = decidedBy(best, candidates[1])
	}
	return Verdict{Action: Bootstrap, Member: best.Ordinal, Position: best.Position, Rule: rule,
		Reason: because(Chosen, "%s bootstraps from %s (%s), decided by %s among %d", best.Pod, best.Position, best.Class, rule, len(candidates))}
}

// firstInstall decides when nobody has data that may start a cluster.
func firstInstall(c Cluster, reports []Report) Verdict {
	lineage := len(c.Grants) > 0 && slices.ContainsFunc(c.Grants, func(g Grant) bool { return g.Consumed })
	lineage = lineage || len(c.Observed) > 0
	for _, r := range reports {
		if r.Class != datadir.Empty {
			return refuse(because(NoCandidate, "no member's data may start the cluster (%s): bring back a sound volume, or choose one by hand", classes(reports)))
		}
		lineage = lineage || r.Evidence.Attempt > 0
	}
	if lineage {
		return refuse(because(DataMissing, "all members are empty, but this cluster had data: bring back the volumes; to begin anew, delete the GaleraCluster object, the claims and their volumes"))
	}
	first := slices.MinFunc(reports, func(a, b Report) int { return a.Ordinal - b.Ordinal })
	return Verdict{Action: Bootstrap, Member: first.Ordinal, Position: datadir.Undefined, Rule: FirstInstall,
		Reason: because(Chosen, "first installation: all %d members are empty, %s creates the data", len(reports), first.Pod)}
}

// For narrows a cluster's verdict to one waiting member: those whose data must
// not be overwritten do not join.
func (v Verdict) For(c Cluster, r Report) Verdict {
	if !slices.Contains(c.Expected(), r.Ordinal) {
		return wait(because(OrdinalUnwanted, "%s is beyond the StatefulSet's %d replicas: scale it up, or let the pod go", r.Pod, c.Replicas))
	}
	if v.Action != Join {
		return v
	}
	if r.Class == datadir.Corrupt || r.Class == datadir.Foreign || r.Class == datadir.Tainted {
		return refuse(because(UnsoundData, "%s is %s and would be overwritten by a full transfer%s; to let it join, move its data aside", r.Pod, r.Class, firstFinding(r)))
	}
	if g, found := c.LastGrant(); found && g.Consumed && r.Position.KnowsHistory() && g.Position.KnowsHistory() && r.Position.UUID != g.Position.UUID {
		return refuse(because(Diverged, "%s holds history %s, the cluster runs %s: a full transfer would overwrite it; move its data aside to let it join", r.Pod, r.Position.UUID, g.Position.UUID))
	}
	return v
}

func mayLead(c datadir.Class) bool { return rank(c) < 3 }

// rank orders classes by how sure their position is.
func rank(c datadir.Class) int {
	switch c {
	case datadir.Clean:
		return 0
	case datadir.Crashed:
		return 1
	case datadir.UnsafeDDL:
		return 2
	}
	return 3
}

// compare puts the better candidate first. The flag never beats a seqno: after
// a crash it is only what the last view happened to be.
func compare(a, b Report) int {
	return cmp.Or(
		cmp.Compare(b.Position.Seqno, a.Position.Seqno),
		cmp.Compare(rank(a.Class), rank(b.Class)),
		cmp.Compare(flag(b), flag(a)),
		cmp.Compare(reach(a), reach(b)),
		cmp.Compare(a.Ordinal, b.Ordinal),
	)
}

func decidedBy(best, second Report) Rule {
	switch {
	case best.Position.Seqno != second.Position.Seqno:
		return HighestSeqno
	case rank(best.Class) != rank(second.Class):
		return BestClass
	case flag(best) != flag(second):
		return SafeFlag
	case reach(best) != reach(second):
		return LongestCache
	}
	return LowestOrdinal
}

func flag(r Report) int {
	if r.Evidence.Grastate.SafeToBootstrap && r.Evidence.Grastate.KnowsHistory() {
		return 1
	}
	return 0
}

// reach is the oldest transaction that a member could send once it has started
// from its position: the lower, the more joiners get along without a full copy.
func reach(r Report) int64 {
	if !r.Evidence.Cache.Covers(r.Position) {
		return math.MaxInt64
	}
	return r.Evidence.Cache.First
}

// highestObserved is the highest seqno that the object or any volume remembers.
func highestObserved(c Cluster, reports []Report, uuid string) int64 {
	high := int64(-1)
	for _, p := range c.Observed {
		if p.UUID == uuid {
			high = max(high, p.Seqno)
		}
	}
	for _, r := range reports {
		for _, p := range []*datadir.Position{r.Evidence.Begin, r.Evidence.Committed} {
			if p != nil && p.UUID == uuid {
				high = max(high, p.Seqno)
			}
		}
	}
	return high
}

func histories(reports []Report) []string {
	pods := map[string][]string{}
	for _, r := range sorted(reports) {
		pods[r.Position.UUID] = append(pods[r.Position.UUID], fmt.Sprintf("%s at %d", r.Pod, r.Position.Seqno))
	}
	var groups []string
	for uuid, members := range pods {
		groups = append(groups, uuid+": "+strings.Join(members, ", "))
	}
	slices.Sort(groups)
	return groups
}

func classes(reports []Report) string {
	var parts []string
	for _, r := range sorted(reports) {
		parts = append(parts, fmt.Sprintf("%s %s%s", r.Pod, r.Class, firstFinding(r)))
	}
	return strings.Join(parts, "; ")
}

func firstFinding(r Report) string {
	if len(r.Findings) == 0 {
		return ""
	}
	return " (" + r.Findings[0].String() + ")"
}

func names(c Cluster, ordinals []int) string {
	var parts []string
	for _, ordinal := range slices.Sorted(slices.Values(ordinals)) {
		if r, found := c.Member(ordinal); found {
			parts = append(parts, r.Pod)
		} else {
			parts = append(parts, fmt.Sprintf("member %d", ordinal))
		}
	}
	return strings.Join(parts, ", ")
}

func describe(c Cluster, ordinals []int) string {
	var parts []string
	for _, ordinal := range slices.Sorted(slices.Values(ordinals)) {
		if r, found := c.Member(ordinal); found {
			parts = append(parts, fmt.Sprintf("%s (node %s, volume %s)", r.Pod, r.Node, r.Volume))
		}
	}
	return strings.Join(parts, ", ")
}

func wait(r Reason) Verdict   { return Verdict{Action: Wait, Position: datadir.Undefined, Reason: r} }
func refuse(r Reason) Verdict { return Verdict{Action: Refuse, Position: datadir.Undefined, Reason: r} }
