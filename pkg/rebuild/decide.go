package rebuild

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

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
	ByOverride    Rule = "override"
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
	// The rest but Reason is set only with Action Bootstrap. Member bootstraps from
	// Position when all of Needed have agreed.
	Member   int              `json:"member,omitempty"`
	Position datadir.Position `json:"position"`
	Rule     Rule             `json:"rule,omitempty"`
	Needed   []int            `json:"needed,omitempty"`
	// Without are members of whom nothing is needed, because of Proof.
	Without []int `json:"without,omitempty"`
	Proof   Proof `json:"proof,omitempty"`
	// Override is the reason that a person gave for it.
	Override string `json:"override,omitempty"`
	Reason   Reason `json:"reason"`
	// Notes say why overrides have no effect.
	Notes []Reason `json:"notes,omitempty"`
}

// Decide says what the waiting members of a cluster do. The order of reports
// does not matter.
func Decide(c Cluster) Verdict {
	override, overridden, notes := c.override()
	v := decide(c, override, overridden)
	v.Notes = notes
	if g, open := c.OpenGrant(v); open {
		if missing := c.Dissenters(v, g); len(missing) > 0 {
			r, _ := c.Member(v.Member)
			v.Notes = append(v.Notes, c.awaiting(g, missing).unblockedBy("their containers running; when no server of them runs, %s", c.command(*r)))
		}
	}
	return v
}

func decide(c Cluster, override Override, overridden bool) Verdict {
	if len(c.Answering) > 0 {
		return Verdict{Action: Join, Reason: because(PeersRunning, "a server answers on the group port of %s: join it", names(c, c.Answering))}
	}
	if len(c.Outside) > 0 {
		return wait(because(NoPrimary, "the server of %s runs and is in no Primary component, or not yet: it takes no member in, and nobody bootstraps while it runs", names(c, c.Outside)).
			unblockedBy("a Primary component that it finds again; else its sidecar stops it, and it reports with the others"))
	}
	if overridden {
		return permit(c, override)
	}
	m := c.call()
	switch {
	case len(m.away)+len(m.strays) > 0:
		return wait(c.missing(m))
	case len(m.reports) == 0:
		return wait(because(MissingMembers, "the StatefulSet has no replicas").unblockedBy("scale it up"))
	}
	return choose(c, m)
}

// missing says for whom the decision waits.
func (c *Cluster) missing(m muster) Reason {
	var absent, recovering, started, silent []int
	for _, ordinal := range m.away {
		switch r, found := c.Member(ordinal); {
		case !found:
			absent = append(absent, ordinal)
		case r.State == Started:
			started = append(started, ordinal)
		case r.State == Recovering:
			recovering = append(recovering, ordinal)
		default:
			silent = append(silent, ordinal)
		}
	}
	switch {
	case len(m.strays) > 0:
		s := m.strays[0]
		return because(ServerUnreached, "a server of %s was started on its former volume %s (node %s), and nobody has seen its end", s.Pod, s.Volume, s.Node).
			unblockedBy("when that volume is destroyed, or its node is off for good: %s", c.declare(s.Ordinal, s.Volume))
	case len(started) > 0:
		return because(ServerUnreached, "a server was started and does not answer: %s; nobody bootstraps before it answers or its pod reports again", describe(*c, started)).
			unblockedBy("its node and its pod running; or, %s", c.goOnWithout(m, started))
	case len(absent) > 0:
		return because(MissingMembers, "no report yet from %s: the freshest data may be there, so the pod has to run on the node that holds its volume", names(*c, absent)).
			unblockedBy("these pods running; or, %s", c.goOnWithout(m, absent))
	case len(recovering) > 0:
		return because(RecoveryRunning, "still reading the volume or recovering the position: %s", describe(*c, recovering)).
			unblockedBy("the end of it; or, %s", c.goOnWithout(m, recovering))
	}
	return because(MissingMembers, "%s reported once and does not agree to attempt %d any more", names(*c, silent), c.NextAttempt()-1).
		unblockedBy("these pods running; or, %s", c.goOnWithout(m, silent))
}

// choose decides among the reports of all members that count, none of which runs
// a server.
func choose(c Cluster, m muster) Verdict {
	candidates := slices.DeleteFunc(slices.Clone(m.reports), func(r Report) bool { return !mayLead(r.Class) || !r.Position.IsReal() })
	if len(candidates) == 0 {
		return firstInstall(c, m)
	}
	slices.SortFunc(candidates, compare)
	best := candidates[0]
	if refused, why := unsafe(c, m.reports, candidates); refused {
		return refuse(why.unblockedBy("bring back the volumes that are named; or, to go on from %s and lose the rest, %s", best.Position, c.command(best)))
	}
	rule := OnlyCandidate
	if len(candidates) > 1 {
		rule = decidedBy(best, candidates[1])
	}
	v := Verdict{Action: Bootstrap, Member: best.Ordinal, Position: best.Position, Rule: rule, Needed: ordinals(m.reports), Without: m.excused, Proof: m.proof}
	text := fmt.Sprintf("%s bootstraps from %s (%s), decided by %s among %d", best.Pod, best.Position, best.Class, rule, len(candidates))
	if high := highestObserved(c, m.reports, best.Position.UUID); high > best.Position.Seqno {
		text += fmt.Sprintf("; %d transactions up to %d are lost, which spec.policy.allowedLoss permits", high-best.Position.Seqno, high)
	}
	v.Reason = because(Chosen, "%s%s", text, without(c, m))
	return v
}

// unsafe says why even the best candidate must not start the cluster by itself.
func unsafe(c Cluster, reports, candidates []Report) (bool, Reason) {
	best := candidates[0]
	if groups := histories(candidates); len(groups) > 1 {
		return true, because(Diverged, "the members hold different histories (%s): find out which one is wanted, and move the data of the others aside", strings.Join(groups, "; "))
	}
	data := slices.DeleteFunc(slices.Clone(reports), func(r Report) bool { return r.Position.UUID != best.Position.UUID })
	if parted := branches(data); parted != "" {
		return true, because(Diverged, "the members hold the same uuid and different histories (%s): find out which one is wanted, and move the data of the other aside", parted)
	}
	last, known := newestEpoch(c, reports)
	if known && !slices.ContainsFunc(candidates, func(r Report) bool { return holds(r, last) }) {
		return true, because(EpochMissing, "epoch %d began at %s, and no member that may start the cluster has lived through it: what was written in it would be lost", last.Attempt, last.Begin)
	}
	if high := highestObserved(c, reports, best.Position.UUID); high-best.Position.Seqno > max(0, c.Spec.Policy.AllowedLoss) {
		return true, because(Regressed, "the freshest member, %s, is at %d, but %d was observed for %s: %d transactions would be lost",
			best.Pod, best.Position.Seqno, high, best.Position.UUID, high-best.Position.Seqno)
	}
	return false, Reason{}
}

// newestEpoch is the last one that the object or any volume knows of.
func newestEpoch(c Cluster, reports []Report) (datadir.Epoch, bool) {
	line := longest(reports)
	if g, found := c.Running(); found && len(g.Epochs) > 0 && !livedThrough(line, newest(g.Epochs)) {
		return newest(g.Epochs), true
	}
	if len(line) == 0 {
		return datadir.Epoch{}, false
	}
	return newest(line), true
}

// permit is the verdict of an override that matches.
func permit(c Cluster, o Override) Verdict {
	r, _ := c.Member(o.Member)
	v := Verdict{Action: Bootstrap, Member: o.Member, Position: r.Position, Rule: ByOverride, Proof: ByPerson, Override: o.Reason}
	for _, ordinal := range c.concerned() {
		if ordinal == o.Member || !slices.Contains(o.Without, ordinal) {
			v.Needed = append(v.Needed, ordinal)
		} else {
			v.Without = append(v.Without, ordinal)
		}
	}
	v.Reason = because(Chosen, "%s bootstraps from %s (%s) by a person's override of attempt %d: %s", r.Pod, r.Position, r.Class, o.Attempt, o.Reason)
	return v
}

// firstInstall decides when nobody has data that may start a cluster.
func firstInstall(c Cluster, m muster) Verdict {
	_, lineage := c.Running()
	lineage = lineage || len(c.Observed) > 0
	for _, r := range m.reports {
		if r.Class != datadir.Empty {
			return refuse(because(NoCandidate, "no member's data may start the cluster (%s)", classes(m.reports)).unblockedBy("%s", desperate(c, m.reports)))
		}
		lineage = lineage || r.Evidence.Lineage != nil
	}
	if lineage {
		return refuse(because(DataMissing, "all members are empty, but this cluster had data").
			unblockedBy("the volumes; to begin anew, delete the GaleraCluster object, the claims and their volumes"))
	}
	first := slices.MinFunc(m.reports, func(a, b Report) int { return a.Ordinal - b.Ordinal })
	return Verdict{Action: Bootstrap, Member: first.Ordinal, Position: datadir.Undefined, Rule: FirstInstall, Needed: ordinals(m.reports),
		Reason: because(Chosen, "first installation: all %d members are empty, %s creates the data", len(m.reports), first.Pod)}
}

// desperate is what is left when nobody's data may start the cluster. Only a
// volume with a position can be named in an override.
func desperate(c Cluster, reports []Report) string {
	usable := slices.DeleteFunc(slices.Clone(reports), func(r Report) bool { return !r.Position.IsReal() || r.Class == datadir.Foreign })
	if len(usable) == 0 {
		return "a sound volume; or a restored backup"
	}
	best := slices.MinFunc(usable, compare)
	return fmt.Sprintf("a sound volume; or a restored backup; or, to start from %s of %s (%s) at your own risk, %s", best.Position, best.Pod, best.Class, c.command(best))
}

// joinPatience is how long a joiner lets a fresher one go first.
const joinPatience = 10 * time.Second

// For narrows a cluster's verdict to one waiting member: those whose data must
// not be overwritten do not join.
func (v Verdict) For(c Cluster, r Report) Verdict {
	if !c.IsExpected(r.Ordinal) {
		return wait(because(OrdinalUnwanted, "%s is beyond the StatefulSet's %d replicas", r.Pod, c.Replicas).unblockedBy("scale it up, or let the pod go"))
	}
	if v.Action != Join {
		return v
	}
	if r.Class == datadir.Corrupt || r.Class == datadir.Foreign || r.Class == datadir.Tainted {
		return refuse(because(UnsoundData, "%s is %s and would be overwritten by a full transfer%s", r.Pod, r.Class, firstFinding(r)).
			unblockedBy("move its data aside, and let it join with an empty directory"))
	}
	if code, parted := parts(c, r); parted != "" {
		return refuse(because(code, "%s: joining would overwrite them", parted).unblockedBy("save what is wanted of this volume, and move its data aside to let it join"))
	}
	if g, found := c.Running(); found && c.Waited < joinPatience && r.State == Waiting {
		for _, other := range c.Members {
			if other.Ordinal != r.Ordinal && other.State == Waiting && other.Agreed == g.Attempt && c.IsExpected(other.Ordinal) && before(other, r) {
				return wait(because(AwaitingFresher, "%s joins first: it needs fewer transactions and can then serve as a donor", other.Pod).
					unblockedBy("its start; or %s without any change", joinPatience))
			}
		}
	}
	return v
}

// parts says how a report's data is not part of the history that the cluster runs.
func parts(c Cluster, r Report) (Code, string) {
	g, found := c.Running()
	if !found || !r.Position.KnowsHistory() || !g.Position.KnowsHistory() {
		return "", ""
	}
	epochs := lived(r)
	switch {
	case r.Position.UUID != g.Position.UUID:
		return Diverged, fmt.Sprintf("%s holds transactions of history %s, the cluster runs %s", r.Pod, r.Position.UUID, g.Position.UUID)
	case !datadir.Related(epochs, g.Epochs):
		return Diverged, fmt.Sprintf("%s holds transactions of epoch %d, which epoch %d of the cluster does not go on from", r.Pod, newest(epochs).Attempt, g.Attempt)
	}
	return ReversedHistory, tail(r, g.Epochs)
}

// before says whether a should join before b.
func before(a, b Report) bool {
	if x, y := a.Class.KeepsPosition(), b.Class.KeepsPosition(); x != y {
		return x
	}
	return a.Position.Seqno > b.Position.Seqno
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
	observe := func(p datadir.Position) {
		if p.UUID == uuid {
			high = max(high, p.Seqno)
		}
	}
	for _, p := range c.Observed {
		observe(p)
	}
	for _, r := range reports {
		for _, e := range r.Evidence.epochs() {
			observe(e.Begin)
		}
		if r.Evidence.Committed != nil {
			observe(*r.Evidence.Committed)
		}
	}
	return high
}

func (c *Cluster) awaiting(g *Grant, missing []int) Reason {
	return because(AwaitingAgreed, "attempt %d of %s still needs the agreement of %s", g.Attempt, g.Pod, names(*c, missing))
}

// without says of whom nothing is needed, and why.
func without(c Cluster, m muster) string {
	if len(m.excused) == 0 {
		return ""
	}
	who := names(c, m.excused)
	switch m.proof {
	case ByDeclaration:
		return fmt.Sprintf("; without %s, declared lost", who)
	case ByFlag:
		return fmt.Sprintf("; without %s, for a member was stopped in order as the last one of the cluster", who)
	case ByLastView:
		return fmt.Sprintf("; without %s, for all %d members of the last Primary view have reported", who, len(m.view.Members))
	}
	return fmt.Sprintf("; without %s, which policy AllowMajority permits: transactions that only these had made durable are lost", who)
}

func ordinals(reports []Report) []int {
	var all []int
	for _, r := range sorted(reports) {
		all = append(all, r.Ordinal)
	}
	return all
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
