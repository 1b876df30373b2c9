package attack

import (
	"testing"

	"github.com/berth-dev/berth/test/corpus"
)

// TestBitFlips turns over single bits in used pages of every format. A flip is
// found, or the byte is one that nothing protects.
func TestBitFlips(t *testing.T) {
	m := maker(t)
	for i, f := range corpus.Formats() {
		t.Run(f.Name, func(t *testing.T) {
			flips, err := RunFlips(t.Context(), m, f, 100, 15, uint64(i), func() {})
			if err != nil {
				t.Fatal(err)
			}
			for _, miss := range flips.Unexplained {
				t.Error(miss)
			}
			t.Logf("%d of %d found among %d pages; %v", flips.Detected, flips.Done, flips.Pages, flips.Missed)
		})
	}
}
