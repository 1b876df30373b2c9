package innodb

import (
	"fmt"
	"slices"

	"github.com/berth-dev/berth/pkg/innodb/page"
)

// checkHeaders reads the first page of every tablespace, and compares the sizes
// in it with the files'.
func (l *layout) checkHeaders(opt Options, r *Report) {
	system := l.systemFiles(opt)
	for _, f := range l.files {
		if f.kind != kindSystem {
			l.checkHeader(f, r)
		}
	}
	l.checkSystem(system, r)
}

// systemFiles are the files of the system tablespace in their order.
func (l *layout) systemFiles(opt Options) []*datafile {
	var system []*datafile
	for _, f := range l.files {
		if f.kind == kindSystem {
			system = append(system, f)
		}
	}
	slices.SortFunc(system, func(a, b *datafile) int {
		if opt.SystemFiles != nil {
			return slices.Index(opt.SystemFiles, a.name) - slices.Index(opt.SystemFiles, b.name)
		}
		if len(a.name) != len(b.name) { // ibdata10 comes after ibdata9
			return len(a.name) - len(b.name)
		}
		if a.name < b.name {
			return -1
		}
		return 1
	})
	return system
}

func (l *layout) checkHeader(f *datafile, r *Report) {
	start, err := readStart(f.path)
	if err != nil {
		r.find(unreadable(f.name, err))
		return
	}
	bad := func(code Code, expected, found string) {
		r.find(Finding{Verdict: l.verdictOf(f, r), Code: code, File: f.name, Page: -1, Expected: expected, Found: found, Do: rebuild})
	}
	switch {
	case len(start) < page.MinSize:
		bad(SpaceSize, "at least one page", fmt.Sprintf("%d bytes", f.size))
		return
	case page.IsZero(start[:page.MinSize]):
		bad(SpaceHeader, "a tablespace header", "zeros")
		return
	}
	f.space, err = page.ParseSpace(start)
	if err != nil {
		bad(SpaceHeader, "a tablespace header with known flags", err.Error())
		return
	}
	f.usable = true
	size := int64(f.space.Size)
	if f.size%size != 0 {
		bad(SpaceSize, fmt.Sprintf("a multiple of the page size %d", size), fmt.Sprintf("%d bytes", f.size))
	}
	if f.kind != kindSystem && int64(f.space.Pages)*size > f.size {
		bad(SpaceSize, fmt.Sprintf("%d pages of %d bytes, as the header says", f.space.Pages, size),
			fmt.Sprintf("%d bytes, %d pages too short", f.size, int64(f.space.Pages)-f.size/size))
	}
}

// verdictOf gives what damage of a file means: leftovers are not used by anybody.
func (l *layout) verdictOf(f *datafile, r *Report) Verdict {
	switch {
	case f.kind == kindLeftover:
		return Fine
	case r.InUse:
		return NotVerified
	}
	return Fatal
}

// checkSystem reads the header of the system tablespace, which only its first
// file has, and numbers the pages of the others.
func (l *layout) checkSystem(system []*datafile, r *Report) {
	if len(system) == 0 {
		return
	}
	first := system[0]
	l.checkHeader(first, r)
	if !first.usable {
		return
	}
	var pages int64
	for _, f := range system {
		f.space, f.usable = first.space, true
		f.base = uint32(pages)
		pages += f.size / int64(first.space.Size)
	}
	l.readDoublewrite(first)
	if want := int64(first.space.Pages); want > pages {
		r.find(Finding{Verdict: l.verdictOf(first, r), Code: SpaceSize, File: first.name, Page: -1,
			Expected: fmt.Sprintf("%d pages in all files of the system tablespace, as its header says", want),
			Found:    fmt.Sprintf("%d pages in %d files", pages, len(system)), Do: rebuild})
	}
}
