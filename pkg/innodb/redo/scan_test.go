package redo_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-dev/berth/pkg/innodb/redo"
	"github.com/berth-dev/berth/pkg/innodb/redo/forge"
)

// makers are the formats that are read.
var makers = map[string]func(size int, first uint64) *forge.Log{"10.8": forge.New, "10.5": forge.New105}

// scan reads a log and everything that it says of page 3 of tablespace 7.
func scan(t *testing.T, file []byte) (redo.Extent, []byte, error) {
	t.Helper()
	l, err := redo.New(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		return redo.Extent{}, nil, err
	}
	page := redo.Page{Space: 7, Number: 3}
	image := redo.NewImage(page, make([]byte, 1024))
	extent, err := l.Scan(context.Background(), redo.Interest{Pages: []redo.Page{page}}, func(m redo.Mtr) error {
		ok := m.Records(func(r redo.Record) {
			if r.Page == page && !image.Take(m, r) {
				t.Errorf("record %+v does not fit", r)
			}
		})
		if !ok {
			return errors.New("a record that makes no sense")
		}
		return nil
	})
	return extent, image.Bytes, err
}

func TestScanFindsEveryEnd(t *testing.T) {
	for name, make := range makers {
		t.Run(name, func(t *testing.T) {
			l := make(1<<20, 1<<20)
			l.Checkpoint(l.End)
			for i := range 3000 {
				end := l.Append(forge.Init(9, uint32(i)), forge.Write(7, 3, 100, binary.BigEndian.AppendUint32(nil, uint32(i))))
				if i%97 != 0 {
					continue
				}
				extent, page, err := scan(t, l.Bytes)
				if err != nil || uint64(extent.End) != end || extent.Changes != int64(i+1) || extent.Beyond != 0 {
					t.Fatalf("after %d: %v, error %v; the end is %d", i, extent, err, end)
				}
				if got := binary.BigEndian.Uint32(page[100:]); got != uint32(i) {
					t.Fatalf("after %d: the page holds %d", i, got)
				}
			}
		})
	}
}

func TestScanGoesAroundTheRing(t *testing.T) {
	for name, make := range makers {
		t.Run(name, func(t *testing.T) {
			l := make(2048+64<<10, 1<<20) // the log is written over several times
			random := rand.New(rand.NewPCG(1, 2))
			last := byte(0)
			for range 150 {
				at := l.End
				for range random.IntN(9) {
					last = byte(random.Uint32())
					l.Append(forge.Write(7, 3, 200, bytes.Repeat([]byte{last}, 1+random.IntN(300))))
				}
				changes := l.End != at
				l.Checkpoint(at)
				extent, page, err := scan(t, l.Bytes)
				if err != nil || uint64(extent.End) != l.End || uint64(extent.Checkpoint) != at || (extent.Changes > 0) != changes {
					t.Fatalf("%v, error %v; checkpoint and end are %d and %d", extent, err, at, l.End)
				}
				if changes && page[200] != last {
					t.Fatalf("the page holds %d, the log wrote %d", page[200], last)
				}
			}
		})
	}
}

// TestScanStopsAtFlippedBits holds that one bit flipped anywhere ends the log at or
// before the mini-transaction it lies in, and that what lies behind is noticed.
func TestScanStopsAtFlippedBits(t *testing.T) {
	l := forge.New(1<<20, 1<<20)
	l.Checkpoint(l.End)
	first := l.End
	var ends []uint64
	for i := range 2000 {
		ends = append(ends, l.Append(forge.Write(7, 3, 100, binary.BigEndian.AppendUint64(nil, uint64(i)))))
	}
	random := rand.New(rand.NewPCG(3, 4))
	for range 40 {
		at := first + random.Uint64N(ends[len(ends)-1]-first-8192)
		file := bytes.Clone(l.Bytes)
		file[12288+at-1<<20] ^= 1 << random.IntN(8)
		extent, _, err := scan(t, file)
		if err != nil {
			t.Fatal(err)
		}
		want := first
		for _, end := range ends {
			if end > at {
				break
			}
			want = end
		}
		if uint64(extent.End) != want {
			t.Errorf("a bit flipped at %d: the log ends at %d, expected %d", at, extent.End, want)
		}
		if uint64(extent.Beyond) <= at {
			t.Errorf("a bit flipped at %d: what goes on behind was found at %d", at, extent.Beyond)
		}
	}
}

func TestScanCollectsChanges(t *testing.T) {
	for name, make := range makers {
		t.Run(name, func(t *testing.T) {
			l := make(1<<20, 1<<20)
			l.Append(forge.Init(5, 1)) // before the checkpoint
			l.Checkpoint(l.End)
			l.Append(forge.Record(0x80, forge.Page(9, 0), []byte("./db/a.ibd")))
			l.Append(forge.Record(0xa0, forge.Page(9, 0), []byte("./db/a.ibd\x00./db/b.ibd")))
			l.Append(forge.Init(9, 70), forge.Write(9, 70, 100, []byte("x")), forge.Record(0x00, forge.Page(9, 71)))
			changes := redo.Changes{}
			log, err := redo.New(bytes.NewReader(l.Bytes), int64(len(l.Bytes)))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := log.Scan(context.Background(), changes.Interest(redo.Interest{}), func(m redo.Mtr) error {
				changes.Take(m)
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			want := []redo.FileChange{
				{Kind: redo.FileCreate, Space: 9, Name: "./db/a.ibd"},
				{Kind: redo.FileRename, Space: 9, Name: "./db/a.ibd", To: "./db/b.ibd"},
			}
			if diff := cmp.Diff(want, changes.Files); diff != "" {
				t.Error(diff)
			}
			for page, made := range map[redo.Page]bool{{Space: 9, Number: 70}: true, {Space: 9, Number: 71}: true, {Space: 9, Number: 72}: false, {Space: 5, Number: 1}: false} {
				if changes.Made.Has(page) != made {
					t.Errorf("page %v is made by the log: %v", page, !made)
				}
			}
		})
	}
}

// TestHeadersAreSeen holds that no change to a page's first bytes passes
// unnoticed, however it is written, and that changes behind them do.
func TestHeadersAreSeen(t *testing.T) {
	write := func(offset uint32) []byte { return forge.Write(7, 3, offset, []byte{5}) }
	same := func(kind byte, offset uint32) []byte { return forge.Record(kind|0x80, forge.Varint(offset), []byte{5}) }
	undoInit := forge.Record(0x20, forge.Page(7, 3), []byte{2})
	for i, test := range []struct {
		records [][]byte
		seen    bool
	}{
		{[][]byte{write(57)}, true},
		{[][]byte{write(58)}, false},
		{[][]byte{forge.Write(7, 3, 20, make([]byte, 60))}, true},
		{[][]byte{forge.Record(0x40, forge.Page(7, 3), forge.Varint(40), forge.Varint(30), []byte{0})}, true},
		{[][]byte{forge.Init(7, 3)}, true},
		{[][]byte{undoInit}, false},
		{[][]byte{undoInit, same(0x30, 33)}, true},
		{[][]byte{undoInit, same(0x30, 34)}, false},
		{[][]byte{write(100), same(0x30, 10)}, false},
		{[][]byte{forge.Write(8, 3, 56, []byte{5})}, false}, // another tablespace
		{[][]byte{forge.Write(8, 3, 100, []byte{5}), write(56)}, true},
		{[][]byte{forge.Write(8, 3, 100, []byte{5}), same(0x30, 1)}, false},
	} {
		l := forge.New(1<<20, 1<<20)
		l.Checkpoint(l.End)
		l.Append(test.records...)
		log, err := redo.New(bytes.NewReader(l.Bytes), int64(len(l.Bytes)))
		if err != nil {
			t.Fatal(err)
		}
		seen := false
		if _, err := log.Scan(context.Background(), redo.Interest{Headers: []uint32{7}}, func(redo.Mtr) error { seen = true; return nil }); err != nil {
			t.Fatal(err)
		}
		if seen != test.seen {
			t.Errorf("case %d: seen %v", i, seen)
		}
	}
}

func TestVarint(t *testing.T) {
	for _, v := range []uint32{0, 0x7f, 0x80, 0x407f, 0x4080, 0x20407f, 0x204080, 0x1020407f, 0x10204080, 1<<32 - 1} {
		l := forge.New(1<<20, 1<<20)
		l.Checkpoint(l.End)
		l.Append(forge.Init(v, v))
		log, err := redo.New(bytes.NewReader(l.Bytes), int64(len(l.Bytes)))
		if err != nil {
			t.Fatal(err)
		}
		var made redo.Pages
		if _, err := log.Scan(context.Background(), redo.Interest{Made: &made}, nil); err != nil || !made.Has(redo.Page{Space: v, Number: v}) {
			t.Errorf("%d is not read as it was written (%v)", v, err)
		}
	}
}

func TestHeader(t *testing.T) {
	whole := func(edit func(*forge.Log)) []byte {
		l := forge.New(1<<20, 1<<20)
		l.Checkpoint(l.End)
		l.Checkpoint(l.End)
		edit(l)
		return l.Bytes
	}
	format := func(word uint32) func(*forge.Log) {
		return func(l *forge.Log) { binary.BigEndian.PutUint32(l.Bytes, word); l.Seal() }
	}
	for _, test := range []struct {
		name    string
		file    []byte
		damage  bool
		unknown bool
		bad     bool // one checkpoint is
	}{
		{name: "whole", file: whole(func(*forge.Log) {})},
		{name: "empty", damage: true},
		{name: "zeros", file: make([]byte, 1<<20), damage: true},
		{name: "header flipped", file: whole(func(l *forge.Log) { l.Bytes[20] ^= 1 }), damage: true},
		{name: "first LSN impossible", file: whole(func(l *forge.Log) { clear(l.Bytes[8:16]); l.Seal() }), damage: true},
		{name: "one checkpoint flipped", file: whole(func(l *forge.Log) { l.Bytes[4100] ^= 1 }), bad: true},
		{name: "both checkpoints flipped", file: whole(func(l *forge.Log) { l.Bytes[4100] ^= 1; l.Bytes[8195] ^= 1 }), damage: true},
		{name: "no checkpoint", file: whole(func(l *forge.Log) { clear(l.Bytes[4096:12288]) }), damage: true},
		{name: "cut in the header", file: whole(func(*forge.Log) {})[:5000], damage: true},
		{name: "10.2", file: whole(format(1)), unknown: true},
		{name: "10.4", file: whole(format(104)), unknown: true},
		{name: "10.11 encrypted", file: whole(format(0xf09f979d)), unknown: true},
		{name: "10.8 encrypted", file: whole(func(l *forge.Log) { l.Bytes[51] = 1; l.Seal() }), unknown: true},
		{name: "10.5 encrypted", file: whole(format(0x50485953 | 1<<31)), unknown: true},
		{name: "of the future", file: whole(format(0x12345678)), unknown: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			l, err := redo.New(bytes.NewReader(test.file), int64(len(test.file)))
			var damage *redo.Damage
			if errors.As(err, &damage) != test.damage || errors.Is(err, redo.ErrFormat) != test.unknown {
				t.Errorf("error %v", err)
			}
			if err == nil && (l.BadCheckpoint != nil) != test.bad {
				t.Errorf("bad checkpoint: %v", l.BadCheckpoint)
			}
		})
	}
}

// TestScanNeedsConfirmation cuts a log between its checkpoint and what confirms
// it.
func TestScanNeedsConfirmation(t *testing.T) {
	for name, make := range makers {
		t.Run(name, func(t *testing.T) {
			l := make(1<<20, 1<<20)
			at := l.End
			l.Append(forge.Write(7, 3, 100, []byte("before the checkpoint was made")))
			l.Checkpoint(at)
			for cut, whole := range map[bool]bool{false: true, true: false} {
				file := bytes.Clone(l.Bytes)
				if cut {
					i := bytes.Index(file, []byte("checkpoint was"))
					file[i] ^= 1
				}
				log, err := redo.New(bytes.NewReader(file), int64(len(file)))
				if err != nil {
					t.Fatal(err)
				}
				extent, err := log.Scan(context.Background(), redo.Interest{}, nil)
				if err != nil || log.Whole(extent) != whole {
					t.Errorf("cut %v: %v, error %v", cut, extent, err)
				}
			}
		})
	}
}

// broken is a reader that fails.
type broken struct{}

func (broken) ReadAt([]byte, int64) (int, error) { return 0, errors.New("bad sector") }

func TestErrorsOfTheDeviceAreNotDamage(t *testing.T) {
	_, err := redo.New(broken{}, 1<<20)
	var damage *redo.Damage
	if err == nil || errors.As(err, &damage) || errors.Is(err, redo.ErrFormat) {
		t.Errorf("error %v", err)
	}
	l := forge.New(1<<20, 1<<20)
	l.Checkpoint(l.End)
	log, err := redo.New(halfBroken{bytes.NewReader(l.Bytes)}, int64(len(l.Bytes)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err = log.Scan(context.Background(), redo.Interest{}, nil); err == nil || errors.As(err, &damage) {
		t.Errorf("error %v", err)
	}
}

// halfBroken cannot be read behind the header.
type halfBroken struct{ *bytes.Reader }

func (h halfBroken) ReadAt(b []byte, at int64) (int, error) {
	if at >= 12288 {
		return 0, fmt.Errorf("bad sector at %d", at)
	}
	return h.Reader.ReadAt(b, at)
}
