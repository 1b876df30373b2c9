package redo

import (
	"context"
	"errors"
	"fmt"
	"io"
)

const (
	// chunkSize is the size of one read: small enough for the processor's cache,
	// large enough for the disk (reference measurements: 256 KiB to 1 MiB).
	chunkSize = 512 << 10
	// firstChunk is small, for a log that is empty since its checkpoint.
	firstChunk = 16 << 10
	// maxHeadroom takes the begin of a mini-transaction that goes on in the next
	// chunk.
	maxHeadroom = maxMtr + 64
	// readAhead is how many chunks are in flight.
	readAhead = 3
)

// chunk is a piece of the log's records: behind the headroom.
type chunk struct {
	buf []byte
	n   int
	err error
}

// stream yields the records from the checkpoint on, one round of the file at
// most, while it reads ahead: from the second chunk on, for after an orderly
// shutdown the log ends in the first.
type stream struct {
	filled   chan chunk
	free     chan []byte
	headroom int
	size     int // of a chunk that is not the first
}

// open starts reading. The stream ends with ctx, which its reader has to cancel.
func (l *Log) open(ctx context.Context) *stream {
	s := &stream{filled: make(chan chunk, readAhead), free: make(chan []byte, readAhead),
		headroom: int(min(maxHeadroom, l.Capacity())), size: int(min(chunkSize, l.Size))}
	s.free <- make([]byte, s.headroom+int(min(firstChunk+sectorSize, l.Size)))
	fill := l.fill108
	if l.Format == Format105 {
		fill = l.fill105
	}
	go func() {
		defer close(s.filled)
		fill(func(read func([]byte) (int, error)) bool {
			var buf []byte
			select {
			case buf = <-s.free:
			case <-ctx.Done():
				return false
			}
			n, err := read(buf[s.headroom:])
			select {
			case s.filled <- chunk{buf, n, err}:
				return err == nil
			case <-ctx.Done():
				return false
			}
		})
	}()
	return s
}

// giveBack returns the buffer of a chunk that was read. In place of the first
// one there are as many as are read ahead.
func (s *stream) giveBack(buf []byte) {
	if len(buf) == s.headroom+s.size {
		s.free <- buf
		return
	}
	for range readAhead {
		s.free <- make([]byte, s.headroom+s.size)
	}
}

// fill108 hands out the bytes from the checkpoint on, around the ring once.
func (l *Log) fill108(emit func(read func([]byte) (int, error)) bool) {
	at, left, size := l.offset(l.Checkpoint), l.Capacity(), int64(firstChunk)
	for left > 0 {
		length := min(size, left, l.Size-at)
		if !emit(func(b []byte) (int, error) { return l.readFull(b[:length], at) }) {
			return
		}
		at, left, size = at+length, left-length, chunkSize
		if at == l.Size {
			at = dataStart108
		}
	}
}

func (l *Log) readFull(b []byte, at int64) (int, error) {
	n, err := l.file.ReadAt(b, at)
	if n == len(b) {
		return n, nil
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return n, fmt.Errorf("read redo log at offset %d: %w", at, err)
}
