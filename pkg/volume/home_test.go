package volume

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestHomeRoundTrip(t *testing.T) {
	long := func(n int) string { return strings.Repeat("a", n) }
	for name, h := range map[string]Home{
		"member":  {"db", "data-galera-0", Member{"galera", 0, 3}, 1, "Abc123-aAbB", 12, "11111111-2222"},
		"single":  {"db", "scratch", Member{}, 7, "Abc123-aAbB", 0, "11111111-2222"},
		"longest": {long(63), long(253), Member{long(253), 1 << 30, 1 << 30}, 1 << 30, long(38), 1 << 30, long(36)},
	} {
		text := h.String()
		got, err := ParseHome(text)
		if diff := cmp.Diff(h, got); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got)\n%s", name, err, diff)
		}
		if len(HomeTag+text) > 1024 {
			t.Errorf("%s: %d characters are more than LVM takes in a tag", name, len(HomeTag+text))
		}
	}
}

func FuzzParseHome(f *testing.F) {
	f.Add("db/data-galera-0:galera:0:3:1:12:Abc123-aAbB:1111")
	f.Add("db/scratch::0:0:1:3:Abc:1")
	f.Add("a/b/c:::::::")
	f.Fuzz(func(t *testing.T, text string) {
		h, err := ParseHome(text)
		if err == nil && h.String() != text {
			t.Errorf("%q is read and written as %q", text, h)
		}
	})
}
