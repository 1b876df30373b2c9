package innodb

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"os"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
	"golang.org/x/time/rate"

	"github.com/berth-dev/berth/pkg/innodb/page"
)

const (
	// chunkSize is the least that a worker takes at once, and what a sample and a
	// rate are counted in; a multiple of every page size.
	chunkSize = 256 << 10
	// maxChunk is the most. Larger ones are mapped no faster.
	maxChunk = 4 << 20
	// extentSize is the most that a worker reads in one go; a multiple of the others.
	extentSize = 128 << 20
	// inMemory bounds what all workers have in memory.
	inMemory = 16 << 20
	// ahead is how far the kernel is asked to read ahead of workers that keep a rate.
	ahead = 16 << 20
	// maxSuspects bounds the memory for directories that are bad throughout; more
	// are only counted.
	maxSuspects = 10000
)

// suspect is a run of consecutive pages that are not what they should be, at
// first sight.
type suspect struct {
	file   *datafile
	no     uint32 // page number
	pages  uint32
	result page.Result
	// needed pages are referred to; they must not even be blank.
	needed bool
}

// scan is one pass over the pages of all files.
type scan struct {
	layout *layout
	// end of the log: no page may be newer. All may when it is not known.
	end      uint64
	progress func(done, total int64)
	limiter  *rate.Limiter
	// sampled says whether a chunk is to be read; nil is yes.
	sampled func(f *datafile, offset int64) bool
	// chunk is how much a worker takes at once.
	chunk   int64
	workers int
	// mapped lets workers look at the page cache itself; a server at work can change
	// what is there, or cut it off.
	mapped bool
	total  int64

	mu       sync.Mutex
	queue    []*datafile // not yet given out, the first from offset on
	offset   int64
	left     int64 // bytes in the queue
	done     int64
	counts   Counts
	suspects []suspect
	// unverified counts pages by file.
	unverified map[*datafile]int64
	errs       map[*datafile]error
}

// extent is the part of a file that one worker reads from its begin to its end,
// as the kernel's read-ahead likes it.
type extent struct {
	file     *datafile
	from, to int64
}

// reading is an open file.
type reading struct {
	file *datafile
	f    *os.File
}

// startScan begins to check all pages; the answer waits for the end. Meanwhile
// nothing may change what was found out about files and log.
func (v *verification) startScan(ctx context.Context) (wait func() error) {
	s := v.newScan()
	ended := make(chan error, 1)
	go func() { ended <- s.run(ctx) }()
	return func() error {
		if err := <-ended; err != nil {
			return err
		}
		v.report.add(s.counts)
		v.suspects = append(v.suspects, s.suspects...)
		v.reportUnverified(s.unverified)
		for file, err := range s.errs {
			v.find(unreadable(file.name, err))
		}
		return nil
	}
}

// newScan plans a pass over the files whose headers could be read.
func (v *verification) newScan() *scan {
	s := &scan{layout: v.layout, progress: v.opt.Progress, end: math.MaxUint64, limiter: v.limiter, mapped: !v.report.InUse,
		chunk: chunkSize, workers: v.opt.workers(), unverified: map[*datafile]int64{}, errs: map[*datafile]error{}}
	if v.logRead {
		s.end = uint64(v.log.Extent.End)
	}
	switch {
	case v.report.Level == Sample:
		s.sampled = v.sampled
	case v.limiter == nil:
		s.chunk = maxChunk
		for s.chunk > chunkSize && s.chunk*int64(s.workers) > inMemory {
			s.chunk /= 2
		}
	}
	for _, f := range v.layout.files {
		if f.usable {
			s.queue = append(s.queue, f)
			s.total += s.sizeOf(f)
			s.left += f.size
		}
	}
	// Large files first, so that the extents in the end are small.
	slices.SortFunc(s.queue, func(a, b *datafile) int { return cmp.Compare(b.size, a.size) })
	return s
}

// warmUp is how much is read ahead while headers, log and dictionary are read.
const warmUp = 128 << 20

// readAhead lets the disk begin with the file that the scan will begin with. It
// need not be waited for.
func (v *verification) readAhead() {
	if v.report.Level == Quick || v.report.Level == Sample || v.limiter != nil || len(v.layout.files) == 0 {
		return
	}
	largest := slices.MaxFunc(v.layout.files, func(a, b *datafile) int { return cmp.Compare(a.size, b.size) })
	go func() {
		f, err := os.Open(largest.path)
		if err != nil {
			return // the scan says so
		}
		defer f.Close()
		for offset := int64(0); offset < min(warmUp, largest.size); offset += ahead {
			_ = unix.Fadvise(int(f.Fd()), offset, ahead, unix.FADV_WILLNEED)
		}
	}()
}

func (s *scan) run(ctx context.Context) error {
	errs := make([]error, s.workers)
	var group sync.WaitGroup
	for i := range s.workers {
		group.Go(func() { errs[i] = s.work(ctx) })
	}
	group.Wait()
	return errors.Join(errs...)
}

// work checks extents until there are none left.
func (s *scan) work(ctx context.Context) error {
	w := worker{checker: checker{layout: s.layout, end: s.end}, mapped: s.mapped}
	for {
		e, found := s.next()
		if !found {
			return nil
		}
		if err := s.read(ctx, &w, e); err != nil {
			return err
		}
	}
}

// next gives out an extent: smaller ones in the end, so that no worker ends long
// before the others.
func (s *scan) next() (e extent, found bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.queue) > 0 {
		file, from := s.queue[0], s.offset
		if from < file.size {
			share := s.left / int64(2*s.workers) / maxChunk * maxChunk
			s.offset = min(from+min(max(share, maxChunk), extentSize), file.size)
			s.left -= s.offset - from
			return extent{file, from, s.offset}, true
		}
		s.queue, s.offset = s.queue[1:], 0
	}
	return extent{}, false
}

// read checks the chunks of an extent.
func (s *scan) read(ctx context.Context, w *worker, e extent) error {
	f, err := os.Open(e.file.path)
	if err != nil {
		s.finish(e.file, Counts{}, nil, err)
		return nil
	}
	defer f.Close()
	if e.from == 0 {
		s.finish(e.file, Counts{Files: 1}, nil, nil)
	}
	r := &reading{file: e.file, f: f}
	var length int64
	for offset := e.from; offset < e.to && ctx.Err() == nil; offset += length {
		length = min(s.chunk, e.to-offset)
		if s.sampled != nil && !s.sampled(e.file, offset) {
			continue
		}
		s.advise(r, offset, offset == e.from)
		if s.limiter != nil {
			if err := s.limiter.WaitN(ctx, int(length)); err != nil {
				return err
			}
		}
		length, err = w.look(r, offset, length)
		s.finish(e.file, w.counts, w.suspects, err)
	}
	return ctx.Err()
}

// advise has the disk begin with what is read later: a rate can only be kept on a
// disk that is busy with others when it is asked long before its turn. Without a
// rate, the kernel's own read-ahead does as well, and fills the page cache with
// larger blocks.
func (s *scan) advise(r *reading, offset int64, first bool) {
	switch {
	case s.sampled != nil:
		_ = unix.Fadvise(int(r.f.Fd()), offset, s.chunk, unix.FADV_WILLNEED)
	case s.limiter == nil:
	case first:
		_ = unix.Fadvise(int(r.f.Fd()), offset, ahead+s.chunk, unix.FADV_WILLNEED)
	default:
		_ = unix.Fadvise(int(r.f.Fd()), offset+ahead, s.chunk, unix.FADV_WILLNEED)
	}
}

// sizeOf is how much of a file is to be read.
func (s *scan) sizeOf(f *datafile) int64 {
	if s.sampled == nil {
		return f.size
	}
	var size int64
	for offset := int64(0); offset < f.size; offset += chunkSize {
		if s.sampled(f, offset) {
			size += min(chunkSize, f.size-offset)
		}
	}
	return size
}

// oneIn is the part of the chunks of tables that level Sample reads.
const oneIn = 40

// sampled chooses chunks for level Sample: everything that the server needs to
// start, and of other tables the beginning and what the seed says.
func (v *verification) sampled(f *datafile, offset int64) bool {
	if f.kind == kindSystem || f.kind == kindUndo || offset == 0 || strings.HasPrefix(f.name, "mysql/") {
		return true
	}
	h := fnv.New64a()
	fmt.Fprintf(h, "%d %s %d", v.opt.Seed, f.name, offset)
	return h.Sum64()%oneIn == 0
}

// finish takes what a worker found in a file.
func (s *scan) finish(file *datafile, counts Counts, found []suspect, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil && s.errs[file] == nil {
		s.errs[file] = err
	}
	s.counts.add(counts)
	if counts.NotVerified > 0 {
		s.unverified[file] += counts.NotVerified
	}
	s.suspects = append(s.suspects, found[:min(len(found), max(maxSuspects-len(s.suspects), 0))]...)
	s.done += counts.Bytes
	if s.progress != nil {
		s.progress(s.done, s.total)
	}
}
