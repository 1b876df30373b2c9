package redo

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// scanner is one pass over a log.
type scanner struct {
	log    *Log
	filter *filter
	visit  func(Mtr) error
	extent Extent
	// marker is the highest byte that ends a mini-transaction: 0, or in format 10.8
	// a bit that changes with each round.
	marker byte
	// trailer is the number of bytes from the marker to the mini-transaction's end.
	trailer int
}

func newScanner(l *Log, visit func(Mtr) error) *scanner {
	s := &scanner{log: l, filter: &filter{}, visit: visit, extent: Extent{Checkpoint: l.Checkpoint, End: l.Checkpoint}}
	s.marker, s.trailer = 0, 1
	if l.Format == Format108 {
		s.marker, s.trailer = 1, 1+4
	}
	return s
}

// verdict is what the beginning of a piece of log is.
type verdict int

const (
	whole verdict = iota // a mini-transaction
	more                 // perhaps, but it goes on behind the piece
	end                  // none: the end of the log
)

func (s *scanner) run(ctx context.Context) error {
	reading, cancel := context.WithCancel(ctx)
	in := s.log.open(reading)
	// The file is the caller's again when the scan returns: the reader has ended.
	defer func() {
		cancel()
		for range in.filled {
		}
	}()
	var rest []byte
	for c := range in.filled {
		if err := errors.Join(ctx.Err(), c.err); err != nil {
			return err
		}
		// What is left of the piece before goes in front of this one.
		begin := in.headroom - copy(c.buf[in.headroom-len(rest):], rest)
		done, left, err := s.consume(c.buf[begin : in.headroom+c.n])
		if err != nil || done {
			return err
		}
		rest = append(rest[:0], left...)
		in.giveBack(c.buf)
	}
	return ctx.Err()
}

// consume reads whole mini-transactions off the front of b, which begins at
// extent.End. It answers what is left, or that the log has ended.
func (s *scanner) consume(b []byte) (done bool, left []byte, err error) {
	for {
		length, shown, v := s.next(b, s.extent.End)
		switch v {
		case more:
			return false, b, nil
		case end:
			return true, nil, nil
		}
		m := Mtr{Start: s.extent.End, End: s.log.advance(s.extent.End, length+s.trailer), records: b[:length]}
		if err := s.take(m, shown); err != nil {
			return false, nil, err
		}
		s.extent.End = m.End
		b = b[length+s.trailer:]
	}
}

// take accounts for a whole mini-transaction.
func (s *scanner) take(m Mtr, shown bool) error {
	s.filter.commit()
	if len(m.records) == 0 { // padding of format 10.5
		return nil
	}
	file := m.records[0]&samePage != 0
	if !file || !s.confirms(m) {
		// Names of files that the log needs precede the confirmation.
		if !file || s.extent.Confirmed != 0 || m.Start < s.log.CheckpointEnd {
			s.extent.Changes++
		}
	}
	if !shown {
		return nil
	}
	return s.visit(m)
}

// confirms says whether m confirms the checkpoint, and notes it.
func (s *scanner) confirms(m Mtr) bool {
	if m.Start < s.log.CheckpointEnd || s.extent.Confirmed != 0 {
		return false
	}
	found := false
	m.Records(func(r Record) {
		found = found || r.Kind == FileCheckpoint && len(r.Data) == 8 && LSN(binary.BigEndian.Uint64(r.Data)) == s.log.Checkpoint
	})
	if found {
		s.extent.Confirmed = m.End
	}
	return found
}

// next looks at the mini-transaction at the front of b, which lies at lsn. It
// answers the length of its records and whether somebody wants to see them.
func (s *scanner) next(b []byte, lsn LSN) (length int, shown bool, v verdict) {
	s.filter.begin()
	i := 0
	for {
		if i >= maxMtr {
			return 0, false, end
		}
		if i >= len(b) {
			return 0, false, more
		}
		if b[i] <= s.marker {
			break
		}
		size, at := int(b[i]&0xf), i+1
		if size == 0 {
			extra, n := varint(b[at:])
			switch {
			case n == 0 && len(b)-at < 5:
				return 0, false, more
			case n == 0 || extra >= maxMtr:
				return 0, false, end
			}
			size, at = int(extra)+15-n, at+n
		}
		if at+size <= len(b) && s.filter.wants(b[i], b[at:at+size]) {
			shown = true
		}
		i = at + size
	}
	if len(b) < i+s.trailer {
		return 0, false, more
	}
	if s.log.Format == Format108 && (i == 0 || b[i] != s.log.sequenceBit(lsn+LSN(i)) ||
		crc32.Checksum(b[:i], castagnoli) != binary.BigEndian.Uint32(b[i+1:])) {
		return 0, false, end
	}
	return i, shown, whole
}

// advance is the LSN that lies n bytes of records behind lsn.
func (l *Log) advance(lsn LSN, n int) LSN {
	if l.Format != Format105 {
		return lsn + LSN(n)
	}
	return advance105(lsn, n)
}

// String tells an extent in a line.
func (e Extent) String() string {
	return fmt.Sprintf("checkpoint %d, end %d, %d mini-transactions to apply", e.Checkpoint, e.End, e.Changes)
}
