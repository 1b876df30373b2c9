package rebuild

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/berth-dev/berth/pkg/datadir"
)

// Two volumes of one uuid need not be of one history: a cluster that was
// bootstrapped twice from the same data keeps the uuid and gives out the same
// seqnos for different transactions. Epochs tell them apart.

// longest gives the epochs of the report that knows of the most recent one.
func longest(reports []Report) []datadir.Epoch {
	return last(reports, func(r Report) []datadir.Epoch { return r.Evidence.epochs() })
}

// line gives the epochs in which the reports' data was written. One that is only
// known, because its bootstrap was prepared and perhaps never happened, is not
// among them.
func line(reports []Report) []datadir.Epoch { return last(reports, lived) }

func last(reports []Report, of func(Report) []datadir.Epoch) []datadir.Epoch {
	var longest []datadir.Epoch
	for _, r := range reports {
		if epochs := of(r); len(epochs) > 0 && r.Class != datadir.Foreign && (len(longest) == 0 || livedThrough(epochs, newest(longest))) {
			longest = epochs
		}
	}
	return longest
}

func newest(epochs []datadir.Epoch) datadir.Epoch { return epochs[len(epochs)-1] }

func livedThrough(epochs []datadir.Epoch, e datadir.Epoch) bool { return at(epochs, e) >= 0 }

func at(epochs []datadir.Epoch, e datadir.Epoch) int {
	return slices.IndexFunc(epochs, func(other datadir.Epoch) bool { return other.ID == e.ID })
}

// holds says whether a report's data includes the beginning of an epoch. A
// joiner's lineage names the epoch before its data has got there.
func holds(r Report, e datadir.Epoch) bool {
	return livedThrough(r.Evidence.epochs(), e) && r.Position.UUID == e.Begin.UUID && r.Position.Seqno >= e.Begin.Seqno
}

// lived gives the epochs in which a report's data has transactions: not one that
// began where the data ends, or to which a joiner has not come yet. All of them,
// when the position is not known.
func lived(r Report) []datadir.Epoch {
	epochs := r.Evidence.epochs()
	for len(epochs) > 0 && r.Position.IsReal() && newest(epochs).Begin.Seqno >= r.Position.Seqno {
		epochs = epochs[:len(epochs)-1]
	}
	return epochs
}

// ancestors gives the epochs before one that begins at a position: those in which
// the reports' data was written, and those that are known to have begun at this
// very position. Others that are known only have perhaps never begun.
func ancestors(reports []Report, begin datadir.Position) []datadir.Epoch {
	all := slices.Clone(line(reports))
	var known []datadir.Epoch
	for _, r := range reports {
		if r.Class != datadir.Foreign {
			known = append(known, r.Evidence.epochs()...)
		}
	}
	slices.SortStableFunc(known, func(a, b datadir.Epoch) int { return cmp.Compare(a.Attempt, b.Attempt) })
	for _, e := range known {
		if e.Begin == begin && !livedThrough(all, e) && (len(all) == 0 || e.Attempt > newest(all).Attempt) {
			all = append(all, e)
		}
	}
	return all
}

// tail says how a report's data left a line of epochs: it went on in one of them
// beyond the point from which the next one began, so that its last transactions
// are not those that the line has under the same seqnos.
func tail(r Report, line []datadir.Epoch) string {
	epochs := lived(r)
	if len(epochs) == 0 || len(line) == 0 || !r.Position.IsReal() {
		return ""
	}
	i := at(line, newest(epochs))
	if i < 0 || i == len(line)-1 {
		return ""
	}
	child := line[i+1]
	if child.Begin.UUID != r.Position.UUID || r.Position.Seqno <= child.Begin.Seqno {
		return ""
	}
	return fmt.Sprintf("%s holds %d transactions of epoch %d up to %d that epoch %d, begun at %d, does not have",
		r.Pod, r.Position.Seqno-child.Begin.Seqno, line[i].Attempt, r.Position.Seqno, child.Attempt, child.Begin.Seqno)
}

// branches says how the histories of reports part, if they do.
func branches(reports []Report) string {
	for i, a := range reports {
		for _, b := range reports[:i] {
			x, y := lived(a), lived(b)
			if !datadir.Related(x, y) {
				return fmt.Sprintf("%s comes from epoch %d and %s from epoch %d, and neither goes on from the other",
					b.Pod, newest(y).Attempt, a.Pod, newest(x).Attempt)
			}
		}
	}
	common := line(reports)
	for _, r := range reports {
		if parted := tail(r, common); parted != "" {
			return parted
		}
	}
	return ""
}
