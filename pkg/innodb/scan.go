package innodb

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
	"golang.org/x/time/rate"

	"github.com/berth-dev/berth/pkg/innodb/page"
)

const (
	// chunkSize is what a worker reads at once; a multiple of every page size.
	// Between 256 KiB and 1 MiB the speed is about the same.
	chunkSize = 512 << 10
	// ahead is how far the kernel is asked to read ahead of the workers.
	ahead = 8 << 20
	// maxSuspects bounds the memory for a file that is bad throughout; more are
	// only counted.
	maxSuspects = 10000
)

// suspect is a run of consecutive pages that a file cannot be trusted for.
type suspect struct {
	file   *datafile
	no     uint32 // page number
	pages  uint32
	result page.Result
}

// scan is one pass over all pages of all files.
type scan struct {
	layout  *layout
	out     *Report
	opt     Options
	limiter *rate.Limiter
	total   int64

	mu       sync.Mutex
	queue    []*datafile // not yet given out
	current  *reading
	offset   int64
	done     int64
	counts   Counts
	suspects []suspect
	errs     map[*datafile]error
}

// reading is a file that workers read chunks of.
type reading struct {
	file  *datafile
	f     *os.File
	users int
}

func newScan(l *layout, opt Options, r *Report) *scan {
	s := &scan{layout: l, out: r, opt: opt, errs: map[*datafile]error{}}
	for _, f := range l.files {
		if f.usable {
			s.queue = append(s.queue, f)
			s.total += f.size
		}
	}
	// Large files first, so that no worker ends long before the others.
	slices.SortFunc(s.queue, func(a, b *datafile) int { return cmp.Compare(b.size, a.size) })
	if opt.Rate > 0 {
		s.limiter = rate.NewLimiter(rate.Limit(opt.Rate), chunkSize)
	}
	return s
}

func (s *scan) run(ctx context.Context) error {
	workers := s.opt.Workers
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	errs := make([]error, workers)
	var group sync.WaitGroup
	for i := range workers {
		group.Go(func() { errs[i] = s.work(ctx) })
	}
	group.Wait()
	return errors.Join(errs...)
}

// work checks chunks until there are none left.
func (s *scan) work(ctx context.Context) error {
	buf := make([]byte, chunkSize)
	for ctx.Err() == nil {
		r, offset := s.next()
		if r == nil {
			return nil
		}
		if s.limiter != nil {
			if err := s.limiter.WaitN(ctx, int(min(chunkSize, r.file.size-offset))); err != nil {
				s.finish(r, Counts{}, nil, nil)
				return err
			}
		}
		n, err := r.f.ReadAt(buf, offset)
		if errors.Is(err, io.EOF) {
			err = nil
		}
		counts, suspects := s.check(r.file, buf[:n], offset)
		s.finish(r, counts, suspects, err)
	}
	return ctx.Err()
}

// check judges the pages of a chunk.
func (s *scan) check(f *datafile, buf []byte, offset int64) (Counts, []suspect) {
	size := f.space.Size
	counts := Counts{Bytes: int64(len(buf))}
	var suspects []suspect
	no := f.base + uint32(offset/int64(size))
	for ; len(buf) >= size; buf, no = buf[size:], no+1 {
		result := f.space.Check(buf, no, f.space.ID)
		counts.Pages++
		switch {
		case f.kind == kindSystem && s.layout.inDoublewrite(no):
			continue
		case result == page.Good:
			continue
		case result == page.Blank:
			counts.Blank++
			continue
		case !result.IsBad():
			counts.NotVerified++
		}
		if n := len(suspects); n > 0 && suspects[n-1].result == result && suspects[n-1].no+suspects[n-1].pages == no {
			suspects[n-1].pages++
			continue
		}
		suspects = append(suspects, suspect{file: f, no: no, pages: 1, result: result})
	}
	return counts, suspects
}

// next gives out a chunk of a file, nil at the end.
func (s *scan) next() (*reading, int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.current == nil || s.offset >= s.current.file.size {
		s.release(s.current)
		s.current = nil
		if len(s.queue) == 0 {
			return nil, 0
		}
		file := s.queue[0]
		s.queue = s.queue[1:]
		f, err := os.Open(file.path)
		if err != nil {
			s.errs[file] = err
			s.done += file.size
			continue
		}
		s.current, s.offset = &reading{file: file, f: f, users: 1}, 0
		s.counts.Files++
	}
	r, offset := s.current, s.offset
	if s.limiter == nil && offset%ahead == 0 {
		// The kernel's own read-ahead gives up when several readers alternate.
		_ = unix.Fadvise(int(r.f.Fd()), offset+ahead, ahead, unix.FADV_WILLNEED)
	}
	r.users++
	s.offset += chunkSize
	return r, offset
}

func (s *scan) finish(r *reading, counts Counts, suspects []suspect, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil && s.errs[r.file] == nil {
		s.errs[r.file] = err
	}
	s.counts.add(counts)
	if room := maxSuspects - len(s.suspects); len(suspects) > room {
		suspects = suspects[:max(room, 0)]
	}
	s.suspects = append(s.suspects, suspects...)
	s.done += counts.Bytes
	s.release(r)
	if s.opt.Progress != nil {
		s.opt.Progress(s.done, s.total)
	}
}

// release closes a file after its last chunk.
func (s *scan) release(r *reading) {
	if r == nil {
		return
	}
	if r.users--; r.users == 0 {
		r.f.Close()
	}
}

// report turns what was seen into findings.
func (s *scan) report() {
	r := s.out
	r.add(s.counts)
	for file, err := range s.errs {
		r.find(unreadable(file.name, err))
	}
	slices.SortFunc(s.suspects, func(a, b suspect) int {
		return cmp.Or(cmp.Compare(a.file.name, b.file.name), cmp.Compare(a.no, b.no))
	})
	for _, run := range merge(s.suspects) {
		f := Finding{File: run.file.name, Page: int64(run.no - run.file.base), Pages: int64(run.pages), Do: rebuild,
			Verdict: s.layout.verdictOf(run.file, r)}
		f.Code, f.Expected, f.Found = describe(run.result)
		if !run.result.IsBad() {
			f.Verdict, f.Do = NotVerified, "judge it by a server's CHECK TABLE (level deep)"
		} else {
			r.Bad += f.Pages
		}
		r.find(f)
	}
}

// merge joins runs that chunks have cut.
func merge(runs []suspect) []suspect {
	var out []suspect
	for _, run := range runs {
		if n := len(out); n > 0 && out[n-1].file == run.file && out[n-1].result == run.result && out[n-1].no+out[n-1].pages == run.no {
			out[n-1].pages += run.pages
			continue
		}
		out = append(out, run)
	}
	return out
}

func describe(result page.Result) (code Code, expected, found string) {
	switch result {
	case page.WrongNumber:
		return PageNumber, "the page of this place", "a page with another number"
	case page.WrongSpace:
		return PageSpace, "a page of this tablespace", "a page of another tablespace"
	case page.BadLSN:
		return PageChecksum, "one LSN at the page's start and end", "two: the page was written in part"
	case page.BadLength:
		return PageChecksum, "a compressed page", "an impossible length"
	case page.NoChecksum:
		return PageUnverified, "a checksum", "pages written with innodb_checksum_algorithm=none"
	case page.Unverified:
		return PageUnverified, "a checksum", "pages that have none without their key or their decompression"
	}
	return PageChecksum, "the checksum of the content", fmt.Sprintf("another one (%s)", result)
}
