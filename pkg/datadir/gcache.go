package datadir

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Cache is the range of write sets that a galera.cache file holds without a gap,
// up to its newest. A server that starts from a position keeps the cache only
// when the cache reaches up to that position; otherwise it forgets all of it and
// every stale joiner needs a full copy.
type Cache struct {
	UUID  string `json:"uuid,omitempty"`
	First int64  `json:"first,omitempty"` // seqno; 0 when the cache holds nothing
	Last  int64  `json:"last,omitempty"`
}

// Covers says whether a server that starts from p keeps this cache.
func (c Cache) Covers(p Position) bool {
	return c.First > 0 && c.UUID == p.UUID && c.Last >= p.Seqno
}

// Layout of galera.cache (gcache/src/gcache_rb_store.cpp, gcache_bh.hpp): a text
// preamble, 32 words of header, then buffers one behind the other, each with a
// packed little-endian header {int64 seqno, uint64 context, uint32 size with
// header, uint16 flags, int8 store, int8 type}; the next begins at a multiple of 8 bytes. A header of zeros ends them.
const (
	cachePreamble = 1024
	cacheBuffers  = cachePreamble + 32*8
	bufferHeader  = 24
	bufferInRing  = 1 // store
	maxFlags      = 3
)

// ReadCache reads a data directory's galera.cache. A missing file is an empty
// cache. When the ring has wrapped around, the older part behind the newest
// buffer is not looked at, so that First is then too high and never too low.
func ReadCache(dir string) (Cache, error) {
	file, err := os.Open(filepath.Join(dir, "galera.cache"))
	if errors.Is(err, fs.ErrNotExist) {
		return Cache{}, nil
	}
	if err != nil {
		return Cache{}, fmt.Errorf("open galera.cache: %w", err)
	}
	defer file.Close()
	cache, err := parseCache(file)
	if err != nil {
		return Cache{}, fmt.Errorf("read galera.cache: %w", err)
	}
	return cache, nil
}

// parseCache never fails on content: what is no cache holds nothing. It fails
// when the reader does.
func parseCache(r io.Reader) (Cache, error) {
	in := bufio.NewReaderSize(r, 1<<20)
	head := make([]byte, cacheBuffers)
	if _, err := io.ReadFull(in, head); err != nil {
		return Cache{}, ignoreEnd(err)
	}
	p := parsePreamble(head[:cachePreamble])
	switch {
	case p.uuid == "":
		return Cache{}, nil
	case p.synced && p.first > 0 && p.last >= p.first:
		return Cache{UUID: p.uuid, First: p.first, Last: p.last}, nil
	case p.encrypted:
		return Cache{UUID: p.uuid}, nil
	}
	seqnos, err := cacheSeqnos(in)
	if err != nil || len(seqnos) == 0 {
		return Cache{UUID: p.uuid}, err
	}
	// Buffers are in the order in which they were allocated, which is nearly but
	// not always that of their seqnos.
	slices.Sort(seqnos)
	last := len(seqnos) - 1
	first := last
	for first > 0 && seqnos[first]-seqnos[first-1] <= 1 {
		first--
	}
	return Cache{UUID: p.uuid, First: seqnos[first], Last: seqnos[last]}, nil
}

// preamble is the text at the beginning of galera.cache.
type preamble struct {
	uuid string
	// first and last are there only after a clean close, together with synced; a
	// running server takes them away.
	first, last int64
	synced      bool
	// encrypted: the buffers cannot be read here (Percona XtraDB Cluster 8).
	encrypted bool
}

func parsePreamble(content []byte) preamble {
	var p preamble
	text, _, _ := bytes.Cut(content, []byte{0})
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch strings.TrimSpace(key) {
		case "GID":
			if uuidPattern.MatchString(value) && value != ZeroUUID {
				p.uuid = value
			}
		case "seqno_min":
			p.first = number(value)
		case "seqno_max":
			p.last = number(value)
		case "synced":
			p.synced = value == "1"
		case "enc_encrypted":
			p.encrypted = value != "0"
		}
	}
	return p
}

// number is 0 for what is none.
func number(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func cacheSeqnos(in *bufio.Reader) ([]int64, error) {
	var seqnos []int64
	for {
		var h [bufferHeader]byte
		if _, err := io.ReadFull(in, h[:]); err != nil {
			return seqnos, ignoreEnd(err)
		}
		seqno := int64(binary.LittleEndian.Uint64(h[0:]))
		size := binary.LittleEndian.Uint32(h[16:])
		flags, store := binary.LittleEndian.Uint16(h[20:]), h[22]
		if seqno < -1 || size < bufferHeader || flags > maxFlags || store != bufferInRing {
			return seqnos, nil
		}
		if _, err := in.Discard((int(size)+7)&^7 - bufferHeader); err != nil {
			return seqnos, ignoreEnd(err)
		}
		if seqno > 0 {
			seqnos = append(seqnos, seqno)
		}
	}
}

// ignoreEnd takes a file that ends early for one that holds no more.
func ignoreEnd(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}
