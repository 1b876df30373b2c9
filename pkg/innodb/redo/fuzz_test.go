package redo_test

import (
	"bytes"
	"context"
	"testing"

	"github.com/berth-dev/berth/pkg/innodb/redo"
	"github.com/berth-dev/berth/pkg/innodb/redo/forge"
)

// FuzzScan reads damaged files: the header is sealed again, or nearly nothing
// would get past its checksum.
func FuzzScan(f *testing.F) {
	for _, make := range []func(int, uint64) *forge.Log{forge.New, forge.New105} {
		l := make(2048+32<<10, 1<<20)
		l.Checkpoint(l.End)
		l.Append(forge.Init(7, 3), forge.Write(7, 3, 50, []byte("abc")), forge.Record(0xb0, forge.Varint(9), []byte("d")))
		l.Append(forge.Record(0x80, forge.Page(9, 0), []byte("./db/a.ibd")))
		f.Add(l.Bytes)
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		if len(file) >= 512 {
			l := forge.Log{Bytes: file}
			l.Seal()
		}
		log, err := redo.New(bytes.NewReader(file), int64(len(file)))
		if err != nil {
			return
		}
		changes := redo.Changes{}
		page := redo.Page{Space: 7, Number: 3}
		image := redo.NewImage(page, make([]byte, 1024))
		extent, err := log.Scan(context.Background(), changes.Interest(redo.Interest{Pages: []redo.Page{page}, Headers: []uint32{0, 7}}), func(m redo.Mtr) error {
			changes.Take(m)
			m.Records(func(r redo.Record) {
				r.Span(0)
				if r.Page == page && r.Kind < redo.FileCreate {
					image.Take(m, r)
				}
			})
			return nil
		})
		if err != nil {
			t.Fatalf("error %v of a file that can be read", err)
		}
		if extent.End < extent.Checkpoint || int64(extent.End-extent.Checkpoint) > log.Size+512 {
			t.Fatalf("impossible extent %v of %d bytes", extent, len(file))
		}
	})
}

// FuzzRecords applies any bytes as a mini-transaction to a page.
func FuzzRecords(f *testing.F) {
	f.Add(append(forge.Init(7, 3), forge.Write(7, 3, 50, []byte("abc"))...))
	f.Add(append(forge.Record(0x40, forge.Page(7, 3), forge.Varint(40), forge.Varint(30), []byte{1, 2}), forge.Record(0xd0, forge.Varint(2), forge.Varint(9), forge.Varint(3))...))
	f.Fuzz(func(t *testing.T, records []byte) {
		l := forge.New(12288+2*len(records)+4096, 1<<20)
		l.Checkpoint(l.End)
		l.Append(records)
		log, err := redo.New(bytes.NewReader(l.Bytes), int64(len(l.Bytes)))
		if err != nil {
			t.Fatal(err)
		}
		page := redo.Page{Space: 7, Number: 3}
		image := redo.NewImage(page, make([]byte, 1024))
		_, err = log.Scan(context.Background(), redo.Interest{Pages: []redo.Page{page}, Headers: []uint32{7}}, func(m redo.Mtr) error {
			m.Records(func(r redo.Record) {
				if r.Page == page && r.Kind < redo.FileCreate {
					image.Take(m, r)
				}
			})
			return nil
		})
		if err != nil || len(image.Bytes) != 1024 {
			t.Fatalf("error %v, page of %d bytes", err, len(image.Bytes))
		}
	})
}
