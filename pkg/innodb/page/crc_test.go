package page

import (
	"hash/crc32"
	"math/rand/v2"
	"testing"
)

// TestCRC compares with package crc32, also where the content is not aligned.
func TestCRC(t *testing.T) {
	random := rand.NewChaCha8([32]byte{1})
	content := make([]byte, MaxSize+8)
	for n := 0; n <= MaxSize; n += 1 + n/50 {
		random.Read(content)
		for from := range 8 {
			p := content[from : from+n]
			if got, want := crc(p), crc32.Checksum(p, castagnoli); got != want {
				t.Fatalf("%d bytes from %d: %08x, expected %08x", n, from, got, want)
			}
		}
	}
}

func BenchmarkCRC(b *testing.B) {
	const size = 16<<10 - 4
	p := make([]byte, size)
	b.SetBytes(size)
	for b.Loop() {
		crc(p)
	}
}
