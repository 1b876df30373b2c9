package lvm

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"
)

func TestExecKeepsOutputsApart(t *testing.T) {
	out, err := Exec{}.Run(t.Context(), "test", "sh", "-c", "echo out; echo err >&2; echo $LC_ALL $LVM_SUPPRESS_FD_WARNINGS")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(out), "out\nC 1\n"; got != want {
		t.Errorf("stdout is %q, want %q", got, want)
	}
}

func TestExecReportsTheCode(t *testing.T) {
	_, err := Exec{}.Run(t.Context(), "test", "sh", "-c", "echo why >&2; exit 5")
	var ended *Error
	if !errors.As(err, &ended) || ended.Code != 5 || ended.Stderr != "why" {
		t.Errorf("got %v", err)
	}
	if errors.Is(err, ErrUnknown) {
		t.Errorf("an ended command is called unknown: %v", err)
	}
}

func TestExecNamesAMissingProgram(t *testing.T) {
	_, err := Exec{}.Run(t.Context(), "test", "no-such-program")
	if err == nil || !strings.Contains(err.Error(), "install it") || errors.Is(err, ErrUnknown) {
		t.Errorf("got %v", err)
	}
}

// A command that was told to stop has an unknown result, whether it obeyed,
// answered with a code, or had to be killed with its children.
func TestExecCancelIsUnknown(t *testing.T) {
	for name, script := range map[string]string{
		"obeys":   "sleep 60",
		"answers": "trap 'exit 5' TERM; sleep 60 & wait",
		"ignores": "trap '' TERM; sleep 60",
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			_, err := Exec{Grace: 100 * time.Millisecond}.Run(ctx, "test", "sh", "-c", script)
			if !errors.Is(err, ErrUnknown) {
				t.Errorf("got %v, want ErrUnknown", err)
			}
		})
	}
}

func TestExecEndsTheWholeGroup(t *testing.T) {
	file := t.TempDir() + "/alive"
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	// The child would make the file if it outlived its group.
	_, err := Exec{Grace: 50 * time.Millisecond}.Run(ctx, "test", "sh", "-c", "(trap '' TERM; sleep 0.5; touch "+file+") & wait")
	if !errors.Is(err, ErrUnknown) {
		t.Fatal(err)
	}
	// Longer than the child would have taken.
	<-time.After(time.Second)
	if _, err := os.Stat(file); err == nil {
		t.Error("a child of the ended command lived on")
	}
}

// lvm's helpers are told as well, and get the grace to end in good order.
func TestExecTellsTheWholeGroup(t *testing.T) {
	file := t.TempDir() + "/told"
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := Exec{Grace: 5 * time.Second}.Run(ctx, "test", "sh", "-c", "(trap 'touch "+file+"; exit' TERM; sleep 60 & wait) & trap '' TERM; wait")
	if !errors.Is(err, ErrUnknown) {
		t.Fatal(err)
	}
	if _, err := os.Stat(file); err != nil {
		t.Errorf("a child was not told to end: %v", err)
	}
}
