package explore

import "slices"

// naming maps the names that occur in a state to the smallest numbers, in the
// order in which they are met.
type naming struct {
	to   [256]uint8
	next uint8
}

func (n *naming) of(name *uint8) {
	if *name == 0 {
		return
	}
	if n.to[*name] == 0 {
		n.next++
		n.to[*name] = n.next
	}
	*name = n.to[*name]
}

// canonical gives states that differ in names only the same names: those of
// processes, epochs, views and histories are compared for equality only, and
// attempts only by their order and by being next to each other. Members are not
// interchangeable: ties go to the lowest ordinal.
func canonical(w *world, objects []*object) {
	var starts, ids, views, uuids naming
	lineage := func(e *epochs) {
		for i := range e.all[:e.n] {
			ids.of(&e.all[i].id)
			uuids.of(&e.all[i].uuid)
		}
	}
	reported := func(r *report) {
		starts.of(&r.start)
		uuids.of(&r.at.uuid)
		views.of(&r.view)
		lineage(&r.past)
	}
	for i := range w.volumes {
		v := &w.volumes[i]
		uuids.of(&v.data.uuid)
		views.of(&v.view)
		lineage(&v.past)
		if v.who != nobody {
			reported(&v.me)
		}
	}
	uuids.of(&w.group.uuid)
	for _, o := range objects {
		for i := range o.members {
			reported(&o.members[i])
		}
		for i := range o.grants {
			g := &o.grants[i]
			ids.of(&g.id)
			starts.of(&g.start)
			uuids.of(&g.at.uuid)
			lineage(&g.past)
		}
		for i := range o.observed {
			uuids.of(&o.observed[i].uuid)
		}
		uuids.of(&o.override.at.uuid)
		views.of(&o.settled)
	}
	spent := w.spent
	w.spent = [maxGrants]uint8{}
	kept := 0
	for _, id := range spent { // the id of a grant that occurs nowhere cannot be consumed again
		if id > 0 && ids.to[id] > 0 && kept < maxGrants {
			w.spent[kept] = ids.to[id]
			kept++
		}
	}
	slices.Sort(w.spent[:kept])
	compress(w, objects)
}

// compress takes gaps between attempts down to one.
func compress(w *world, objects []*object) {
	var present [256]bool
	each(w, objects, func(attempt *uint8) { present[*attempt] = true })
	var to [256]uint8
	last, value := 0, uint8(0)
	for attempt := 1; attempt < 256; attempt++ {
		if present[attempt] {
			value += uint8(min(2, attempt-last))
			to[attempt], last = value, attempt
		}
	}
	each(w, objects, func(attempt *uint8) { *attempt = to[*attempt] })
}

// each visits all attempts in a state.
func each(w *world, objects []*object, visit func(*uint8)) {
	lineage := func(e *epochs) {
		for i := range e.all[:e.n] {
			visit(&e.all[i].attempt)
		}
	}
	reported := func(r *report) {
		visit(&r.vow)
		visit(&r.agreed)
		lineage(&r.past)
	}
	for i := range w.volumes {
		v := &w.volumes[i]
		lineage(&v.past)
		visit(&v.vow)
		visit(&v.seen)
		visit(&v.grant)
		if v.who != nobody {
			reported(&v.me)
		}
	}
	for _, o := range objects {
		for i := range o.members {
			reported(&o.members[i])
		}
		for i := range o.grants {
			visit(&o.grants[i].attempt)
			lineage(&o.grants[i].past)
		}
		visit(&o.override.attempt)
	}
}

// fresh gives a name that no state has: the number behind the highest.
func fresh(w *world, objects []*object) (start, id, view, uuid uint8) {
	top := func(to *uint8, name uint8) { *to = max(*to, name) }
	lineage := func(e *epochs) {
		for _, one := range e.all[:e.n] {
			top(&id, one.id)
			top(&uuid, one.uuid)
		}
	}
	reported := func(r *report) {
		top(&start, r.start)
		top(&view, r.view)
		top(&uuid, r.at.uuid)
		lineage(&r.past)
	}
	for i := range w.volumes {
		v := &w.volumes[i]
		top(&view, v.view)
		top(&uuid, v.data.uuid)
		lineage(&v.past)
		reported(&v.me)
	}
	top(&uuid, w.group.uuid)
	for _, o := range objects {
		top(&view, o.settled)
		for i := range o.members {
			reported(&o.members[i])
		}
		for i := range o.grants {
			g := &o.grants[i]
			top(&id, g.id)
			top(&start, g.start)
			top(&uuid, g.at.uuid)
			lineage(&g.past)
		}
		for i := range o.observed {
			top(&uuid, o.observed[i].uuid)
		}
	}
	return start + 1, id + 1, view + 1, uuid + 1
}
