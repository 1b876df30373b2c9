package innodb

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/berth-dev/berth/pkg/innodb/page"
)

// judge says of every suspect what it means: damage, or a page that nobody reads
// or that recovery mends.
func (v *verification) judge() {
	suspects := merge(v.suspects)
	if len(suspects) == 0 {
		return
	}
	copies := v.readCopies()
	for _, run := range suspects {
		if run.result == page.Newer {
			continue
		}
		v.judgeRun(run, copies)
	}
	v.judgeNewer(suspects)
}

// judgeRun makes findings of a run: one of consecutive pages with the same fate.
func (v *verification) judgeRun(run suspect, copies copies) {
	file, err := os.Open(run.file.path)
	if err != nil {
		v.find(unreadable(run.file.name, err))
		return
	}
	defer file.Close()
	c := checker{layout: v.layout}
	r := &reading{file: run.file, f: file}
	var last *Finding
	for no := run.no; no < run.no+run.pages; no++ {
		f, found := v.judgePage(r, &c, run, no, copies)
		if !found {
			last = nil
			continue
		}
		if last != nil && last.Code == f.Code && last.Verdict == f.Verdict {
			last.Pages++
			continue
		}
		v.find(f)
		last = &v.report.Findings[len(v.report.Findings)-1]
	}
}

// judgePage says what one bad or blank page means; found is false when it means
// nothing.
func (v *verification) judgePage(r *reading, c *checker, run suspect, no uint32, copies copies) (f Finding, found bool) {
	file, result := run.file, run.result
	p := make([]byte, file.space.Size)
	if _, err := r.f.ReadAt(p, int64(no-file.base)*int64(file.space.Size)); err != nil {
		return unreadable(file.name, err), true
	}
	f = Finding{Verdict: Fatal, Code: codeOf(result), File: file.name, Page: int64(no - file.base), Pages: 1, Do: rebuild}
	f.Expected, f.Found = file.space.Describe(p, no, file.space.ID, result)
	if v.report.InUse {
		f.Verdict, f.Do = NotVerified, "check again when the server has stopped: it may be about to write this page"
		return f, !becomesGood(r, c, p, no)
	}
	if v.isLeftover(file) {
		f.Verdict, f.Do = Fine, "nothing: the file is a leftover that recovery or the next start removes"
		return f, true
	}
	made, known := v.made(file.space.ID, no)
	blank := result == page.Blank
	switch free, freeKnown := c.isFree(r, no); {
	case made && blank:
		return f, false // not written before the server died
	case made:
		f.Verdict, f.Code, f.Heals, f.Do = Repairable, PageTorn, true, "nothing: the log makes this page anew, and recovery does not read it"
	case !v.report.Recovered && copies.has(c, file, no, v.log.Extent.Checkpoint, v.log.Extent.End):
		f.Verdict, f.Code, f.Heals, f.Do = Repairable, PageTorn, true, "nothing: recovery takes the good copy from the doublewrite buffer"
	case freeKnown && free && !run.needed:
		f.Verdict, f.Code, f.Do = Fine, PageFree, "nothing: the page is free, nobody reads it"
	case blank && !run.needed && (!known || !v.report.Recovered):
		// Before recovery a page may be allocated and not yet written, also where
		// the log does not make it (seen under bulk load): exact only afterwards.
		return f, false
	case !known:
		f.Verdict, f.Do = NotVerified, "check again after recovery: the redo log, which may mend it, could not be read"
	}
	return f, true
}

// becomesGood reads a page of a running server again: the first reading may have
// met a write half done.
func becomesGood(r *reading, c *checker, p []byte, no uint32) bool {
	const tries, pause = 5, 10 * time.Millisecond
	for range tries {
		time.Sleep(pause)
		if _, err := r.f.ReadAt(p, int64(no-r.file.base)*int64(len(p))); err != nil {
			return false
		}
		if !c.result(r.file, p, no).IsBad() {
			return true
		}
	}
	return false
}

// judgeNewer tells of pages that were changed after the end of the log, one
// finding a file: log and files are of different times, or the log has lost its
// end.
func (v *verification) judgeNewer(suspects []suspect) {
	var last *Finding
	pages := map[string]int64{}
	for _, run := range suspects {
		if run.result != page.Newer || v.isLeftover(run.file) {
			continue
		}
		pages[run.file.name] += int64(run.pages)
		if last != nil && last.File == run.file.name {
			continue
		}
		p, err := v.page(run.file, run.no)
		if err != nil {
			v.find(unreadable(run.file.name, err))
			continue
		}
		v.find(Finding{Verdict: Fatal, Code: PageLSN, File: run.file.name, Page: int64(run.no - run.file.base), Pages: 1,
			Expected: fmt.Sprintf("no change after the end of the redo log at LSN %d", v.log.Extent.End),
			Found:    fmt.Sprintf("one at LSN %d: the log has lost its end, or this file is of another time", page.LSN(p)), Do: rebuild})
		last = &v.report.Findings[len(v.report.Findings)-1]
	}
	for i := range v.report.Findings {
		if f := &v.report.Findings[i]; f.Code == PageLSN {
			f.Found += fmt.Sprintf("; %d pages of the file are like this", pages[f.File])
		}
	}
}

// reportUnverified tells of pages that have nothing to check, one finding a file.
func (v *verification) reportUnverified(pages map[*datafile]int64) {
	for _, f := range v.layout.files {
		if n := pages[f]; n > 0 {
			v.find(Finding{Verdict: NotVerified, Code: PageUnverified, File: f.name, Page: -1, Expected: "pages with a checksum",
				Found: fmt.Sprintf("%d pages without one that can be checked here", n), Do: "let a server check the table: level deep"})
		}
	}
}

func codeOf(result page.Result) Code {
	switch result {
	case page.Blank:
		return PageZero
	case page.WrongNumber:
		return PageNumber
	case page.WrongSpace:
		return PageSpace
	}
	return PageChecksum
}

// merge sorts runs, joins those that chunks have cut and drops repetitions.
func merge(runs []suspect) []suspect {
	slices.SortStableFunc(runs, func(a, b suspect) int {
		return cmp.Or(cmp.Compare(a.file.name, b.file.name), cmp.Compare(a.no, b.no), cmp.Compare(a.pages, b.pages))
	})
	var out []suspect
	for _, run := range runs {
		if n := len(out); n > 0 && out[n-1].file == run.file {
			last := &out[n-1]
			switch behind := last.no + last.pages; {
			case run.no+run.pages <= behind:
				last.needed = last.needed || (run.needed && run.pages == last.pages)
				continue
			case run.no == behind && last.result == run.result && last.needed == run.needed:
				last.pages += run.pages
				continue
			}
		}
		out = append(out, run)
	}
	return out
}
