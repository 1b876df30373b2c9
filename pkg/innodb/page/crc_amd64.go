package page

import "golang.org/x/sys/cpu"

// blockSize is what sumBlocks takes at once: three streams of 1344 bytes, of
// which 4096 bytes, the smallest common page, hold one.
const blockSize = 3 * 1344

// crcBlocks sums the whole blocks at the front of p, and says how many bytes
// these were.
func crcBlocks(p []byte) (sum uint32, done int) {
	n := len(p) / blockSize
	if n == 0 || !cpu.X86.HasSSE42 || !cpu.X86.HasPCLMULQDQ {
		return 0, 0
	}
	return ^sumBlocks(^uint32(0), &p[0], n), n * blockSize
}

// sumBlocks goes on with sum, which is not inverted, over so many blocks.
//
//go:noescape
func sumBlocks(sum uint32, p *byte, blocks int) uint32
