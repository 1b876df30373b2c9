package position_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-dev/berth/pkg/innodb/page"
	"github.com/berth-dev/berth/pkg/innodb/position"
	"github.com/berth-dev/berth/pkg/innodb/redo"
	"github.com/berth-dev/berth/pkg/innodb/redo/forge"
)

const firstLSN = 1 << 20

// newLog is a log of format 10.8 with a checkpoint.
func newLog() *forge.Log {
	l := forge.New(1<<20, firstLSN)
	l.Checkpoint(l.End)
	return l
}

func read(t *testing.T, path string) position.Position {
	t.Helper()
	p, err := position.Read(context.Background(), position.Dirs{Data: path})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func expect(t *testing.T, p position.Position, certainty position.Certainty, uuid string, seqno int64) {
	t.Helper()
	if p.Certainty != certainty || p.UUID != uuid || p.Seqno != seqno {
		t.Errorf("%s:%d, %s (%s); expected %s:%d, %s", p.UUID, p.Seqno, p.Certainty, p.Reason, uuid, seqno, certainty)
	}
}

func TestEveryPageSizeAndFormat(t *testing.T) {
	for name, make := range map[string]func(int, uint64) *forge.Log{"10.8": forge.New, "10.5": forge.New105} {
		for _, size := range []int{4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10} {
			t.Run(fmt.Sprintf("%s, pages of %d", name, size), func(t *testing.T) {
				l := make(1<<20, firstLSN)
				d := newDirectory(t, size, l)
				d.put(segmentA, xid('e', uuid, 100))
				l.Checkpoint(l.End)
				p := read(t, d.write())
				expect(t, p, position.Exact, uuid, 100)
				if !p.Clean {
					t.Error("nothing to recover, and not clean")
				}
				l.Append(forge.Write(0, segmentA, d.xidAt(), xid('e', uuid, 17000)))
				l.Append(forge.Write(0, segmentA, d.xidAt()+36, []byte{0x69})) // the lowest byte of the seqno
				p = read(t, d.write())
				expect(t, p, position.Exact, uuid, 17001)
				if p.Clean || p.OnDisk != 100 || uint64(p.End) != l.End {
					t.Errorf("%+v; the log ends at %d", p, l.End)
				}
			})
		}
	}
}

func TestHighestSeqnoCounts(t *testing.T) {
	l := newLog()
	d := newDirectory(t, 16<<10, l)
	d.segment(1, segmentB)
	d.slot(1, segmentB)
	d.put(segmentA, xid('d', uuid, 300))
	d.put(segmentB, xid('f', uuid, 299))
	l.Append(forge.Write(0, segmentB, d.xidAt(), xid('f', uuid, 301)))
	expect(t, read(t, d.write()), position.Exact, uuid, 301)
}

func TestChangesThatThePageHasAreNotMadeAgain(t *testing.T) {
	l := newLog()
	d := newDirectory(t, 16<<10, l)
	old := l.Append(forge.Write(0, segmentA, d.xidAt(), xid('e', uuid, 7)))
	d.put(segmentA, xid('e', uuid, 8))
	d.lsn(segmentA, old+1000)
	expect(t, read(t, d.write()), position.Exact, uuid, 8)
}

func TestNoHistory(t *testing.T) {
	expect(t, read(t, newDirectory(t, 16<<10, newLog()).write()), position.Exact, zero, -1)
}

func TestAnotherHistoryReplacesTheFirst(t *testing.T) {
	l := newLog()
	d := newDirectory(t, 16<<10, l)
	d.segment(1, segmentB)
	d.slot(1, segmentB)
	d.put(segmentA, xid('e', uuid, 900))
	d.put(segmentB, xid('e', uuid, 901))
	// The server clears all other segments (trx_rseg_update_wsrep_checkpoint).
	l.Append(forge.Write(0, segmentA, d.xidAt(), xid('e', other, 3)),
		forge.Record(0x40, forge.Page(0, segmentB), forge.Varint(d.xidAt()), forge.Varint(140), []byte{0}))
	expect(t, read(t, d.write()), position.Exact, other, 3)
}

// TestSegmentMadeAfterTheCheckpoint needs a second pass: TRX_SYS names the
// segment only at the end.
func TestSegmentMadeAfterTheCheckpoint(t *testing.T) {
	l := newLog()
	d := newDirectory(t, 16<<10, l)
	d.put(segmentA, xid('e', uuid, 5))
	l.Append(forge.Init(0, segmentB), forge.Record(0xc0, forge.Varint(72-24), forge.Varint(4096), []byte{0xff}))
	l.Append(forge.Write(0, segmentB, d.xidAt(), xid('e', uuid, 6)))
	l.Append(forge.Write(0, 5, 60+8, []byte{0, 0, 0, segmentB}))
	expect(t, read(t, d.write()), position.Exact, uuid, 6)
}

func TestTornPages(t *testing.T) {
	newTorn := func() (*directory, *forge.Log) {
		l := newLog()
		d := newDirectory(t, 16<<10, l)
		d.put(segmentA, xid('e', uuid, 50))
		return d, l
	}
	d, l := newTorn()
	l.Append(forge.Write(0, segmentA, d.xidAt()+36, []byte{51}))
	p := read(t, d.write(segmentA))
	expect(t, p, position.Unknown, zero, -1)
	if !strings.Contains(p.Reason, "page 6") {
		t.Errorf("reason %q does not name the page", p.Reason)
	}

	d, l = newTorn() // with a copy in the doublewrite buffer
	d.pages[copies+3] = bytes.Clone(d.pages[segmentA])
	l.Append(forge.Write(0, segmentA, d.xidAt()+36, []byte{51}))
	expect(t, read(t, d.write(segmentA)), position.Exact, uuid, 51)

	d, l = newTorn() // made anew by the log
	l.Append(forge.Init(0, segmentA), forge.Record(0xc0, forge.Varint(72-24), forge.Varint(4096), []byte{0xff}))
	l.Append(forge.Write(0, segmentA, d.xidAt(), xid('e', uuid, 52)))
	expect(t, read(t, d.write(segmentA)), position.Exact, uuid, 52)

	d, _ = newTorn() // TRX_SYS, which says where the copies are
	d.pages[copies] = bytes.Clone(d.pages[5])
	expect(t, read(t, d.write(5)), position.Unknown, zero, -1) // its end is torn too
	d, _ = newTorn()
	d.pages[5][40] ^= 1
	expect(t, read(t, d.write()), position.Exact, uuid, 50) // sealed again: sound
}

func TestPreparedTransactions(t *testing.T) {
	const active, purge, prepared = 1, 4, 5
	state := func(no uint32, state byte) []byte { return forge.Write(0, no, 57, []byte{state}) }
	slots := func(d *directory) {
		copy(d.pages[segmentA][72:], []byte{0, 0, 0, undoA, 0, 0, 0, undoB})
		d.put(segmentA, xid('e', uuid, 40))
	}
	for name, test := range map[string]struct {
		onDisk   [2]byte
		log      [][]byte
		prepared int
	}{
		"none":              {[2]byte{active, purge}, nil, 0},
		"on disk":           {[2]byte{prepared, prepared}, nil, 2},
		"in the log":        {[2]byte{active, active}, [][]byte{state(undoA, prepared), state(undoB, prepared)}, 2},
		"committed since":   {[2]byte{prepared, active}, [][]byte{state(undoA, purge)}, 0},
		"prepared and done": {[2]byte{active, active}, [][]byte{state(undoA, prepared), state(undoB, prepared), state(undoB, purge)}, 1},
		"page made anew":    {[2]byte{prepared, active}, [][]byte{forge.Init(0, undoA)}, 0},
		"behind UNDO_INIT":  {[2]byte{active, active}, [][]byte{append(forge.Record(0x20, forge.Page(0, undoA), []byte{2}), forge.Record(0xb0, forge.Varint(56-24), []byte{0, prepared})...)}, 1},
	} {
		l := newLog()
		d := newDirectory(t, 16<<10, l)
		slots(d)
		d.pages[undoA][57], d.pages[undoB][57] = test.onDisk[0], test.onDisk[1]
		for _, records := range test.log {
			l.Append(records)
		}
		p := read(t, d.write())
		certainty := position.Exact
		if test.prepared > 0 {
			certainty = position.LowerBound
		}
		if p.Prepared != test.prepared || p.Certainty != certainty || p.Seqno != 40 || p.Most() != 40+int64(test.prepared) {
			t.Errorf("%s: %+v; expected %d prepared", name, p, test.prepared)
		}
	}
}

func TestUnknown(t *testing.T) {
	for name, edit := range map[string]func(d *directory){
		"no log":                 func(d *directory) { os.Remove(filepath.Join(d.path, "ib_logfile0")) },
		"no system tablespace":   func(d *directory) { os.Remove(filepath.Join(d.path, "ibdata1")) },
		"empty tablespace":       func(d *directory) { d.save("ibdata1", nil) },
		"log of MySQL":           func(d *directory) { os.Mkdir(filepath.Join(d.path, "#innodb_redo"), 0o700) },
		"log header damaged":     func(d *directory) { d.log.Bytes[20] ^= 1; d.save("ib_logfile0", d.log.Bytes) },
		"encrypted log":          func(d *directory) { d.log.Bytes[51] = 1; d.log.Seal(); d.save("ib_logfile0", d.log.Bytes) },
		"checkpoint unconfirmed": func(d *directory) { clear(d.log.Bytes[12288:]); d.save("ib_logfile0", d.log.Bytes) },
		"segment zeroed":         func(d *directory) { clear(d.pages[segmentA]); d.write() },
		"undo log zeroed": func(d *directory) {
			d.pages[segmentA][75] = undoA
			clear(d.pages[undoA])
			copy(d.pages[segmentA][72:], []byte{0, 0, 0})
			d.write()
		},
		"undo file missing": func(d *directory) { d.pages[5][59] = 9; d.write() },
		"undo file twice": func(d *directory) {
			d.save("undo001", d.pages[0])
		},
		"encrypted tablespace": func(d *directory) { d.pages[segmentA][3] = 1; d.write() },
	} {
		d := newDirectory(t, 16<<10, newLog())
		d.put(segmentA, xid('e', uuid, 1))
		d.write()
		edit(d)
		f, err := position.Examine(context.Background(), position.Dirs{Data: d.path}, &page.Buffers{})
		if err != nil || f.Position.Certainty != position.Unknown || f.Reason == "" || f.Fault == nil {
			t.Errorf("%s: %+v, error %v", name, f.Position, err)
		}
		if f.Position.UUID != zero || f.Seqno != -1 {
			t.Errorf("%s: %s:%d and nothing is known", name, f.Position.UUID, f.Seqno)
		}
	}
}

// TestErrorsAreNotAnswers: what keeps files from being read says nothing about
// the data.
func TestErrorsAreNotAnswers(t *testing.T) {
	d := newDirectory(t, 16<<10, newLog())
	d.write()
	path := filepath.Join(d.path, "ib_logfile0")
	if err := errors.Join(os.Remove(path), os.Mkdir(path, 0o700)); err != nil {
		t.Fatal(err)
	}
	if p, err := position.Read(context.Background(), position.Dirs{Data: d.path}); err == nil {
		t.Errorf("%+v of a log that is a directory", p)
	}
	d = newDirectory(t, 16<<10, newLog())
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if p, err := position.Read(ctx, position.Dirs{Data: d.write()}); !errors.Is(err, context.Canceled) {
		t.Errorf("%+v, error %v of a reading that was ended", p, err)
	}
}

func TestCutInTheMiddle(t *testing.T) {
	l := newLog()
	d := newDirectory(t, 16<<10, l)
	var middle uint64
	for i := range 400 {
		l.Append(forge.Write(0, segmentA, d.xidAt(), xid('e', uuid, int64(i))))
		if i == 99 {
			middle = l.End
		}
	}
	d.log.Bytes[12288+middle-firstLSN+20] ^= 1
	p := read(t, d.write())
	expect(t, p, position.LowerBound, uuid, 99)
}

// TestMemoryIsBounded reads a log that makes more undo pages than are remembered.
func TestMemoryIsBounded(t *testing.T) {
	l := forge.New(16<<20, firstLSN)
	l.Checkpoint(l.End)
	d := newDirectory(t, 16<<10, l)
	d.put(segmentA, xid('e', uuid, 5))
	for i := range uint32(12) {
		var records []byte
		for no := range uint32(50000) {
			records = append(records, forge.Init(0, 1000+50000*i+no)...)
		}
		l.Append(records)
	}
	p := read(t, d.write())
	expect(t, p, position.LowerBound, uuid, 5)
}

func TestExamine(t *testing.T) {
	l := newLog()
	d := newDirectory(t, 16<<10, l)
	l.Append(forge.Init(9, 4))
	l.Append(forge.Record(0x80, forge.Page(9, 0), []byte("./db/a.ibd")))
	f, err := position.Examine(context.Background(), position.Dirs{Data: d.write()}, &page.Buffers{})
	if err != nil || !f.Made.Has(redo.Page{Space: 9, Number: 4}) || len(f.Files) != 1 || f.Extent.Changes != 2 || uint64(f.Extent.End) != l.End {
		t.Errorf("%+v, error %v", f, err)
	}
}

// FuzzRead reads a directory with any bytes on the pages that are looked at.
func FuzzRead(f *testing.F) {
	f.Add(xid('e', uuid, 5), []byte{0, 0, 0, 0, 0, 0, 0, 6}, []byte{0, 0, 0, 8})
	f.Fuzz(func(t *testing.T, mark, slots, undo []byte) {
		l := forge.New(12288+16<<10, firstLSN)
		l.Checkpoint(l.End)
		d := newDirectory(t, 4<<10, l)
		d.pages = d.pages[:copies]
		clear(d.pages[5][4<<10-200:]) // no doublewrite buffer
		copy(d.pages[segmentA][d.xidAt():4<<10-8], mark)
		copy(d.pages[5][56:4<<10-208], slots)
		copy(d.pages[segmentA][72:4<<10-8], undo)
		p, err := position.Read(context.Background(), position.Dirs{Data: d.write()})
		if err != nil {
			t.Fatalf("error %v of files that can be read", err)
		}
		if p.Seqno < -1 || p.Certainty == position.Exact && p.Reason != "" {
			t.Fatalf("impossible answer %+v", p)
		}
	})
}
