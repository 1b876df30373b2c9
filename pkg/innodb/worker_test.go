package innodb

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/berth-dev/berth/pkg/innodb/page"
)

// TestCutOff looks at a chunk of which most is not there: the page cache has
// nothing to map, and what is there is read and checked.
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
	if w.lookMapped(r, 0, 8*size) {
		t.Error("all of a chunk was looked at that ends behind the file")
	}
	if err := w.look(r, 0, 8*size); err != nil || w.counts.Pages != there || w.counts.Bad != there {
		t.Errorf("%+v, error %v; expected %d pages, all bad", w.counts, err, there)
	}
	if !w.lookMapped(r, 0, there*size) || w.counts.Bad != there {
		t.Errorf("%+v of a chunk that is there", w.counts)
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
