package page

// Buffers hands out memory for pages that are read one by one, first what was given
// back: memory that was never touched costs more than the check of a page. The zero
// value is ready; it is for one goroutine.
type Buffers struct{ back [][]byte }

// Next gives size bytes of zeros, which nobody else has.
func (b *Buffers) Next(size int) []byte {
	n := len(b.back)
	if n == 0 || cap(b.back[n-1]) < size {
		return make([]byte, size)
	}
	p := b.back[n-1][:size]
	b.back = b.back[:n-1]
	clear(p)
	return p
}

// GiveBack takes what Next gave and nobody uses any more; nil is nothing.
func (b *Buffers) GiveBack(p []byte) {
	if p != nil {
		b.back = append(b.back, p)
	}
}
