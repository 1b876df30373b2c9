package explore

import (
	"math/bits"
	"slices"

	"github.com/berth-dev/berth/pkg/rebuild"
)

// launch makes a server of a process that may start one.
func (s *step) launch(i int) {
	v := &s.w.volumes[i]
	leads := v.who == consumed
	v.who, v.seen, v.grant, v.me, v.view, v.with = running, 0, 0, report{}, 0, 0
	if !leads {
		v.flag = false
		if v.class == clean || v.class == crashed {
			v.class = crashed
		}
		return
	}
	if s.w.primary != 0 {
		s.fail("I6: two Primary components")
	}
	v.class = crashed
	s.w.group = v.data
	s.view(bit(i))
}

// view installs a Primary view; its members save it.
func (s *step) view(primary uint8) {
	s.w.primary = primary
	_, _, view, _ := fresh(&s.w, s.objects())
	for i := range s.w.volumes {
		if primary&bit(i) != 0 {
			v := &s.w.volumes[i]
			v.view, v.with, v.flag = view, primary, bits.OnesCount8(primary) == 1
		}
	}
}

// leave takes servers out of the Primary component. Those that are left stay
// Primary when they are more than half of it, or when the others left in order,
// and one of them at least is complete.
func (s *step) leave(gone uint8, inOrder bool) {
	was := s.w.primary
	if was&gone == 0 {
		return
	}
	rest := was &^ gone
	if !s.w.complete(rest) || !inOrder && 2*bits.OnesCount8(rest) <= bits.OnesCount8(was) {
		s.w.primary = 0
		return
	}
	s.view(rest)
}

// complete says whether one of these volumes is not being filled.
func (w *world) complete(volumes uint8) bool {
	return slices.ContainsFunc(members(volumes), func(i int) bool { return w.volumes[i].class != victim })
}

// servers emits what Galera can do next with the server of a volume.
func (x *explorer) servers(w world, i int) {
	v := &w.volumes[i]
	if v.who != running {
		return
	}
	within := w.primary&bit(i) != 0
	switch {
	case !within && !v.isolated && w.reachable():
		x.join(w, i)
	case within && v.class == victim:
		s := x.begin(w)
		s.w.volumes[i].class, s.w.volumes[i].data = crashed, w.group
		x.emit(s, "transfer done", i)
	case within && v.data.n < w.group.n:
		s := x.begin(w)
		s.w.volumes[i].data = w.group
		x.emit(s, "apply", i)
	case within && w.left.Writes > 0:
		s := x.begin(w)
		s.w.left.Writes--
		g := &s.w.group
		g.tx[g.n] = s.w.writes + 1
		g.n++
		s.w.acked |= bit(int(s.w.writes))
		s.w.writes++
		s.w.volumes[i].data = *g
		x.emit(s, "write", i)
	}
	if x.scenario.Sidecar && x.out == nil && x.ends(w, i) {
		s := x.begin(w)
		s.end(i)
		x.emit(s, "end", i)
	}
	if within && !v.isolated && x.scenario.Sidecar && v.class != victim && v.data == w.group {
		x.witness(w, i)
	}
	if !within && !v.isolated && w.primary == 0 {
		x.reform(w, i)
	}
}

// reachable says whether a server that is not cut off is in the Primary component.
func (w *world) reachable() bool {
	for j, v := range w.volumes {
		if w.primary&bit(j) != 0 && !v.isolated {
			return true
		}
	}
	return false
}

// join lets a server into the Primary component: with its own position when that
// is a part of the history, else by a full transfer over what it has.
func (x *explorer) join(w world, i int) {
	s := x.begin(w)
	v := &s.w.volumes[i]
	if (v.class == crashed || v.class == clean) && v.data.uuid == w.group.uuid {
		switch {
		case v.data.n > w.group.n:
			v.who = nobody // "Reversing history": the server aborts
			x.emit(s, "join, aborted", i)
			return
		case !w.group.includes(v.data):
			s.fail("I9: volume %d joins by incremental transfer from %d, and its transactions are not those of the cluster", i, v.data.n)
		}
	} else {
		s.overwritten(i, w.group)
		v.data, v.class = content{}, victim
	}
	s.view(s.w.primary | bit(i))
	x.emit(s, "join", i)
}

// ends says whether a server in no Primary component is ended: by its sidecar when
// it takes connections; by Galera when it has found no component since it started
// (pc.wait_prim_timeout). One that lost its component in a full transfer does
// neither: its sidecar ends it when it is stranded. Of a process that the object
// does not know, a person has to see to it.
func (x *explorer) ends(w world, i int) bool {
	v := w.volumes[i]
	if v.who != running || w.primary&bit(i) != 0 {
		return false
	}
	if v.class != victim || v.view == 0 {
		return true
	}
	o := x.objects[w.object]
	r := o.members[v.member]
	return r.state == 0 || int(r.volume) != i || x.rules.Stranded(x.cluster(o), int(v.member), x.texts[r.start], w.silent(i))
}

// silent are the other members whose sidecars say that a server, or what will be
// one, does not answer: they are being filled, or have seen no component yet.
func (w *world) silent(i int) (ordinals []int) {
	for j, v := range w.volumes {
		if j != i && !v.isolated && w.volumeOf(int(v.member)) == j && (v.who == consumed || v.who == entered || v.who == running && (v.class == victim || v.view == 0)) {
			ordinals = append(ordinals, int(v.member))
		}
	}
	return ordinals
}

// end ends a server outside of the Primary component.
func (s *step) end(i int) {
	if v := &s.w.volumes[i]; v.class == victim || v.view == 0 {
		v.die()
		return
	}
	s.stop(i)
}

// reform lets the servers that come from one view form a Primary component
// again when most of that view see each other.
func (x *explorer) reform(w world, i int) {
	v := w.volumes[i]
	if v.view == 0 {
		return
	}
	var together uint8
	for j, other := range w.volumes {
		if other.who == running && !other.isolated && other.view == v.view && other.class != victim {
			together |= bit(j)
		}
	}
	if 2*bits.OnesCount8(together) <= bits.OnesCount8(v.with) || together&(bit(i)-1) != 0 {
		return
	}
	s := x.begin(w)
	s.view(together)
	x.emit(s, "reform", i)
}

// witness emits what the sidecar of a server records. A server shows a view when
// it has applied everything before it; the model lets it apply all.
func (x *explorer) witness(w world, i int) {
	s := x.begin(w)
	c := x.cluster(s.o)
	sighting := rebuild.Sighting{ID: x.texts[w.volumes[i].view], Position: x.position(position{w.volumes[i].data.uuid, w.volumes[i].data.n})}
	for _, j := range members(w.primary) {
		sighting.View = append(sighting.View, x.texts[j+1])
	}
	if x.rules.Witness(&c, sighting) {
		s.o = x.smallObject(c, s.o)
		x.emit(s, "witness", i)
	}
}
