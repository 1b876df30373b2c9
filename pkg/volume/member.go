package volume

import (
	"fmt"
	"strconv"
	"strings"
)

// Member says which member of which StatefulSet a claim belongs to. The zero
// Member is a claim of no StatefulSet.
type Member struct {
	StatefulSet string
	Ordinal     int
	// Replicas is the size of the StatefulSet when the volume was made: one
	// surviving volume thereby tells how many siblings to expect.
	Replicas int
}

// IsZero reports whether the claim belongs to no StatefulSet.
func (m Member) IsZero() bool { return m == Member{} }

func (m Member) String() string {
	if m.IsZero() {
		return "-"
	}
	return fmt.Sprintf("%s %d/%d", m.StatefulSet, m.Ordinal, m.Replicas)
}

// Ordinal reads the ordinal out of a claim name that the StatefulSet
// controller derives as <template>-<statefulset>-<ordinal>. Both names may
// themselves hold dashes and digits, so they must be known to read it.
func Ordinal(claim, template, statefulSet string) (int, bool) {
	text, ok := strings.CutPrefix(claim, template+"-"+statefulSet+"-")
	if !ok {
		return 0, false
	}
	n, err := parseDecimal(text)
	return n, err == nil
}

// parseDecimal accepts exactly what strconv.Itoa writes for n >= 0: no sign,
// no leading zero, so that each number has one spelling.
func parseDecimal(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || strconv.Itoa(n) != text {
		return 0, fmt.Errorf("%q is not a decimal number", text)
	}
	return n, nil
}
