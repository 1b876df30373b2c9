package forge

import (
	"encoding/binary"
	"hash/crc32"
)

// Log is a redo log in the making. LSNs are those of the format.
type Log struct {
	// Bytes are the file.
	Bytes []byte
	// End is where the next mini-transaction goes.
	End uint64

	first uint64
	old   bool // 10.5 to 10.7
	next  int  // checkpoint
}

const (
	data108 = 12288
	data105 = 2048
	sector  = 512
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// New makes a log of format 10.8 in a file of size bytes, of which 12288 are its
// header.
func New(size int, first uint64) *Log {
	l := &Log{Bytes: make([]byte, size), End: first, first: first}
	l.header(0x50687973, "MariaDB 10.11.19")
	return l
}

// New105 makes a log of format 10.5. Its file holds 2048 bytes of header and
// whole blocks of 512.
func New105(size int, first uint64) *Log {
	l := &Log{Bytes: make([]byte, size), End: first + 12, first: first, old: true}
	l.header(0x50485953, "MariaDB 10.6.20")
	l.seal(first, 12)
	return l
}

func (l *Log) header(format uint32, creator string) {
	binary.BigEndian.PutUint32(l.Bytes, format)
	binary.BigEndian.PutUint64(l.Bytes[8:], l.first)
	copy(l.Bytes[16:48], creator)
	l.Seal()
}

// Seal writes the checksum of the header block.
func (l *Log) Seal() { sum(l.Bytes[:sector], sector-4) }

func sum(b []byte, at int) {
	binary.BigEndian.PutUint32(b[at:], crc32.Checksum(b[:at], castagnoli))
}

// Append writes a mini-transaction and answers its end.
func (l *Log) Append(records ...[]byte) uint64 {
	var b []byte
	for _, r := range records {
		b = append(b, r...)
	}
	if l.old {
		return l.append105(append(b, 0))
	}
	capacity := uint64(len(l.Bytes) - data108)
	marker := byte(1 - (l.End+uint64(len(b))-l.first)/capacity&1)
	check := crc32.Checksum(b, castagnoli)
	b = binary.BigEndian.AppendUint32(append(b, marker), check)
	for _, c := range b {
		l.Bytes[data108+(l.End-l.first)%capacity] = c
		l.End++
	}
	return l.End
}

func (l *Log) append105(b []byte) uint64 {
	for _, c := range b {
		l.Bytes[l.offset105(l.End)] = c
		if l.End++; l.End%sector < sector-4 {
			continue
		}
		block := l.End - l.End%sector
		l.seal(block, sector)
		l.End = block + sector + 12
		l.seal(block+sector, 12)
	}
	block := l.End - l.End%sector
	l.seal(block, int(l.End-block))
	return l.End
}

func (l *Log) offset105(lsn uint64) uint64 {
	return data105 + (lsn-l.first)%uint64(len(l.Bytes)-data105)
}

// seal writes header and checksum of the block at lsn.
func (l *Log) seal(lsn uint64, length int) {
	block := l.Bytes[l.offset105(lsn):][:sector]
	binary.BigEndian.PutUint32(block, uint32(lsn/sector)&0x3fffffff+1)
	binary.BigEndian.PutUint16(block[4:], uint16(length))
	sum(block, sector-4)
}

// Checkpoint makes lsn the checkpoint: a record that confirms it is appended.
func (l *Log) Checkpoint(lsn uint64) {
	end := l.End
	l.Append(Record(0xf0, Page(0, 0), binary.BigEndian.AppendUint64(nil, lsn)))
	if l.old {
		block := l.Bytes[512+1024*(l.next%2):][:sector]
		binary.BigEndian.PutUint64(block, uint64(l.next))
		binary.BigEndian.PutUint64(block[8:], lsn)
		binary.BigEndian.PutUint64(block[16:], l.offset105(lsn))
		binary.BigEndian.PutUint64(block[sector-16:], end)
		sum(block, sector-4)
	} else {
		block := l.Bytes[4096+4096*(l.next%2):][:64]
		binary.BigEndian.PutUint64(block, lsn)
		binary.BigEndian.PutUint64(block[8:], end)
		sum(block, 60)
	}
	l.next++
}

// Record encodes a record from the parts of its payload.
func Record(kind byte, payload ...[]byte) []byte {
	var p []byte
	for _, part := range payload {
		p = append(p, part...)
	}
	if len(p) > 0 && len(p) <= 15 {
		return append([]byte{kind | byte(len(p))}, p...)
	}
	for size := 1; ; size++ {
		if length := Varint(uint32(len(p) + size - 15)); len(length) == size {
			return append(append([]byte{kind}, length...), p...)
		}
	}
}

// Page encodes a page's identity.
func Page(space, number uint32) []byte {
	return append(Varint(space), Varint(number)...)
}

// Write encodes a write of data at an offset of a page.
func Write(space, number, offset uint32, data []byte) []byte {
	return Record(0x30, Page(space, number), Varint(offset), data)
}

// Init encodes the beginning of a page.
func Init(space, number uint32) []byte { return Record(0x10, Page(space, number)) }

// Varint encodes a number in one to five bytes.
func Varint(v uint32) []byte {
	switch {
	case v < 0x80:
		return []byte{byte(v)}
	case v < 0x4080:
		v -= 0x80
		return []byte{0x80 | byte(v>>8), byte(v)}
	case v < 0x204080:
		v -= 0x4080
		return []byte{0xc0 | byte(v>>16), byte(v >> 8), byte(v)}
	case v < 0x10204080:
		v -= 0x204080
		return []byte{0xe0 | byte(v>>24), byte(v >> 16), byte(v >> 8), byte(v)}
	}
	v -= 0x10204080
	return binary.BigEndian.AppendUint32([]byte{0xf0}, v)
}
