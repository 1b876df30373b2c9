package gcache

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"testing"
)

const uuid = "93077de7-ec3f-43b9-9d64-1a3b6073acc2"

// cacheFile is a galera.cache in the making, in the steps of Galera's
// RingBuffer::get_new_buffer.
type cacheFile struct {
	bytes       []byte
	next, first int
}

func newCacheFile(size int) *cacheFile {
	c := &cacheFile{bytes: make([]byte, ringStart+size), next: ringStart, first: ringStart}
	copy(c.bytes, "Version: 2\nGID: "+uuid+"\nsynced: 0\n")
	return c
}

func (c *cacheFile) size(at int) int { return int(binary.LittleEndian.Uint32(c.bytes[at+16:])) }

// room finds place for size bytes, and discards the oldest buffers for it.
func (c *cacheFile) room(size int) int {
	at := c.next
	if at >= c.first {
		if len(c.bytes)-at >= size {
			return at
		}
		at = ringStart
	}
	for c.first-at < size {
		if c.first += c.size(c.first); c.size(c.first) != 0 {
			continue
		}
		c.first = ringStart
		if len(c.bytes)-at >= size {
			return at
		}
		at = ringStart
	}
	return at
}

// put appends a buffer with so many bytes of data.
func (c *cacheFile) put(seqno int64, data int) {
	size := (headerSize + data + alignment - 1) / alignment * alignment
	at := c.room(size + headerSize)
	b := c.bytes[at : at+size]
	clear(b)
	binary.LittleEndian.PutUint64(b, uint64(seqno))
	binary.LittleEndian.PutUint32(b[16:], uint32(size))
	b[20], b[22] = 1, inRing
	for i := headerSize; i < size; i++ {
		b[i] = byte(rand.Uint32())
	}
	c.next = at + size
	clear(c.bytes[c.next : c.next+headerSize])
}

// buffers counts what is in the ring.
func (c *cacheFile) buffers() int64 {
	n := int64(0)
	for at := c.first; at != c.next; {
		if size := c.size(at); size != 0 {
			at, n = at+size, n+1
		} else {
			at = ringStart
		}
	}
	return n
}

func (c *cacheFile) parse(t *testing.T) Cache {
	t.Helper()
	got, err := Parse(bytes.NewReader(c.bytes), int64(len(c.bytes)))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestParse(t *testing.T) {
	with := func(seqnos ...int64) *cacheFile {
		c := newCacheFile(16 << 10)
		for _, s := range seqnos {
			c.put(s, 376)
		}
		return c
	}
	for _, test := range []struct {
		name  string
		bytes []byte
		want  Cache
	}{
		{"empty", nil, Cache{}},
		{"no history", make([]byte, 8192), Cache{}},
		{"no buffers", with().bytes, Cache{UUID: uuid}},
		{"without a gap", with(3, 4, 5).bytes, Cache{uuid, 3, 5}},
		{"discarded and unordered", with(-1, 7, 9, 8, -1, 10).bytes, Cache{uuid, 7, 10}},
		{"gap", with(3, 4, 7, 8).bytes, Cache{uuid, 7, 8}},
		{"cut in a buffer", with(3, 4, 5).bytes[:ringStart+2*400+30], Cache{uuid, 3, 4}},
		{"junk behind a buffer", append(with(3, 4, 5).bytes[:ringStart+2*400], bytes.Repeat([]byte{0xff}, 640)...), Cache{uuid, 3, 3}},
	} {
		got, err := Parse(bytes.NewReader(test.bytes), int64(len(test.bytes)))
		if err != nil || got != test.want {
			t.Errorf("%s: %+v, error %v; want %+v", test.name, got, err, test.want)
		}
	}
}

// TestWrappedRing holds that the newest write set is found wherever the ring
// stands, and that the range goes back to the oldest that is still whole.
func TestPreamble(t *testing.T) {
	const uuid = "93077de7-ec3f-43b9-9d64-1a3b6073acc2"
	for _, test := range []struct {
		name, lines string
		want        Cache
	}{
		{"closed in order", "seqno_max: 90\nseqno_min: 7\noffset: 1280\nsynced: 1\n", Cache{uuid, 7, 90}},
		{"not closed", "seqno_max: 90\nseqno_min: 7\nsynced: 0\n", Cache{UUID: uuid}},
		{"impossible range", "seqno_max: 7\nseqno_min: 90\nsynced: 1\n", Cache{UUID: uuid}},
		{"no number", "seqno_max: many\nseqno_min: \nsynced: 1\n", Cache{UUID: uuid}},
		{"encrypted", "enc_version: 1\nenc_encrypted: 1\nsynced: 0\n", Cache{UUID: uuid}},
		{"encrypted, closed in order", "enc_encrypted: 1\nseqno_max: 9\nseqno_min: 7\nsynced: 1\n", Cache{uuid, 7, 9}},
		{"no uuid", "GID: x\nsynced: 1\n", Cache{}},
	} {
		content := make([]byte, 8192)
		copy(content, "Version: 2\nGID: "+uuid+"\n"+test.lines)
		if got, err := Parse(bytes.NewReader(content), int64(len(content))); err != nil || got != test.want {
			t.Errorf("%s: %+v, %v; want %+v", test.name, got, err, test.want)
		}
	}
}

func TestWrappedRing(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	c := newCacheFile(64 << 10)
	for seqno := int64(1); seqno < 700; seqno++ {
		c.put(seqno, random.IntN(700))
		got := c.parse(t)
		if got.Last != seqno {
			t.Fatalf("after %d: %+v", seqno, got)
		}
		if n := c.buffers(); got.First < seqno-n || got.First > seqno-n+2 {
			t.Fatalf("after %d: %+v; the ring holds %d buffers", seqno, got, n)
		}
	}
}

func TestErrorsOfTheDevice(t *testing.T) {
	if _, err := Parse(broken{}, 1<<20); err == nil {
		t.Error("no error")
	}
}

type broken struct{}

func (broken) ReadAt([]byte, int64) (int, error) { return 0, errors.New("bad sector") }

func FuzzParse(f *testing.F) {
	c := newCacheFile(2 << 10)
	for seqno := range int64(30) {
		c.put(seqno, 100)
	}
	f.Add(c.bytes)
	f.Add([]byte("GID: x"))
	f.Fuzz(func(t *testing.T, content []byte) {
		c, err := Parse(bytes.NewReader(content), int64(len(content)))
		if err != nil {
			t.Fatalf("error %v on content", err)
		}
		if c.First > c.Last || c.First < 0 {
			t.Fatalf("impossible range %+v", c)
		}
	})
}

func FuzzRuns(f *testing.F) {
	f.Add([]byte{3, 1, 2, 9})
	f.Fuzz(func(t *testing.T, seqnos []byte) {
		var r runs
		seen := [257]bool{}
		for _, s := range seqnos {
			r.add(int64(s) + 1)
			seen[int(s)+1] = true
		}
		first, last := r.newest()
		for i := len(seen) - 1; i > 0; i-- {
			switch {
			case int64(i) > last && seen[i], int64(i) >= first && int64(i) <= last && !seen[i], first > 0 && int64(i) == first-1 && seen[i]:
				t.Fatalf("newest run %d to %d of %v", first, last, seqnos)
			}
		}
	})
}
