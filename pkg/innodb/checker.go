package innodb

import (
	"github.com/berth-dev/berth/pkg/innodb/page"
)

// checker judges pages by themselves, a chunk at a time. It keeps what it found
// until the next chunk, and allocates nothing for pages that are good.
type checker struct {
	layout   *layout
	end      uint64
	counts   Counts
	suspects []suspect

	decompressor page.Decompressor

	// descriptors is the page with extent descriptors that was last needed.
	descriptors     []byte
	descriptorsOf   *datafile
	descriptorsPage uint32
}

func (c *checker) check(r *reading, buf []byte, offset int64) {
	f := r.file
	size := f.space.Size
	c.counts = Counts{Bytes: int64(len(buf))}
	c.suspects = c.suspects[:0]
	no := f.base + uint32(offset/int64(size))
	for ; len(buf) >= size; buf, no = buf[size:], no+1 {
		if f.kind == kindSystem && c.layout.inDoublewrite(no) {
			continue
		}
		c.counts.Pages++
		result := c.result(f, buf, no)
		switch {
		case result == page.Blank:
			c.counts.Blank++
			if no == f.base || !c.mustHaveContent(r, no) {
				continue
			}
		case result.IsBad():
			c.counts.Bad++
		default:
			if result != page.Good {
				c.counts.NotVerified++
			}
			if page.LSN(buf) <= c.end {
				continue
			}
			result = page.Newer
		}
		c.suspect(f, no, result)
	}
}

// result judges a page by itself, with its content decompressed where nothing
// else can be checked.
func (c *checker) result(f *datafile, p []byte, no uint32) page.Result {
	result := f.space.Check(p, no, f.space.ID)
	if result == page.Unverified {
		result = c.decompressor.Check(&f.space.Format, p, no, f.space.ID)
	}
	return result
}

func (c *checker) suspect(f *datafile, no uint32, result page.Result) {
	if n := len(c.suspects); n > 0 && c.suspects[n-1].result == result && c.suspects[n-1].no+c.suspects[n-1].pages == no {
		c.suspects[n-1].pages++
		return
	}
	c.suspects = append(c.suspects, suspect{file: f, no: no, pages: 1, result: result})
}

// mustHaveContent says whether a page was used, so that it cannot be zeros. In
// the system tablespace it cannot be told: pages are allocated there that are
// never written.
func (c *checker) mustHaveContent(r *reading, no uint32) bool {
	if r.file.kind == kindSystem || no >= r.file.space.FreeLimit {
		return false
	}
	free, known := c.isFree(r, no)
	return known && !free
}

// isFree looks into the extent descriptor of a page.
func (c *checker) isFree(r *reading, no uint32) (free, known bool) {
	f := r.file
	at := f.space.DescriptorPage(no)
	if c.descriptorsOf != f || c.descriptorsPage != at {
		c.descriptorsOf = nil
		if c.descriptors == nil {
			c.descriptors = make([]byte, page.MaxSize)
		}
		p := c.descriptors[:f.space.Size]
		if at < f.base {
			return false, false
		}
		if _, err := r.f.ReadAt(p, int64(at-f.base)*int64(f.space.Size)); err != nil || f.space.Check(p, at, f.space.ID) != page.Good {
			return false, false
		}
		c.descriptorsOf, c.descriptorsPage = f, at
	}
	return f.space.IsFree(c.descriptors[:f.space.Size], no), true
}
