package sidecar

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestFarewell plays looks a second apart, with a limit of two seconds.
func TestFarewell(t *testing.T) {
	type look struct {
		word, start string
		stranded    bool
		want        step
	}
	for name, looks := range map[string][]look{
		"it comes back": {{nonPrimary, "a", false, stay}, {nonPrimary, "a", false, stay}, {inPrimary, "a", false, stay}, {nonPrimary, "a", false, stay}, {nonPrimary, "a", false, stay}, {nonPrimary, "a", false, shutdown}},
		"it never ends": {{nonPrimary, "a", false, stay}, {nonPrimary, "a", false, stay}, {nonPrimary, "a", false, shutdown}, {nonPrimary, "a", false, stay},
			{nonPrimary, "a", false, stay}, {nonPrimary, "a", false, shutdown}, {nonPrimary, "a", false, stay}, {nonPrimary, "a", false, stay}, {nonPrimary, "a", false, kill}},
		"it takes no connections and does not end": {{nonPrimary, "a", false, stay}, {nonPrimary, "a", false, stay}, {nonPrimary, "a", false, shutdown},
			{starting, "a", false, stay}, {starting, "a", false, stay}, {starting, "a", false, kill}},
		"it ended, and its successor joins": {{nonPrimary, "a", false, stay}, {nonPrimary, "a", false, stay}, {nonPrimary, "a", false, shutdown},
			{starting, "b", false, stay}, {starting, "b", false, stay}, {starting, "b", false, stay}, {starting, "b", false, stay}},
		"it ended, and nobody can say so": {{nonPrimary, "", false, stay}, {nonPrimary, "", false, stay}, {nonPrimary, "", false, shutdown},
			{starting, "", false, stay}, {starting, "", false, stay}, {starting, "", false, stay}, {starting, "", false, stay}},
		"a joiner":                 {{starting, "a", false, stay}, {starting, "a", false, stay}, {starting, "a", false, stay}, {starting, "a", false, stay}},
		"a joiner that joins none": {{starting, "a", true, stay}, {starting, "a", true, stay}, {starting, "a", true, kill}, {starting, "a", true, stay}},
	} {
		t.Run(name, func(t *testing.T) {
			var f farewell
			var got, want []step
			for i, l := range looks {
				got = append(got, f.look(time.Unix(int64(i), 0), 2*time.Second, l.word, l.start, l.stranded))
				want = append(want, l.want)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
