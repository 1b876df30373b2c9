package page

import "golang.org/x/sys/cpu"

const (
	// sumSize is what sumBlocks takes at once: three streams of 1344 bytes, of which
	// 4096 bytes, the smallest common page, hold one.
	sumSize = 3 * 1344
	// foldSize is what foldBlocks takes at once: four registers.
	foldSize = 4 * 64
)

// crcBlocks sums the whole blocks at the front of p, and says how many bytes
// these were.
func crcBlocks(p []byte) (sum uint32, done int) {
	sums, size := sumBlocks, sumSize
	switch {
	case cpu.X86.HasAVX512F && cpu.X86.HasAVX512VPCLMULQDQ:
		sums, size = foldBlocks, foldSize
	case !cpu.X86.HasSSE42 || !cpu.X86.HasPCLMULQDQ:
		return 0, 0
	}
	n := len(p) / size
	if n == 0 {
		return 0, 0
	}
	return ^sums(^uint32(0), &p[0], n), n * size
}

// sumBlocks goes on with sum, which is not inverted, over so many blocks, with
// the instruction for this checksum.
//
//go:noescape
func sumBlocks(sum uint32, p *byte, blocks int) uint32

// foldBlocks is sumBlocks by carry-less multiplication, which memory is too slow
// for.
//
//go:noescape
func foldBlocks(sum uint32, p *byte, blocks int) uint32
