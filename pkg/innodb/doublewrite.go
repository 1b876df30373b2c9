package innodb

import (
	"github.com/berth-dev/berth/pkg/innodb/page"
	"github.com/berth-dev/berth/pkg/innodb/redo"
)

// copies are the pages of the doublewrite buffer, in which the server writes
// pages before it writes them to their places.
type copies []([]byte)

// readCopies reads the whole doublewrite buffer: two extents.
func (v *verification) readCopies() copies {
	if v.report.Recovered || v.report.InUse {
		return nil // what the buffer holds is then of the past
	}
	var out copies
	for _, s := range v.layout.doublewrite {
		for no := s.from; no < s.to; no++ {
			f := v.layout.systemFile(no)
			if f == nil {
				break
			}
			if p, err := v.page(f, no); err == nil && !page.IsZero(p) {
				out = append(out, p)
			}
		}
	}
	return out
}

// has says whether there is a good copy of a page, of a time that recovery
// accepts. Of encrypted and of compressed pages of the newer format the space id
// cannot be read; a copy is then known by its number and checksum only.
func (c copies) has(judge *checker, f *datafile, no uint32, from, to redo.LSN) bool {
	for _, p := range c {
		if page.Number(p) != no || len(p) < f.space.Size {
			continue
		}
		lsn := redo.LSN(page.LSN(p))
		if lsn >= from && lsn <= to && judge.result(f, p, no) == page.Good {
			return true
		}
	}
	return false
}
