package redo

import (
	"encoding/binary"
	"hash/crc32"
)

const (
	// beyondWindow is how far behind the end of a log is searched.
	beyondWindow = 256 << 10
	// beyondLength is the longest mini-transaction that is looked for there. Most
	// are shorter, and the sums over all possible ones have to be taken.
	beyondLength = 1 << 10
	// writeSize is the largest block that a server writes. Behind the end of the
	// log, the last block holds what happened to be in the server's buffer, which
	// can be older mini-transactions of the same round.
	writeSize = 4096
	// near bounds how far ahead of a record its mini-transaction can end.
	near = 4 * beyondLength
	// pieceSize is how much of the window is read at a time, and reach how far a
	// pair that begins in a piece can go on behind it.
	pieceSize = 32 << 10
	reach     = near + beyondLength + 8
)

// beyond looks for two whole mini-transactions in a row behind the block in
// which the log ends. One alone could be chance: a checksum has 32 bits.
func (l *Log) beyond(end LSN) (LSN, error) {
	p := pairs{from: end + LSN(writeSize-l.offset(end)%writeSize)}
	p.bit, p.round = l.sequenceBit(p.from), int(l.Size-l.offset(p.from))
	b := make([]byte, 0, pieceSize+reach)
	for behind := int(min(beyondWindow, l.Capacity())); behind > 0; {
		begin := max(0, behind-pieceSize)
		size, tail := behind-begin, min(len(b), reach)
		b = b[:size+tail]
		copy(b[size:], b[:tail])
		if err := l.readRing(b[:size], l.offset(p.from+LSN(begin))); err != nil {
			return 0, err
		}
		p.walk(b, begin, size)
		behind = begin
	}
	return p.found, nil
}

// readRing reads on at the file's beginning when it comes to its end.
func (l *Log) readRing(b []byte, at int64) error {
	first := min(int64(len(b)), l.Size-at)
	if _, err := l.readFull(b[:first], at); err != nil {
		return err
	}
	_, err := l.readFull(b[first:], dataStart108)
	return err
}

// pairs looks for the first two whole mini-transactions in a row in a window of
// the log. Where the records that begin at a byte end is known from where those
// behind its first record end, so that the window is walked once, backwards.
type pairs struct {
	from  LSN // of the window's first byte
	found LSN // 0 is nowhere
	// bit is the byte that ends a mini-transaction up to round, counted from the
	// window's first byte; there the log wraps around, and it is the other one.
	bit   byte
	round int
	// ends are where the marker is, counted from the window's first byte, of the
	// positions not far ahead; 0 is nowhere near.
	ends [near]int32
}

// walk takes the size bytes at begin in the window; b holds them and what follows,
// as far as the window goes.
func (p *pairs) walk(b []byte, begin, size int) {
	for i := size - 1; i >= 0; i-- {
		if b[i] <= 1 {
			p.ends[uint(begin+i)%near] = int32(begin + i)
			continue
		}
		next := i + 1 + int(b[i]&0xf) // behind the record
		if next == i+1 {              // a long one
			next = len(b)
			if _, behind, ok := cutRecord(b[i:]); ok {
				next -= len(behind)
			}
		}
		end := p.endOf(begin+next, begin+i, begin+len(b))
		p.ends[uint(begin+i)%near] = int32(end)
		if end != 0 && p.isMtr(b, begin, i, end-begin) {
			second := end - begin + 5
			if at := p.endOf(begin+second, begin+i, begin+len(b)); at != 0 && p.isMtr(b, begin, second, at-begin) {
				p.found = p.from + LSN(begin+i)
			}
		}
	}
}

// endOf is where the records that begin at i end, when the walk is at walked and
// the window known up to behind.
func (p *pairs) endOf(i, walked, behind int) int {
	if i-walked >= near || i >= behind {
		return 0
	}
	return int(p.ends[uint(i)%near])
}

// isMtr says whether the records from i to the marker at end in b, which lies at
// begin in the window, are a whole mini-transaction.
func (p *pairs) isMtr(b []byte, begin, i, end int) bool {
	return end > i && end-i <= beyondLength && end+4 < len(b) && (b[end] == p.bit) == (begin+end < p.round) &&
		crc32.Checksum(b[i:end], castagnoli) == binary.BigEndian.Uint32(b[end+1:])
}
