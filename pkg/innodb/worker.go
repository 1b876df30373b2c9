package innodb

import (
	"errors"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// worker brings chunks of files to a checker: as the page cache has them, without
// a copy, or read into a buffer, whichever is the faster one here. A machine of
// its own maps pages for nothing; a virtual one whose page tables are kept by
// software pays more for each than a copy costs.
type worker struct {
	checker
	mapped bool
	buf    []byte
	// paces of looking at what is mapped, and of reading.
	maps, reads pace
}

// trials is how many chunks are looked at in each way before one is chosen, small
// ones: the best of so many is not one that was interrupted.
const trials = 8

// pace is how fast a way was at its best.
type pace struct {
	tried int
	best  float64 // nanoseconds a byte
}

func (p *pace) note(begin time.Time, length int64) {
	took := float64(time.Since(begin)) / float64(length)
	if p.tried == 0 || took < p.best {
		p.best = took
	}
	p.tried++
}

// look checks a chunk of a file, or the first part of it, and says how much that
// was. Where the file ends early, it checks what is there.
func (w *worker) look(r *reading, offset, length int64) (int64, error) {
	if w.maps.tried < trials {
		length = min(length, chunkSize)
	}
	begin := time.Now()
	if w.mapped && w.prefersMaps() && w.lookMapped(r, offset, length) {
		w.maps.note(begin, length)
		return length, nil
	}
	length = min(length, chunkSize)
	err := w.lookRead(r, offset, length)
	w.reads.note(begin, length)
	return length, err
}

// prefersMaps says which way the next chunk goes.
func (w *worker) prefersMaps() bool {
	if w.maps.tried < trials || w.reads.tried < trials {
		return w.maps.tried <= w.reads.tried
	}
	return w.maps.best <= w.reads.best
}

// lookRead checks a chunk that it reads into the buffer.
func (w *worker) lookRead(r *reading, offset, length int64) error {
	if w.buf == nil {
		w.buf = make([]byte, chunkSize)
	}
	n, err := r.f.ReadAt(w.buf[:length], offset)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	w.check(r, w.buf[:n], offset)
	return err
}

// lookMapped checks a chunk where it lies in the page cache. It answers false
// when that cannot be, or when it is not there yet: the kernel reads ahead best
// for those who read.
func (w *worker) lookMapped(r *reading, offset, length int64) bool {
	chunk, err := unix.Mmap(int(r.f.Fd()), offset, int(length), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return false
	}
	defer unix.Munmap(chunk)
	if !isCached(chunk) {
		return false
	}
	_ = unix.Madvise(chunk, unix.MADV_POPULATE_READ) // a hint: else each page comes when it is touched
	return w.touch(r, chunk, offset)
}

// isCached asks for the last page of a mapping. Users who may not know hear that
// it is.
func isCached(chunk []byte) bool {
	size := os.Getpagesize()
	last := &chunk[(len(chunk)-1)/size*size]
	var state [1]byte
	_, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(last)), uintptr(size), uintptr(unsafe.Pointer(&state[0])))
	return errno == 0 && state[0]&1 != 0
}

// touch checks a mapped chunk. It answers false when not all of it can be read,
// as the device fails or the file was cut off; reading then tells why.
func (w *worker) touch(r *reading, chunk []byte, offset int64) (ok bool) {
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
