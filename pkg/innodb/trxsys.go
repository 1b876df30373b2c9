package innodb

import (
	"encoding/binary"
	"fmt"
	"os"

	"github.com/berth-dev/berth/pkg/innodb/page"
)

// Layout of the TRX_SYS page (include/trx0sys.h), page 5 of the system tablespace,
// and of a rollback segment header (include/trx0rseg.h).
const (
	trxSysPage     = 5
	doublewriteEnd = 200 // TRX_SYS_DOUBLEWRITE, from the end of the page
	doublewriteOK  = 536853855

	rollbackSlots   = 56
	rollbackSegment = 8 // bytes a slot: space id, page number
	maxRollback     = 128
	noPage          = 0xffffffff

	pageData     = 38
	rsegFormat   = pageData
	undoSlots    = pageData + 34
	typeUndo     = 2
	formatOld    = 0xfffffffe // before MariaDB 10.3
	slotsPerPage = 16         // TRX_RSEG_N_SLOTS is a page's size over this
)

// span is a run of pages.
type span struct{ from, to uint32 } // to is the first page behind

func (s span) holds(no uint32) bool { return s.from <= no && no < s.to }

// kept is the file from which a page was read last: the next one is mostly in it.
// The zero value is ready.
type kept struct {
	of   *datafile
	file *os.File
}

func (k *kept) open(f *datafile) (*os.File, error) {
	if k.of == f {
		return k.file, nil
	}
	k.close()
	file, err := openRegular(f.path)
	if err != nil {
		return nil, err
	}
	k.of, k.file = f, file
	return file, nil
}

func (k *kept) close() {
	if k.file != nil {
		k.file.Close()
	}
	*k = kept{}
}

// page reads one page by its number in the tablespace, into memory of buffers.
func (v *verification) page(f *datafile, no uint32) ([]byte, error) {
	file, err := v.kept.open(f)
	if err != nil {
		return nil, err
	}
	p := v.buffers.Next(f.space.Size)
	_, err = file.ReadAt(p, int64(no-f.base)*int64(f.space.Size))
	return p, err
}

// systemFile is the file of the system tablespace that has the page, or nil.
func (l *layout) systemFile(no uint32) *datafile {
	for _, f := range l.system {
		if f.base <= no && no-f.base < f.pages() {
			return f
		}
	}
	return nil
}

// fileOf is the file that has the page of a tablespace, or nil.
func (l *layout) fileOf(space, no uint32) *datafile {
	if space == 0 {
		return l.systemFile(no)
	}
	for _, f := range l.files {
		if f.usable && f.space.ID == space && f.kind != kindSystem && f.kind != kindLeftover {
			return f
		}
	}
	return nil
}

// readDoublewrite finds the doublewrite buffer in the system tablespace: its
// pages are copies of other pages, and not to be judged by their place. A server
// that runs with another one (MySQL 8) leaves the old place unused.
func (v *verification) readDoublewrite() {
	l := v.layout
	f := l.systemFile(trxSysPage)
	if f == nil {
		return
	}
	extent := uint32(f.space.Extent())
	p, err := v.page(f, trxSysPage)
	if err != nil || f.space.Check(p, trxSysPage, 0).IsBad() {
		// Where every server makes it. The page itself gets a finding.
		l.doublewrite = []span{{extent, 3 * extent}}
		return
	}
	at := p[len(p)-doublewriteEnd:]
	if binary.BigEndian.Uint32(at[10:]) != doublewriteOK {
		return
	}
	for _, offset := range []int{14, 18} {
		block := binary.BigEndian.Uint32(at[offset:])
		l.doublewrite = append(l.doublewrite, span{block, block + extent})
	}
}

func (l *layout) inDoublewrite(no uint32) bool {
	for _, s := range l.doublewrite {
		if s.holds(no) {
			return true
		}
	}
	return false
}

// goodPage reads a page that something refers to. A page that is bad becomes a
// suspect; the answer is then nil, and also when the log still makes the page.
func (v *verification) goodPage(space, no uint32) []byte {
	f := v.layout.fileOf(space, no)
	if f == nil || no-f.base >= f.pages() {
		return nil
	}
	p, err := v.page(f, no)
	if err != nil {
		v.find(unreadable(f.name, err))
		return nil
	}
	switch result := f.space.Check(p, no, space); {
	case result.IsBad(), result == page.Blank:
		v.suspects = append(v.suspects, suspect{file: f, no: no, pages: 1, result: result, needed: true})
		return nil
	}
	return p
}

// checkRollbackSegments follows TRX_SYS to the rollback segments and these to
// their undo logs. The server does not start when one is not there.
func (v *verification) checkRollbackSegments() {
	if v.layout.mysql8 || v.layout.system == nil {
		return
	}
	trxSys := v.goodPage(0, trxSysPage)
	if trxSys == nil {
		return
	}
	for i := range maxRollback {
		slot := trxSys[rollbackSlots+i*rollbackSegment:]
		space, no := binary.BigEndian.Uint32(slot), binary.BigEndian.Uint32(slot[4:])
		if no == noPage {
			continue
		}
		f := v.layout.fileOf(space, no)
		switch {
		case f != nil && no-f.base < f.pages():
			v.checkRollbackSegment(f, space, no)
		case f == nil && space == 0, f != nil:
			v.findFile(Fatal, UndoHeader, "ibdata1", fmt.Sprintf("rollback segment %d within its tablespace", i), fmt.Sprintf("page %d of space %d, which is not there", no, space))
		case !v.excused("", space):
			v.findFile(Fatal, SpaceMissing, "ibdata1", fmt.Sprintf("an undo tablespace with space id %d for rollback segment %d", space, i), "no such file")
			return // of the others the same would be said
		}
	}
}

// checkRollbackSegment looks at the header of one rollback segment and at the
// first pages of the undo logs that it names.
func (v *verification) checkRollbackSegment(f *datafile, space, no uint32) {
	p := v.goodPage(space, no)
	defer v.buffers.GiveBack(p)
	if p == nil || !v.report.Recovered {
		return // a page before recovery names pages of another time
	}
	if format := binary.BigEndian.Uint32(p[rsegFormat:]); format != 0 && format != formatOld {
		v.findPage(Fatal, UndoHeader, f, no, "a rollback segment header", fmt.Sprintf("format %d", format))
		return
	}
	for i := range len(p) / slotsPerPage {
		undo := binary.BigEndian.Uint32(p[undoSlots+4*i:])
		if undo == noPage {
			continue
		}
		if home := v.layout.fileOf(space, undo); home == nil || undo-home.base >= home.pages() {
			v.findPage(Fatal, UndoHeader, f, no, fmt.Sprintf("undo log %d within the tablespace", i), fmt.Sprintf("page %d, which no file has", undo))
			continue
		}
		log := v.goodPage(space, undo)
		if log != nil && page.Type(log) != typeUndo {
			v.findPage(Fatal, UndoHeader, f, undo, "an undo log page", fmt.Sprintf("a page of type %d", page.Type(log)))
		}
		v.buffers.GiveBack(log)
	}
}

func (v *verification) findPage(verdict Verdict, code Code, f *datafile, no uint32, expected, found string) {
	v.find(Finding{Verdict: verdict, Code: code, File: f.name, Page: int64(no - f.base), Pages: 1, Expected: expected, Found: found, Do: rebuild})
}
