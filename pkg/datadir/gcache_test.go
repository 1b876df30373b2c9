package datadir

import (
	"bytes"
	"encoding/binary"
	"testing"
)

const cacheUUID = "93077de7-ec3f-43b9-9d64-1a3b6073acc2"

// cacheFile lays out buffers with these seqnos as galera-4 does.
func cacheFile(seqnos ...int64) []byte {
	file := make([]byte, cacheBuffers)
	copy(file, "Version: 2\nGID: "+cacheUUID+"\nsynced: 0\n")
	for _, seqno := range seqnos {
		buffer := make([]byte, 400)
		binary.LittleEndian.PutUint64(buffer, uint64(seqno))
		binary.LittleEndian.PutUint32(buffer[16:], uint32(len(buffer)))
		buffer[20], buffer[22] = 1, bufferInRing
		file = append(file, buffer...)
	}
	return append(file, make([]byte, 4096)...)
}

// preambleFile is a cache of which only the text is of interest.
func preambleFile(lines string) []byte {
	file := make([]byte, cacheBuffers)
	copy(file, "Version: 2\nGID: "+cacheUUID+"\n"+lines)
	return file
}

func TestParseCache(t *testing.T) {
	tests := []struct {
		name    string
		content []byte
		want    Cache
	}{
		{"missing or empty", nil, Cache{}},
		{"no history", make([]byte, 8192), Cache{}},
		{"no buffers", cacheFile(), Cache{UUID: cacheUUID}},
		{"closed in order", preambleFile("seqno_max: 90\nseqno_min: 7\noffset: 1280\nsynced: 1\n"), Cache{cacheUUID, 7, 90}},
		{"range without a clean close", preambleFile("seqno_max: 90\nseqno_min: 7\nsynced: 0\n"), Cache{UUID: cacheUUID}},
		{"impossible range", preambleFile("seqno_max: 7\nseqno_min: 90\nsynced: 1\n"), Cache{UUID: cacheUUID}},
		{"no number", preambleFile("seqno_max: many\nseqno_min: \nsynced: 1\n"), Cache{UUID: cacheUUID}},
		{"encrypted", append(preambleFile("enc_version: 1\nenc_encrypted: 1\nsynced: 0\n"), cacheFile(3, 4)[cacheBuffers:]...), Cache{UUID: cacheUUID}},
		{"contiguous", cacheFile(3, 4, 5), Cache{cacheUUID, 3, 5}},
		{"discarded and unordered", cacheFile(-1, 7, 9, 8, -1, 10), Cache{cacheUUID, 7, 10}},
		{"gap", cacheFile(3, 4, 7, 8), Cache{cacheUUID, 7, 8}},
		{"cut in a buffer", cacheFile(3, 4, 5)[:cacheBuffers+2*400+30], Cache{cacheUUID, 3, 4}},
		{"junk behind", append(cacheFile(3, 4)[:cacheBuffers+2*400], bytes.Repeat([]byte{0xff}, 64)...), Cache{cacheUUID, 3, 4}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := parseCache(bytes.NewReader(test.content))
			if err != nil || got != test.want {
				t.Errorf("cache %+v, error %v; want %+v", got, err, test.want)
			}
		})
	}
}

func TestCacheCovers(t *testing.T) {
	cache := Cache{cacheUUID, 3, 10}
	for seqno, want := range map[int64]bool{9: true, 10: true, 11: false} {
		if got := cache.Covers(Position{UUID: cacheUUID, Seqno: seqno}); got != want {
			t.Errorf("covers %d: %v", seqno, got)
		}
	}
	if cache.Covers(Position{UUID: "00000000-0000-0000-0000-000000000001", Seqno: 5}) {
		t.Error("covers a position of another history")
	}
	if (Cache{}).Covers(Position{}) {
		t.Error("an empty cache covers something")
	}
}

func FuzzParseCache(f *testing.F) {
	f.Add(cacheFile(3, 4, 5))
	f.Add(preambleFile("seqno_max: 90\nseqno_min: 7\nsynced: 1\n"))
	f.Add([]byte("GID: x"))
	f.Fuzz(func(t *testing.T, content []byte) {
		c, err := parseCache(bytes.NewReader(content))
		if err != nil {
			t.Fatalf("error %v on content", err)
		}
		if c.First > c.Last || c.First < 0 {
			t.Fatalf("impossible range %+v", c)
		}
	})
}
