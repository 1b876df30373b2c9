package innodb

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berth-dev/berth/pkg/innodb/page"
)

// TestCutOff looks at a chunk of which most is not there: touching it faults, and
// what is there is read and checked.
func TestCutOff(t *testing.T) {
	const size, there = 16 << 10, 3
	path := filepath.Join(t.TempDir(), "t.ibd")
	if err := os.WriteFile(path, bytes.Repeat([]byte{1}, there*size), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	file := &datafile{space: page.Space{Format: page.Format{Size: size, Logical: size, Full: true}}}
	r := &reading{file: file, f: f}
	w := worker{checker: checker{layout: &layout{}}, mapped: true}
	chunk, err := unix.Mmap(int(f.Fd()), 0, 8*size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(chunk)
	if w.touch(r, chunk, 0) {
		t.Error("all of a chunk was looked at that ends behind the file")
	}
	for _, length := range []int64{there * size, 8 * size} {
		if n, err := w.look(r, 0, length); err != nil || n != length || w.counts.Pages != there || w.counts.Bad != there {
			t.Errorf("%d bytes: %+v, error %v; expected %d pages, all bad", n, w.counts, err, there)
		}
	}
	if !w.lookMapped(r, 0, there*size) {
		t.Error("a chunk that was just written was not in the page cache")
	}
}

// TestOtherPanics: only what comes from the mapping is taken for it.
func TestOtherPanics(t *testing.T) {
	var nothing *datafile
	defer func() {
		if cause := recover(); cause == nil || faultedIn(make([]byte, 16), cause) {
			t.Errorf("panic %v was taken for a fault in a chunk", cause)
		}
	}()
	_ = nothing.size
}
