package page

import (
	"hash/crc32"
	"math/rand/v2"
	"testing"

	"golang.org/x/sys/cpu"
)

// TestKernels compares each way to sum, of which crc takes one.
func TestKernels(t *testing.T) {
	content := make([]byte, MaxSize)
	rand.NewChaCha8([32]byte{2}).Read(content)
	for _, k := range []struct {
		name    string
		sum     func(uint32, *byte, int) uint32
		size    int
		present bool
	}{
		{"sum", sumBlocks, sumSize, cpu.X86.HasSSE42 && cpu.X86.HasPCLMULQDQ},
		{"fold", foldBlocks, foldSize, cpu.X86.HasAVX512F && cpu.X86.HasAVX512VPCLMULQDQ},
	} {
		for n := 1; k.present && n <= len(content)/k.size; n++ {
			begin := crc32.Checksum([]byte{byte(n)}, castagnoli)
			got, want := ^k.sum(^begin, &content[0], n), crc32.Update(begin, castagnoli, content[:n*k.size])
			if got != want {
				t.Fatalf("%s, %d blocks: %08x, expected %08x", k.name, n, got, want)
			}
		}
	}
}
