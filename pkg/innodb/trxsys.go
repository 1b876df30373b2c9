package innodb

import (
	"encoding/binary"
	"os"

	"github.com/berth-dev/berth/pkg/innodb/page"
)

// Layout of the TRX_SYS page (include/trx0sys.h), page 5 of the system tablespace.
const (
	trxSysPage     = 5
	doublewriteEnd = 200 // TRX_SYS_DOUBLEWRITE, from the end of the page
	doublewriteOK  = 536853855
)

// span is a run of pages.
type span struct{ from, to uint32 } // to is the first page behind

func (s span) holds(no uint32) bool { return s.from <= no && no < s.to }

// readPage reads one page by its number in the tablespace.
func (f *datafile) readPage(no uint32) ([]byte, error) {
	file, err := os.Open(f.path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	buf := make([]byte, f.space.Size)
	_, err = file.ReadAt(buf, int64(no-f.base)*int64(f.space.Size))
	return buf, err
}

// readDoublewrite finds the doublewrite buffer in the system tablespace: its
// pages are copies of other pages, and not to be judged by their place. A server
// that runs with another one (MySQL 8) leaves the old place unused.
func (l *layout) readDoublewrite(system *datafile) {
	p, err := system.readPage(trxSysPage)
	if err != nil || system.space.Check(p, trxSysPage, system.space.ID) != page.Good {
		return
	}
	at := p[len(p)-doublewriteEnd:]
	if binary.BigEndian.Uint32(at[10:]) != doublewriteOK {
		return
	}
	extent := uint32(system.space.Extent())
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
