package redo

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math/rand/v2"
	"testing"
)

// TestBeyondFindsTheFirstPair lays two mini-transactions anywhere behind the end of
// a log that is full of bytes that look like records, across the borders of pieces
// and of the ring.
func TestBeyondFindsTheFirstPair(t *testing.T) {
	random := rand.New(rand.NewPCG(11, 12))
	const capacity = 300 << 10
	for range 60 {
		l := &Log{Header: Header{Format: Format108, First: dataStart108}, Size: dataStart108 + capacity}
		file := make([]byte, l.Size)
		for i := range file {
			file[i] = byte(random.IntN(256) >> random.IntN(8)) // small ones are markers
		}
		end := l.First + LSN(random.IntN(3*capacity))
		from := end + LSN(writeSize-l.offset(end)%writeSize)
		at := from + LSN(random.IntN(beyondWindow-4<<10))
		pair := at
		for range 2 {
			at = l.lay(file, at, random)
		}
		l.file = bytes.NewReader(file)
		got, err := l.beyond(end)
		if err != nil || got != pair {
			t.Errorf("a pair at LSN %d, %d behind the end: found %d, error %v", pair, pair-end, got, err)
		}
	}
}

// lay writes a whole mini-transaction of one record at an LSN, and answers its end.
func (l *Log) lay(file []byte, at LSN, random *rand.Rand) LSN {
	record := []byte{0x30 | byte(2+random.IntN(13))}
	for range record[0] & 0xf {
		record = append(record, byte(2+random.IntN(254)))
	}
	marker := l.sequenceBit(at + LSN(len(record)))
	mtr := binary.BigEndian.AppendUint32(append(record, marker), crc32.Checksum(record, castagnoli))
	for i, b := range mtr {
		file[l.offset(at+LSN(i))] = b
	}
	return at + LSN(len(mtr))
}
