package explore

import (
	"fmt"
	"hash/maphash"
	"slices"
	"time"
)

// Scenario is where an exploration begins and what may happen in it.
type Scenario struct {
	Name    string
	Members uint8
	Install bool // begins with empty volumes; else with a cluster that runs
	// Stranger: the second member's volume holds another cluster's data.
	Stranger bool
	Sidecar  bool // sidecars record what they see
	// Majority is policy AllowMajority.
	Majority bool
	Sizes    []uint8 // to which it may be scaled
	Budget   budget
}

// Result is what an exploration found.
type Result struct {
	Scenario   string
	States     int
	Steps      int
	Depth      int
	Bootstraps int
	Cut        int  // paths that were not followed: more epochs than the model has room for
	Complete   bool // all states within the budget were seen
	Elapsed    time.Duration
	// Violation and the Trace that leads to it; empty when there is none.
	Violation string
	Trace     []string
}

// Limits bound an exploration; 0 is no bound.
type Limits struct {
	States  int
	Elapsed time.Duration
	// Deep goes after long stories first, three times of four.
	Deep bool
}

type explorer struct {
	*numbers
	scenario Scenario
	rules    Rules
	seed     maphash.Seed

	objects []object // interned; index 0 is no object
	index   map[object]uint32
	seen    map[uint64]origin
	live    map[uint64]bool // worlds from which a decision is reached
	memory  map[question]outcome

	next   []world
	from   uint64 // the state that is expanded
	depth  uint16
	result Result
	// out, when it is set, takes the successors instead of the exploration.
	out func(w world, label string, member int, violation string)
}

// origin is how a state was reached first.
type origin struct {
	from   uint64
	label  string
	member int8
	depth  uint16
}

// Explore visits the states of a scenario: breadth first, so that a violation
// comes with the shortest way to it; or, with limits that ask for it, from both
// ends of what is to be visited, so that a search which is cut short has seen long
// stories as well.
func Explore(scenario Scenario, rules Rules, limits Limits) Result {
	began := time.Now()
	x := &explorer{numbers: newNumbers(), scenario: scenario, rules: rules, seed: maphash.MakeSeed(),
		objects: make([]object, 1), index: map[object]uint32{}, seen: map[uint64]origin{}, live: map[uint64]bool{}, memory: map[question]outcome{}}
	x.result.Scenario = scenario.Name
	x.start()
	first, turns := 0, 0
	for first < len(x.next) && x.result.Violation == "" {
		if limits.States > 0 && len(x.seen) >= limits.States || limits.Elapsed > 0 && time.Since(began) > limits.Elapsed {
			break
		}
		var w world
		if turns++; limits.Deep && turns%4 != 0 {
			w = x.next[len(x.next)-1]
			x.next = x.next[:len(x.next)-1]
		} else {
			w = x.next[first]
			first++
		}
		if first > 1<<16 {
			x.next, first = slices.Clone(x.next[first:]), 0
		}
		x.from = x.hash(w)
		x.depth = x.seen[x.from].depth + 1
		if x.expand(w); x.result.Violation == "" {
			x.settle(w)
		}
	}
	x.result.Complete = first == len(x.next) && x.result.Violation == "" && x.result.Cut == 0
	x.result.States, x.result.Elapsed = len(x.seen), time.Since(began)
	return x.result
}

// start makes the first state.
func (x *explorer) start() {
	w := world{size: x.scenario.Members, left: x.scenario.Budget}
	o := object{replicas: x.scenario.Members, majority: x.scenario.Majority}
	members := int(x.scenario.Members)
	for _, size := range x.scenario.Sizes {
		members = max(members, int(size))
	}
	for i := range members {
		w.volumes[i] = volume{member: uint8(i), exists: true}
	}
	if !x.scenario.Install {
		x.runs(&w, &o)
	}
	if x.scenario.Stranger {
		for i := range w.volumes {
			w.volumes[i].die()
		}
		w.primary, w.broken = 0, true
		w.volumes[1].data = content{uuid: 2, n: 1, tx: [maxWrites]uint8{maxWrites}}
	}
	w.object = x.intern(o)
	x.visit(x.canonical(w), 0, "", -1)
}

// runs makes a cluster that has run since its first installation by member 0.
func (x *explorer) runs(w *world, o *object) {
	all := bit(int(x.scenario.Members)) - 1
	begin := epoch{id: 1, attempt: 1, uuid: 1}
	past := epochs{n: 1, all: [maxEpochs]epoch{begin}}
	w.group = content{uuid: 1}
	w.primary = all
	for i := range int(x.scenario.Members) {
		w.volumes[i] = volume{member: uint8(i), exists: true, data: w.group, class: crashed, view: 1, with: all, past: past, known: all, vow: 1, who: running}
		o.members[i] = report{state: 3, start: uint8(i + 1), volume: uint8(i), class: empty, at: position{0, none}, agreed: 1, joined: true}
	}
	o.grants[0] = grant{attempt: 1, id: 1, start: 1, at: position{1, 0}, rule: index(rules, "first-install"), consumed: true, past: past}
	o.observed[0] = position{1, 0}
	w.spent[0] = 1
}

func (x *explorer) intern(o object) uint32 {
	if i, found := x.index[o]; found {
		return i
	}
	i := uint32(len(x.objects))
	x.objects = append(x.objects, o)
	x.index[o] = i
	return i
}

// canonical renames what is in a state to what it has in common with others.
func (x *explorer) canonical(w world) world {
	o, snapshot := x.objects[w.object], x.objects[w.snapshot]
	canonical(&w, []*object{&o, &snapshot})
	w.object = x.intern(o)
	if w.snapshot != 0 {
		w.snapshot = x.intern(snapshot)
	}
	return w
}

func (x *explorer) hash(w world) uint64 { return maphash.Comparable(x.seed, w) }

// visit adds a state when it is new.
func (x *explorer) visit(w world, from uint64, label string, member int) {
	h := x.hash(w)
	if _, found := x.seen[h]; found {
		return
	}
	x.seen[h] = origin{from, label, int8(member), x.depth}
	x.result.Depth = max(x.result.Depth, int(x.depth))
	x.next = append(x.next, w)
}

func (x *explorer) begin(w world) *step { return &step{x: x, w: w, o: x.objects[w.object]} }

// emit takes a step to its end.
func (x *explorer) emit(s *step, label string, member int) {
	if x.overflow { // longer lineages than the model has room for: the path ends here
		x.overflow = false
		x.result.Cut++
		return
	}
	s.w.object = x.intern(s.o)
	w := x.canonical(s.w)
	if x.out != nil {
		x.out(w, label, member, s.violation)
		return
	}
	x.result.Steps++
	if label == "consume" {
		x.result.Bootstraps++
	}
	if s.violation != "" {
		if x.result.Violation == "" {
			x.result.Violation = s.violation
			x.result.Trace = append(x.trace(x.from), say(label, member))
		}
		return
	}
	x.visit(w, x.from, label, member)
}

// expand emits all steps from a state.
func (x *explorer) expand(w world) {
	for i := range w.volumes {
		x.processes(w, i)
		x.servers(w, i)
	}
	x.faults(w)
}

func (x *explorer) trace(h uint64) (steps []string) {
	for h != 0 {
		o := x.seen[h]
		if o.label != "" {
			steps = append([]string{say(o.label, int(o.member))}, steps...)
		}
		h = o.from
	}
	return steps
}

func say(label string, member int) string {
	if member < 0 {
		return label
	}
	return fmt.Sprintf("%s %d", label, member)
}
