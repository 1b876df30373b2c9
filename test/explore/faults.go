package explore

import "math/bits"

// faults emits what can go wrong, and what people do about it.
func (x *explorer) faults(w world) {
	for i := range w.volumes {
		if w.volumes[i].exists && !w.volumes[i].gone {
			x.faultsOf(w, i)
		}
	}
	x.objectFaults(w)
	if w.left.Outages > 0 {
		s := x.begin(w)
		s.w.left.Outages--
		for i := range s.w.volumes {
			s.w.volumes[i].die()
		}
		s.w.primary = 0
		x.emit(s, "power cut of all", -1)
	}
	if w.left.Scales > 0 {
		for _, size := range x.scenario.Sizes {
			if size != w.size {
				s := x.begin(w)
				s.w.left.Scales--
				s.w.size = size
				x.emit(s, "scale", int(size))
			}
		}
	}
	x.people(w)
}

// die ends whatever occupies a volume at once.
func (v *volume) die() { v.who, v.seen, v.grant, v.me = nobody, 0, 0, report{} }

func (x *explorer) faultsOf(w world, i int) {
	v := w.volumes[i]
	unwanted := v.member >= w.size && !v.isolated
	if v.who != nobody && (w.left.Kills > 0 || unwanted && v.who != running) {
		s := x.begin(w)
		if !unwanted {
			s.w.left.Kills--
		}
		if v.who == running {
			s.leave(bit(i), false)
		}
		s.w.volumes[i].die()
		x.emit(s, "kill", i)
	}
	if v.who == running && v.class != victim && (w.left.Stops > 0 || unwanted) {
		s := x.begin(w)
		if !unwanted {
			s.w.left.Stops--
		}
		s.stop(i)
		x.emit(s, "stop", i)
	}
	if w.left.Isolations > 0 && !v.isolated {
		s := x.begin(w)
		s.w.left.Isolations--
		s.w.volumes[i].isolated = true
		if was := s.w.primary; was&bit(i) != 0 {
			switch n := bits.OnesCount8(was); {
			case n == 2:
				s.w.primary = 0
			case n > 2:
				s.leave(bit(i), false)
			}
		}
		x.emit(s, "isolate", i)
	}
	if v.isolated {
		s := x.begin(w)
		s.w.volumes[i].isolated = false
		x.emit(s, "heal", i)
	}
	x.diskFaults(w, i)
}

// stop ends a server in order: it applies what it has received, saves its
// position and takes the saved view away.
func (s *step) stop(i int) {
	v := &s.w.volumes[i]
	if s.w.primary&bit(i) != 0 {
		v.data = s.w.group
		s.leave(bit(i), true)
	}
	if v.class == crashed {
		v.class = clean
	}
	v.view, v.with = 0, 0
	v.die()
}

func (x *explorer) diskFaults(w world, i int) {
	v := w.volumes[i]
	if w.left.Rots > 0 && v.who == nobody && (v.class == clean || v.class == crashed) {
		s := x.begin(w)
		s.w.left.Rots--
		s.w.volumes[i].class, s.w.broken = corrupt, true
		x.emit(s, "rot", i)
	}
	if w.left.DiskLosses == 0 || w.volumes[maxVolumes-1].exists {
		return
	}
	blank := volume{member: v.member, exists: true}
	destroyed := x.begin(w)
	destroyed.w.left.DiskLosses--
	if v.who == running {
		destroyed.leave(bit(i), false)
	}
	d := &destroyed.w.volumes[i]
	d.die()
	d.gone, destroyed.w.broken = true, true
	destroyed.w.volumes[maxVolumes-1] = blank
	x.emit(destroyed, "destroy disk", i)
	if v.isolated { // given up, with whatever runs on it alive
		given := x.begin(w)
		given.w.left.DiskLosses--
		given.w.broken = true
		given.w.volumes[maxVolumes-1] = blank
		x.emit(given, "give disk up", i)
	}
}

func (x *explorer) objectFaults(w world) {
	if w.left.Losses > 0 {
		s := x.begin(w)
		s.w.left.Losses--
		s.o = object{replicas: w.size, majority: s.o.majority}
		x.emit(s, "lose object", -1)
	}
	if w.left.Snapshots > 0 {
		s := x.begin(w)
		s.w.left.Snapshots--
		s.w.snapshot = w.object
		x.emit(s, "snapshot", -1)
	}
	if w.left.Restores > 0 && w.snapshot != 0 && w.snapshot != w.object {
		s := x.begin(w)
		s.w.left.Restores--
		s.o = x.objects[w.snapshot]
		x.emit(s, "restore object", -1)
	}
}

// people emits overrides and declarations of people who tell the truth: no
// server runs, and the volume is destroyed.
func (x *explorer) people(w world) {
	s := x.begin(w)
	if w.left.Declares > 0 {
		for i, v := range w.volumes {
			if v.gone && s.o.lost&bit(i) == 0 {
				declared := x.begin(w)
				declared.w.left.Declares--
				declared.o.lost |= bit(i)
				x.emit(declared, "declare lost", i)
			}
		}
	}
	if w.left.Overrides == 0 {
		return
	}
	for _, v := range w.volumes {
		if v.who >= consumed {
			return
		}
	}
	c := x.cluster(s.o)
	for member, r := range s.o.members {
		if r.state == 2 && r.at.n != none {
			o := x.begin(w)
			o.w.left.Overrides--
			o.o.override = override{attempt: uint8(c.NextAttempt()), member: uint8(member), at: r.at, without: (bit(maxMembers) - 1) &^ bit(member)}
			x.emit(o, "override", member)
		}
	}
}
