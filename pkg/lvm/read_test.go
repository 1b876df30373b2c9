package lvm

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What is read is the device's, past every cache: also what is longer than a chunk, and
// what is shorter than asked for.
func TestReadDevice(t *testing.T) {
	want := make([]byte, 3<<20)
	for i := range want {
		want[i] = byte(i / 4096)
	}
	file := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(file, want, 0o600); err != nil {
		t.Fatal(err)
	}
	for bytesAsked, n := range map[string]int{"4096": 4096, "2097152": 2 << 20, "4194304": 3 << 20} {
		got, err := Exec{}.Run(t.Context(), "test", ReadDevice, file, bytesAsked)
		if err != nil || !bytes.Equal(got, want[:n]) {
			t.Errorf("%s bytes: %d read, %v", bytesAsked, len(got), err)
		}
	}
	for name, args := range map[string][]string{"no size": {file}, "not a multiple": {file, "100"}, "no number": {file, "x"}, "not there": {file + "x", "4096"}} {
		if got, err := (Exec{}).Run(t.Context(), "test", ReadDevice, args...); err == nil {
			t.Errorf("%s: %d bytes", name, len(got))
		}
	}
}

// A device that does not answer (a pipe without a writer) has one reader, however often
// it is asked for, and is read again when that one has come back.
func TestReadDeviceThatHangs(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := (Exec{}).Run(ctx, "test", ReadDevice, pipe, "4096"); !errors.Is(err, ErrUnknown) {
		t.Errorf("%v, want ErrUnknown", err)
	}
	if _, err := (Exec{}).Run(t.Context(), "test", ReadDevice, pipe, "4096"); !errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), "has not come back") {
		t.Errorf("a second read: %v", err)
	}
	writer, err := os.OpenFile(pipe, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	writer.Close()
	for begun := true; begun; _, begun = reading.Load(pipe) {
		time.Sleep(time.Millisecond)
	}
}
