package innodb

import (
	"errors"
	"io"
	"runtime"
	"runtime/debug"
	"unsafe"

	"golang.org/x/sys/unix"
)

// worker brings chunks of files to a checker: as the page cache has them, without
// a copy, or read into a buffer where that does not go.
type worker struct {
	checker
	mapped bool
	buf    []byte
}

// look checks a chunk of a file. Where the file ends early, it checks what is
// there.
func (w *worker) look(r *reading, offset int64, length int) error {
	if w.mapped && w.lookMapped(r, offset, length) {
		return nil
	}
	if len(w.buf) < length {
		w.buf = make([]byte, length)
	}
	n, err := r.f.ReadAt(w.buf[:length], offset)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	w.check(r, w.buf[:n], offset)
	return err
}

// lookMapped checks a chunk where it lies in the page cache. It answers false
// when the file cannot be mapped or not all of it be read: reading then tells
// why.
func (w *worker) lookMapped(r *reading, offset int64, length int) (ok bool) {
	chunk, err := unix.Mmap(int(r.f.Fd()), offset, length, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return false
	}
	defer unix.Munmap(chunk)
	// Read-ahead for a sequence puts large blocks into the page cache, which are
	// mapped much faster. Both are hints: without them pages come when touched.
	_ = unix.Madvise(chunk, unix.MADV_SEQUENTIAL)
	_ = unix.Madvise(chunk, unix.MADV_POPULATE_READ)
	// What the device cannot read, and what was cut off, faults when it is touched.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if cause := recover(); cause != nil {
			if !faultedIn(chunk, cause) {
				panic(cause)
			}
			ok = false
		}
	}()
	w.check(r, chunk, offset)
	return true
}

// faultedIn says whether a panic comes from touching b.
func faultedIn(b []byte, cause any) bool {
	fault, ok := cause.(interface {
		runtime.Error
		Addr() uintptr
	})
	if !ok {
		return false
	}
	begin := uintptr(unsafe.Pointer(&b[0]))
	return fault.Addr() >= begin && fault.Addr() < begin+uintptr(len(b))
}
