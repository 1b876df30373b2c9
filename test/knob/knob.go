// Package knob reads what a make target turns in the environment of a test.
package knob

import (
	"os"
	"strconv"
	"testing"
)

// Number is what the environment says, or what is usual. Text that is no number
// from 0 fails the test.
func Number[T int | uint64](t testing.TB, name string, usual T) T {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return usual
	}
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		t.Fatalf("read %s: %v", name, err)
	}
	return T(n)
}
