package innodb

import (
	"fmt"
	"strings"

	"github.com/berth-dev/berth/pkg/innodb/position"
)

// Verdict says what a finding, or a whole directory, is worth.
type Verdict string

// Verdicts, from the best to the worst.
const (
	// Fine is sound; a finding that is fine is only worth knowing.
	Fine Verdict = "fine"
	// NotVerified could not be judged: no checksum, no key, a server at work, a
	// format that is not known. It is never said of something known to be bad.
	NotVerified Verdict = "not verified"
	// Repairable is damage that can be mended in place without losing data.
	Repairable Verdict = "repairable"
	// Environment kept the check from judging: a permission, an I/O error. It says
	// nothing about the data.
	Environment Verdict = "environment"
	// Fatal is damage that only another copy of the data mends.
	Fatal Verdict = "fatal"
)

// rank orders verdicts; what is not known ranks worst.
func (v Verdict) rank() int {
	for i, known := range []Verdict{Fine, NotVerified, Repairable, Environment} {
		if v == known {
			return i
		}
	}
	return 4
}

// Worse gives the worse of two verdicts.
func Worse(a, b Verdict) Verdict {
	if a == "" || b.rank() > a.rank() {
		return b
	}
	return a
}

// Code names a kind of finding; it is the same in reports, tests and docs.
type Code string

// Codes of findings.
const (
	PageChecksum    Code = "page-checksum"    // content and checksum differ
	PageNumber      Code = "page-number"      // another page in this place
	PageSpace       Code = "page-space"       // a page of another tablespace
	PageZero        Code = "page-zero"        // an allocated page holds zeros
	PageLSN         Code = "page-lsn"         // newer than the end of the redo log
	PageUnverified  Code = "page-unverified"  // no checksum that can be checked
	PageFree        Code = "page-free"        // bad, but free: nobody reads it
	PageTorn        Code = "page-torn"        // bad, with a good copy that recovery uses
	SpaceHeader     Code = "space-header"     // the first page is no tablespace header
	SpaceSize       Code = "space-size"       // shorter than its header says, or a part of a page
	SpaceDuplicate  Code = "space-duplicate"  // two files of one space id
	SpaceMissing    Code = "space-missing"    // known to the dictionary or to TRX_SYS, no file
	SpaceSwapped    Code = "space-swapped"    // the file holds another table
	SpaceOrphan     Code = "space-orphan"     // a file that the dictionary does not know
	LinkBroken      Code = "link-broken"      // an .isl file that names no file
	FormatUnknown   Code = "format-unknown"   // of a version that is not known here
	DictionaryPage  Code = "dictionary"       // SYS_TABLES cannot be read
	UndoHeader      Code = "undo-header"      // rollback segment or TRX_SYS header
	FileMissing     Code = "file-missing"     // a file without which the server does not start
	FrmMissing      Code = "frm-missing"      // a tablespace without table definition
	FrmDamaged      Code = "frm-damaged"      // a table definition that is none
	RedoLog         Code = "redo-log"         // header, checkpoint or reach of the log
	RedoCut         Code = "redo-cut"         // the log ends before what was committed
	AriaControl     Code = "aria-control"     // aria_log_control
	AriaLog         Code = "aria-log"         // aria_log.NNNNNNNN
	AriaPage        Code = "aria-page"        // a data page of a system table
	Grastate        Code = "grastate"         // grastate.dat does not say where in which history
	TransferPartial Code = "transfer-partial" // a state transfer was interrupted
	InUse           Code = "in-use"           // a server runs on the directory
	Unreadable      Code = "unreadable"       // an error of the system, not of the content
	TableCheck      Code = "check-table"      // CHECK TABLE of the server
)

// Finding is one thing that is not as it should be.
type Finding struct {
	Verdict Verdict `json:"verdict"`
	Code    Code    `json:"code"`
	// File is the path below the data directory, or the whole path of a file
	// outside.
	File string `json:"file"`
	// Page is the first page that is meant, -1 when the file as a whole is.
	Page int64 `json:"page"`
	// Pages is the number of consecutive pages, 0 when the file as a whole is meant.
	Pages    int64  `json:"pages,omitempty"`
	Expected string `json:"expected"`
	Found    string `json:"found"`
	Do       string `json:"do"`
	// Heals says that the server's next start repairs it by itself.
	Heals bool `json:"heals,omitempty"`
	// Starts says that the server starts as it is, and that what is left to do is
	// done on the server that runs.
	Starts bool `json:"starts,omitempty"`
}

// String is the finding in a sentence.
func (f Finding) String() string {
	return fmt.Sprintf("%s: %s: expected %s, found %s; %s", f.Place(), f.Verdict, f.Expected, f.Found, f.Do)
}

// Place is the file and the pages that the finding is about.
func (f Finding) Place() string {
	switch {
	case f.Page < 0:
		return f.File
	case f.Pages > 1:
		return fmt.Sprintf("%s pages %d to %d", f.File, f.Page, f.Page+f.Pages-1)
	}
	return fmt.Sprintf("%s page %d", f.File, f.Page)
}

// Counts says how much was looked at.
type Counts struct {
	Files int   `json:"files"`
	Bytes int64 `json:"bytes"` // read for checking pages
	Pages int64 `json:"pages"`
	// Blank pages hold only zeros.
	Blank int64 `json:"blank"`
	// NotVerified pages have nothing that could be checked.
	NotVerified int64 `json:"notVerified"`
	// Bad pages are those with a finding that is fatal or repairable.
	Bad int64 `json:"bad"`
}

func (c *Counts) add(o Counts) {
	c.Files += o.Files
	c.Bytes += o.Bytes
	c.Pages += o.Pages
	c.Blank += o.Blank
	c.NotVerified += o.NotVerified
	c.Bad += o.Bad
}

// Report is what Verify found out.
type Report struct {
	Dir   string `json:"dir"`
	Level Level  `json:"level"`
	// Verdict is the worst of the findings', or fine.
	Verdict Verdict `json:"verdict"`
	// InUse says that a server had the directory open. What it writes at the same
	// time is not judged.
	InUse bool `json:"inUse"`
	// Recovered says that the server had stopped in order or had recovered: redo has
	// nothing to apply. Zero pages and the dictionary are only judged then.
	Recovered bool `json:"recovered"`
	// PageSize is innodb_page_size; 0 when there is no readable system tablespace.
	PageSize int `json:"pageSize,omitempty"`
	// Plugins says that tables are encrypted or page_compressed, so that a server
	// needs its plugins and their configuration to read them.
	Plugins bool `json:"plugins,omitempty"`
	// Position in the history of the Galera cluster; nil when a server runs or the
	// log could not be read.
	Position *position.Position `json:"position,omitempty"`
	Counts
	Findings []Finding `json:"findings"`
}

// Sound says whether a server can use the directory as it is: nothing fatal,
// nothing that has to be mended by hand, and nothing that kept the check from
// judging the rest.
func (r Report) Sound() bool {
	for _, f := range r.Findings {
		if f.Verdict != Fine && !(f.Verdict == Repairable && f.Heals) {
			return false
		}
	}
	return true
}

// Damaged says whether anything is known to be bad that the server's next start
// does not repair.
func (r Report) Damaged() bool {
	for _, f := range r.Findings {
		if f.Verdict == Fatal || (f.Verdict == Repairable && !f.Heals) {
			return true
		}
	}
	return false
}

// Add adds findings of another source.
func (r *Report) Add(findings ...Finding) {
	for _, f := range findings {
		r.Findings = append(r.Findings, f)
		r.Verdict = Worse(r.Verdict, f.Verdict)
	}
}

// Summary is the report in one line.
func (r Report) Summary() string {
	parts := []string{fmt.Sprintf("%s: %d files, %d pages", r.Verdict, r.Files, r.Pages)}
	if r.Bad > 0 {
		parts = append(parts, fmt.Sprintf("%d bad", r.Bad))
	}
	if r.NotVerified > 0 {
		parts = append(parts, fmt.Sprintf("%d not verified", r.NotVerified))
	}
	return strings.Join(parts, ", ")
}

const rebuild = "keep the volume as it is, and rebuild this member from another one"
