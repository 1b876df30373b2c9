package explore

// settle checks that a decision is reached when all members come back: nothing
// is isolated, every process goes on, servers outside the Primary component end
// and their containers start again, and nothing else goes wrong. A state from
// which this is known is not followed again.
func (x *explorer) settle(w world) {
	if w.broken || w.forgave {
		return
	}
	w.left = budget{}
	trace, reached := x.follow(w)
	if size := x.largest(); !reached && x.result.Violation == "" && w.size != size { // members that were scaled away with data come back
		w.size = size
		trace, reached = x.follow(w)
	}
	if !reached && x.result.Violation == "" {
		x.result.Violation = "no decision is reached although all members come back"
	}
	if !reached {
		x.result.Trace = append(append(x.trace(x.from), "all members come back"), trace...)
	}
}

// follow takes a state to its end. The trace is that of a state without one.
func (x *explorer) follow(w world) (trace []string, reached bool) {
	var path []uint64
	for range 400 {
		h := x.hash(w)
		if x.live[h] || w.forgave || x.settled(w) {
			for _, h := range append(path, h) {
				x.live[h] = true
			}
			return nil, true
		}
		path = append(path, h)
		next, label := x.progress(w)
		if label == "" {
			break
		}
		w = next
		trace = append(trace[max(0, len(trace)-60):], label)
		if x.result.Violation != "" {
			return trace, false
		}
	}
	return append(trace, x.describe(x.objects[w.object])...), false
}

// largest is the size at which every member is a replica.
func (x *explorer) largest() uint8 {
	size := x.scenario.Members
	for _, s := range x.scenario.Sizes {
		size = max(size, s)
	}
	return size
}

// settled says that every member is in the Primary component and has its data.
func (x *explorer) settled(w world) bool {
	for member := range int(w.size) {
		i := w.volumeOf(member)
		if w.primary&bit(i) == 0 || w.volumes[i].class == victim || w.volumes[i].data != w.group {
			return false
		}
	}
	return w.size > 0
}

// progress takes the first step that something takes by itself, and says which.
func (x *explorer) progress(w world) (world, string) {
	for i := range w.volumes {
		if w.volumes[i].isolated {
			w.volumes[i].isolated = false
			return x.canonical(w), say("heal", i)
		}
	}
	var next world
	found := ""
	x.out = func(to world, label string, member int, violation string) {
		if found == "" && to != w && label != "witness" {
			next, found = to, say(label, member)
			x.result.Violation = violation
		}
	}
	defer func() { x.out = nil }()
	for i := range w.volumes {
		if x.processes(w, i); found != "" {
			return next, found
		}
	}
	for i := range w.volumes {
		if x.servers(w, i); found != "" {
			return next, found
		}
	}
	for i, v := range w.volumes { // the rest has waited in vain
		away := v.member >= w.size && v.who != nobody
		if away || x.ends(w, i) {
			s := x.begin(w)
			if v.who == running && w.primary&bit(i) != 0 {
				s.stop(i)
			}
			s.w.volumes[i].die()
			s.w.object = x.intern(s.o)
			return x.canonical(s.w), say("end", i)
		}
	}
	return w, ""
}
