package gcache

import (
	"slices"
	"sort"
)

// run is a run of seqnos without a gap.
type run struct{ first, last int64 }

// runs is a set of seqnos. They come nearly in order, so that there are few runs
// at a time; should there be many, the lowest are forgotten.
type runs struct{ all []run }

const maxRuns = 1 << 14

func (r *runs) add(seqno int64) {
	i := sort.Search(len(r.all), func(i int) bool { return r.all[i].last >= seqno-1 })
	switch {
	case i == len(r.all) || r.all[i].first > seqno+1:
		if len(r.all) == maxRuns {
			if i == 0 {
				return
			}
			r.all = slices.Delete(r.all, 0, 1)
			i--
		}
		r.all = slices.Insert(r.all, i, run{seqno, seqno})
		return
	case r.all[i].last == seqno-1:
		r.all[i].last = seqno
	case r.all[i].first == seqno+1:
		r.all[i].first = seqno
	}
	if i+1 < len(r.all) && r.all[i+1].first == r.all[i].last+1 {
		r.all[i].last = r.all[i+1].last
		r.all = slices.Delete(r.all, i+1, i+2)
	}
}

// newest is the run with the highest seqnos.
func (r *runs) newest() (first, last int64) {
	if len(r.all) == 0 {
		return 0, 0
	}
	newest := r.all[len(r.all)-1]
	return newest.first, newest.last
}
