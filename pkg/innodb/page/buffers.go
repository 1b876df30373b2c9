package page

import "golang.org/x/sys/unix"

// Buffers hands out memory for pages that are read one by one. Memory that was
// never touched costs more than the check of a page, so what is given back is
// handed out again, and the kernel provides new memory for many pages in one call.
// The zero value is ready; it is for one goroutine.
type Buffers struct {
	rest []byte
	back [][]byte
}

// slabSize is how much memory is provided at once, in bytes.
const slabSize = 256 << 10

// Next gives size bytes of zeros, which nobody else has.
func (b *Buffers) Next(size int) []byte {
	if n := len(b.back); n > 0 && cap(b.back[n-1]) >= size {
		p := b.back[n-1][:size]
		b.back = b.back[:n-1]
		clear(p)
		return p
	}
	if len(b.rest) < size {
		b.rest = make([]byte, max(slabSize, size))
		_ = unix.Madvise(b.rest, unix.MADV_POPULATE_WRITE) // a hint: else each page comes when it is touched
	}
	p := b.rest[:size:size]
	b.rest = b.rest[size:]
	return p
}

// GiveBack takes what Next gave and nobody uses any more; nil is nothing.
func (b *Buffers) GiveBack(p []byte) {
	if p != nil {
		b.back = append(b.back, p)
	}
}
