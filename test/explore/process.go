package explore

import (
	"fmt"
	"time"

	"github.com/berth-dev/berth/pkg/rebuild"
)

// step is a state under construction.
type step struct {
	x *explorer
	w world
	o object // the object; written back when the step is emitted
	// violation says what must never happen and did.
	violation string
	// patient: the process has waited longer than any policy asks.
	patient bool
}

func (s *step) fail(format string, args ...any) {
	if s.violation == "" {
		s.violation = fmt.Sprintf(format, args...)
	}
}

func (s *step) objects() []*object {
	old := s.x.objects[s.w.snapshot]
	return []*object{&s.o, &old}
}

// waiter makes the memory of the process on a volume.
func (s *step) waiter(i int, answering []int, told bool) rebuild.Waiter {
	v := &s.w.volumes[i]
	waiter := rebuild.Waiter{Me: s.x.report(int(v.member), v.me), Seen: int64(v.seen)}
	for _, member := range answering {
		if told && s.w.primary&bit(s.w.volumeOf(member)) == 0 {
			waiter.Outside = append(waiter.Outside, member)
		} else {
			waiter.Answering = append(waiter.Answering, member)
		}
	}
	if s.patient {
		return waiter.See(s.x.cluster(s.o), now().Add(-time.Hour))
	}
	return waiter.See(s.x.cluster(s.o), now())
}

// answering are the members on whose group port a server of another member
// answers.
func (s *step) answering(i int) (ordinals []int) {
	for _, v := range s.w.volumes {
		if v.who == running && !v.isolated && v.member != s.w.volumes[i].member {
			ordinals = append(ordinals, int(v.member))
		}
	}
	return ordinals
}

// tell puts a report of the process on a volume into the object.
func (s *step) tell(i int, state uint8) {
	v := &s.w.volumes[i]
	v.me.state = state
	c := s.x.cluster(s.o)
	c.Replicas = int(s.w.size)
	s.x.rules.Put(&c, s.x.report(int(v.member), v.me))
	s.o = s.x.smallObject(c, s.o)
}

// found is what a process finds on its volume before its position is known.
func (s *step) found(i int) report {
	v := &s.w.volumes[i]
	start, _, _, _ := fresh(&s.w, s.objects())
	return report{start: start, volume: uint8(i), class: empty, at: position{0, none}, flag: v.flag && v.class != empty, blank: v.class == empty, past: v.past, known: v.known, vow: v.vow,
		self: uint8(i), view: v.view, with: v.with}
}

// processes emits what galera-init can do next on a volume.
func (x *explorer) processes(w world, i int) {
	v := &w.volumes[i]
	member := int(v.member)
	if !v.exists || v.gone || v.isolated && v.who < consumed {
		return
	}
	switch v.who {
	case nobody:
		if member < int(w.size) && w.volumeOf(member) == i {
			s := x.begin(w)
			s.w.volumes[i].me = s.found(i)
			s.w.volumes[i].who, s.w.volumes[i].seen, s.w.volumes[i].grant = recovering, 0, 0
			s.tell(i, 1)
			x.emit(s, "start", i)
		}
	case recovering:
		s := x.begin(w)
		v := &s.w.volumes[i]
		v.me.class = v.class
		if v.class == clean || v.class == crashed || v.class == corrupt {
			v.me.at = position{v.data.uuid, v.data.n}
		}
		v.who = waiting
		s.tell(i, 2)
		x.emit(s, "report", i)
	case waiting:
		x.wait(w, i)
	case granted:
		x.consume(w, i)
	case consumed, entered:
		s := x.begin(w)
		if v.who == consumed && x.rules.Stranded(x.cluster(s.o), member, x.texts[v.me.start], w.silent(i)) {
			s.fail("the server of volume %d was granted the bootstrap, and its sidecar would end it as stranded", i)
		}
		s.launch(i)
		x.emit(s, "launch", i)
	}
}

// wait emits the steps of a process that waits.
func (x *explorer) wait(w world, i int) {
	s := x.begin(w)
	if s.o.replicas != w.size {
		scaled := *s
		scaled.o.replicas = w.size
		x.emit(&scaled, "rescale", i)
	}
	seen := s.answering(i)
	x.act(w, i, nil, false, false) // also when somebody answers: a probe can fail
	if x.scenario.Majority && x.out == nil {
		x.act(w, i, nil, false, true)
	}
	if len(seen) == 0 {
		return
	}
	x.act(w, i, seen, true, false)
	for _, told := range []bool{true, false} {
		if told == false && x.out != nil {
			break // sidecars tell in the end
		}
		s := x.begin(w)
		c := x.cluster(s.o)
		if x.rules.Enter(s.waiter(i, seen, told), &c, now()) == nil {
			s.o = x.smallObject(c, s.o)
			v := &s.w.volumes[i]
			v.who = entered
			if g, found := c.Running(); found {
				l := c.Lineage("n", "galera", int(v.member), *g, false)
				v.past, v.known = x.smallLineage(l.Epochs), mask(l.Members)
			}
			x.emit(s, "enter", i)
		}
	}
}

// act emits a step in the object, or the readiness to consume.
func (x *explorer) act(w world, i int, answering []int, told, patient bool) {
	s := x.begin(w)
	s.patient = patient
	v := &s.w.volumes[i]
	out := s.outcome(i, answering, told)
	v.seen, v.vow = out.seen, max(v.vow, out.promise)
	switch {
	case out.changed:
		if s.w.left.Errors > 0 { // the write did not arrive, and the process cannot know
			lost := *s
			lost.w.left.Errors--
			x.emit(&lost, "act, write lost", i)
		}
		s.o = x.objects[out.object]
		x.emit(s, "act", i)
	case out.ready:
		v.who, v.grant, v.past, v.known = granted, out.grant.attempt, out.past, out.known
		if rules[out.grant.rule] == rebuild.FirstInstall {
			v.data, v.class, v.flag = content{uuid: out.grant.at.uuid}, clean, false
		}
		x.emit(s, "prepare bootstrap", i)
	case v.seen != w.volumes[i].seen:
		x.emit(s, "look", i)
	}
}

// question is all that a step of a waiting process depends on.
type question struct {
	object             uint32
	me                 report
	member, seen       uint8
	answering, primary uint8
	told, patient      bool
	freshID, freshUUID uint8
}

// outcome is what the real step answers.
type outcome struct {
	object         uint32
	seen, promise  uint8
	changed, ready bool
	grant          grant
	past           epochs
	known          uint8
}

// outcome takes the real step, or remembers it.
func (s *step) outcome(i int, answering []int, told bool) outcome {
	x, v := s.x, s.w.volumes[i]
	_, id, _, uuid := fresh(&s.w, s.objects())
	q := question{object: s.w.object, me: v.me, member: v.member, seen: v.seen, answering: mask(answering), told: told, patient: s.patient, freshID: id, freshUUID: uuid}
	if told {
		q.primary = s.w.primary
	}
	if out, known := x.memory[q]; known {
		return out
	}
	c := x.cluster(s.o)
	names := []uint8{id, uuid}
	waiter, verdict, promise, changed := x.rules.Act(s.waiter(i, answering, told), &c, now(), func() string {
		name := names[0]
		names = names[1:]
		return x.uuids[name]
	})
	out := outcome{object: s.w.object, seen: uint8(waiter.Seen), promise: uint8(promise), changed: changed}
	if changed {
		out.object = x.intern(x.smallObject(c, s.o))
	} else if g, ready := x.rules.Ready(waiter, c, verdict, now()); ready && g != nil {
		l := c.Lineage("n", "galera", int(v.member), *g, false)
		out.ready, out.grant, out.past, out.known = true, x.smallGrant(*g), x.smallLineage(l.Epochs), mask(l.Members)
	}
	if len(x.memory) > 1<<20 {
		clear(x.memory)
	}
	x.memory[q] = out
	return out
}

// consume emits the compare-and-swap right before a bootstrap.
func (x *explorer) consume(w world, i int) {
	s := x.begin(w)
	s.patient = x.scenario.Majority && x.out == nil
	v := &s.w.volumes[i]
	c := x.cluster(s.o)
	if x.rules.Consume(s.waiter(i, nil, false), &c, int64(v.grant), now()) != nil {
		v.who, v.grant = waiting, 0
		x.emit(s, "refused", i)
		return
	}
	g, _ := c.LastGrant()
	before := s.o
	s.o = x.smallObject(c, s.o)
	s.judge(i, before, x.smallGrant(*g))
	if s.w.left.Errors > 0 { // the write arrived, and the process cannot know
		lost := *s
		lost.w.left.Errors--
		lost.w.volumes[i].die() // it looks at its volume anew
		x.emit(&lost, "consume, answer lost", i)
	}
	v.who = consumed
	x.emit(s, "consume", i)
}
