package gcache

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// FileName is the cache's name in the data directory.
const FileName = "galera.cache"

// Cache is what a cache holds.
type Cache struct {
	// UUID of the history; empty when the file is no cache.
	UUID string
	// First and Last are the seqnos of the newest run of write sets without a gap;
	// 0 when there is none. Last is the newest write set that the member received,
	// which is committed somewhat later.
	First, Last int64
}

// Layout of the file: a text preamble, 32 words of header, then the ring of
// buffers, each with a packed little-endian header {int64 seqno, uint64 context,
// uint32 size with header, uint16 flags, int8 store, int8 type}. Buffers lie one
// behind the other. Behind the newest is a header of zeros, and then, when the
// ring has wrapped around, what is left of an older buffer, and the oldest ones.
const (
	preambleSize = 1024
	ringStart    = preambleSize + 32*8
	headerSize   = 24
	alignment    = 8
	inRing       = 1 // store
	maxFlags     = 3
)

// Read reads a data directory's cache. A missing file is an empty cache, and so
// is one whose content makes no sense: the error is one of the system.
func Read(dir string) (Cache, error) {
	file, err := os.Open(filepath.Join(dir, FileName))
	if errors.Is(err, fs.ErrNotExist) {
		return Cache{}, nil
	}
	if err != nil {
		return Cache{}, fmt.Errorf("open galera.cache: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return Cache{}, fmt.Errorf("read galera.cache: %w", err)
	}
	c, err := Parse(file, info.Size())
	if err != nil {
		return Cache{}, fmt.Errorf("read galera.cache: %w", err)
	}
	return c, nil
}

// Parse reads a cache of size bytes. The error is the reader's.
func Parse(r io.ReaderAt, size int64) (Cache, error) {
	if size < ringStart {
		return Cache{}, nil
	}
	text := make([]byte, preambleSize)
	if _, err := r.ReadAt(text, 0); err != nil {
		return Cache{}, err
	}
	p := parsePreamble(text)
	c := Cache{UUID: p.uuid}
	switch {
	case p.uuid == "" || p.encrypted && !p.closed():
		return c, nil
	case p.closed():
		c.First, c.Last = p.first, p.last
		return c, nil
	}
	ring := &ring{window: window{r: r, size: size}}
	seqnos, err := ring.walk()
	if err != nil {
		return Cache{}, err
	}
	c.First, c.Last = seqnos.newest()
	return c, nil
}

// ring walks the buffers.
type ring struct {
	window window
	seqnos runs
}

// walk collects seqnos: from the ring's start up to the newest buffer, and, in a
// ring that has wrapped around, from the oldest buffer to the ring's end.
func (g *ring) walk() (*runs, error) {
	behind, err := g.segment(ringStart)
	if err != nil {
		return nil, err
	}
	oldest, err := g.find(behind + headerSize)
	if err != nil || oldest == 0 {
		return &g.seqnos, err
	}
	_, err = g.segment(oldest)
	return &g.seqnos, err
}

// segment takes the buffers from an offset on, and answers where they end. A
// buffer counts when another one, or the header of zeros, follows it.
func (g *ring) segment(at int64) (int64, error) {
	for {
		seqno, next, err := g.buffer(at)
		if err != nil || next == 0 {
			return at, err
		}
		if seqno > 0 {
			g.seqnos.add(seqno)
		}
		at = next
	}
}

// find looks for the next buffer at or behind an offset; 0 is none.
func (g *ring) find(at int64) (int64, error) {
	for at = (at + alignment - 1) / alignment * alignment; at+headerSize <= g.window.size; at += alignment {
		if _, next, err := g.buffer(at); err != nil || next != 0 {
			return at, err
		}
	}
	return 0, nil
}

// buffer reads the header at an offset. The answer next is where the following
// buffer begins, 0 when no buffer is there.
func (g *ring) buffer(at int64) (seqno, next int64, err error) {
	h, err := g.window.header(at)
	if err != nil || !isBuffer(h) {
		return 0, 0, err
	}
	seqno = int64(binary.LittleEndian.Uint64(h))
	next = at + int64(binary.LittleEndian.Uint32(h[16:]))
	if next+headerSize > g.window.size {
		return 0, 0, nil
	}
	if h, err = g.window.header(next); err != nil || !isBuffer(h) && !isClear(h) {
		return 0, 0, err
	}
	return seqno, next, nil
}

func isClear(h []byte) bool { return h != nil && [headerSize]byte(h) == [headerSize]byte{} }

func isBuffer(h []byte) bool {
	if h == nil {
		return false
	}
	size := int32(binary.LittleEndian.Uint32(h[16:]))
	return h[22] == inRing && size >= headerSize && binary.LittleEndian.Uint16(h[20:]) <= maxFlags && int64(binary.LittleEndian.Uint64(h)) >= -1
}

// window reads ahead while headers are asked for in rising order; a header far
// ahead is read by itself.
type window struct {
	r    io.ReaderAt
	size int64
	buf  []byte
	at   int64
	far  [headerSize]byte
}

const windowSize = 1 << 20

// header answers the bytes of the header at an offset, nil behind the end. They
// are valid until the next call.
func (w *window) header(at int64) ([]byte, error) {
	if at+headerSize > w.size {
		return nil, nil
	}
	if at >= w.at && at+headerSize <= w.at+int64(len(w.buf)) {
		return w.buf[at-w.at:][:headerSize], nil
	}
	if len(w.buf) > 0 && at > w.at+int64(len(w.buf))+windowSize {
		return w.far[:], w.read(w.far[:], at)
	}
	if w.buf == nil {
		w.buf = make([]byte, windowSize)
	}
	w.buf, w.at = w.buf[:min(windowSize, w.size-at)], at
	if err := w.read(w.buf, at); err != nil {
		w.buf = w.buf[:0]
		return nil, err
	}
	return w.buf[:headerSize], nil
}

func (w *window) read(b []byte, at int64) error {
	n, err := w.r.ReadAt(b, at)
	if n == len(b) {
		return nil
	}
	return err
}
