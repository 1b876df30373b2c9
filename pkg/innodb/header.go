package innodb

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/berth-dev/berth/pkg/innodb/page"
)

// checkHeaders reads the first page of every tablespace, and compares the sizes
// in it with the files'.
func (v *verification) checkHeaders() {
	buf := v.buffers.Next(page.MaxSize)
	defer v.buffers.GiveBack(buf)
	for _, f := range v.layout.files {
		if f.kind != kindSystem {
			v.checkHeader(f, buf)
		}
	}
	v.checkSystem(buf)
	v.checkSpaceIDs()
}

// checkHeader reads into a buffer of the largest page's size.
func (v *verification) checkHeader(f *datafile, buf []byte) {
	start, err := readStart(f.path, buf)
	if err != nil {
		v.find(unreadable(f.name, err))
		return
	}
	bad := func(code Code, expected, found string) {
		if v.isNew(f) {
			v.find(Finding{Verdict: Fine, Code: code, File: f.name, Page: -1, Expected: expected, Found: found,
				Do: "nothing: the server was making this file, and its recovery goes on with that"})
			return
		}
		verdict := v.verdictOf(f)
		if verdict == Fatal && f.kind == kindTable && !v.logRead && !v.report.Recovered {
			verdict = NotVerified // a log that cannot be read here may make the file
		}
		v.findFile(verdict, code, f.name, expected, found)
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
	v.report.Plugins = v.report.Plugins || f.space.Encrypted || f.space.Compressed
	f.space.MySQL = f.space.MySQL || v.layout.mysql8
	size := int64(f.space.Size)
	if f.size%size != 0 {
		bad(SpaceSize, fmt.Sprintf("a multiple of the page size %d", size), fmt.Sprintf("%d bytes", f.size))
	}
	if f.kind != kindSystem && int64(f.space.Pages)*size > f.size && !f.lacksUnused(start) {
		bad(SpaceSize, fmt.Sprintf("%d pages of %d bytes, as the header says", f.space.Pages, size),
			fmt.Sprintf("%d bytes, %d pages too short", f.size, int64(f.space.Pages)-f.size/size))
	}
	if len(start) >= f.space.Size {
		if result := f.space.Check(start[:f.space.Size], 0, f.space.ID); result.IsBad() {
			v.suspects = append(v.suspects, suspect{file: f, no: 0, pages: 1, result: result})
		} else if id := page.HeaderID(start); id != f.space.ID {
			bad(SpaceHeader, fmt.Sprintf("space id %d in the tablespace header as in the page header", f.space.ID), fmt.Sprintf("space id %d", id))
		}
	}
}

// lacksUnused says that a file ends before the last of its pages only by less
// than a block of the file system, and that none of the pages it lacks is in use.
// A sound server leaves ROW_FORMAT=COMPRESSED tables of 1 KiB pages like that
// (MariaDB 10.11, innodb_page_size=8k: 42 pages in the header, 41 in the file).
func (f *datafile) lacksUnused(start []byte) bool {
	const block = 4096
	size := int64(f.space.Size)
	if size >= block || int64(f.space.Pages)*size-f.size >= block || len(start) < f.space.Size {
		return false
	}
	for no := uint32(f.size / size); no < f.space.Pages; no++ {
		if f.space.DescriptorPage(no) != 0 || !f.space.IsFree(start[:f.space.Size], no) {
			return false
		}
	}
	return true
}

// isNew says whether the log still makes this file.
func (v *verification) isNew(f *datafile) bool {
	return f.kind == kindTable && !v.report.InUse && v.logRead && v.excused(f.name, noSpace)
}

// noSpace is the id of no tablespace.
const noSpace = 0xffffffff

// isLeftover says whether nobody uses the file.
func (v *verification) isLeftover(f *datafile) bool { return f.kind == kindLeftover || v.orphans[f] }

// verdictOf gives what damage of a file means: leftovers are not used by anybody.
func (v *verification) verdictOf(f *datafile) Verdict {
	switch {
	case v.isLeftover(f):
		return Fine
	case v.report.InUse:
		return NotVerified
	}
	return Fatal
}

// checkSystem reads the header of the system tablespace, which only its first
// file has, into buf, and numbers the pages of the others.
func (v *verification) checkSystem(buf []byte) {
	system := v.systemFiles()
	if len(system) == 0 {
		return
	}
	first := system[0]
	v.checkHeader(first, buf)
	if !first.usable {
		return
	}
	v.layout.system = system
	v.report.PageSize = first.space.Size
	var pages int64
	for _, f := range system {
		f.space, f.usable = first.space, true
		f.base = uint32(pages)
		pages += f.size / int64(first.space.Size)
	}
	v.readDoublewrite()
	if want := int64(first.space.Pages); want > pages {
		v.findFile(v.verdictOf(first), SpaceSize, first.name, fmt.Sprintf("%d pages in all files of the system tablespace, as its header says", want),
			fmt.Sprintf("%d pages in %d files", pages, len(system)))
	}
}

// systemFiles are the files of the system tablespace in their order.
func (v *verification) systemFiles() []*datafile {
	var system []*datafile
	for _, f := range v.layout.files {
		if f.kind == kindSystem {
			system = append(system, f)
		}
	}
	slices.SortFunc(system, func(a, b *datafile) int {
		if names := v.opt.SystemFiles; names != nil {
			return slices.Index(names, a.name) - slices.Index(names, b.name)
		}
		return cmp.Or(len(a.name)-len(b.name), cmp.Compare(a.name, b.name)) // ibdata10 comes after ibdata9
	})
	return system
}

// checkSpaceIDs finds files that say that they are the same tablespace.
func (v *verification) checkSpaceIDs() {
	seen := map[uint32]*datafile{}
	for _, f := range v.layout.files {
		if !f.usable || f.kind == kindSystem || f.kind == kindLeftover {
			continue
		}
		first, found := seen[f.space.ID]
		if !found {
			seen[f.space.ID] = f
			continue
		}
		if v.excused(f.name, f.space.ID) || v.excused(first.name, f.space.ID) {
			continue
		}
		v.findFile(v.verdictOf(f), SpaceDuplicate, f.name, "a space id that no other file has", fmt.Sprintf("space id %d, as %s has it", f.space.ID, first.name))
	}
}
