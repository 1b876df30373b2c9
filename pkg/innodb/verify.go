package innodb

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/time/rate"

	"github.com/berth-dev/berth/pkg/aria"
	"github.com/berth-dev/berth/pkg/innodb/page"
	"github.com/berth-dev/berth/pkg/innodb/position"
)

// Verify looks at the data directory dir and says what is wrong with it. An
// error means that it could not be looked at, or that ctx ended: the report is
// then incomplete and has no verdict. It never writes and never takes a lock;
// of a directory that a server has open it does not judge what may change.
func Verify(ctx context.Context, dir string, opt Options) (Report, error) {
	v := verification{dir: filepath.Clean(dir), opt: opt, orphans: map[*datafile]bool{}}
	if opt.Rate > 0 {
		// A quarter of a second may be caught up with, or every stall of the machine
		// would slow the reading down for good.
		v.limiter = rate.NewLimiter(rate.Limit(opt.Rate), int(max(opt.Rate/4, chunkSize)))
	}
	v.report = Report{Dir: dir, Level: opt.level(), Findings: []Finding{}}
	if info, err := os.Stat(dir); err != nil {
		return v.report, fmt.Errorf("verify: %w", err)
	} else if !info.IsDir() {
		return v.report, fmt.Errorf("verify: %s is not a directory", dir)
	}
	defer v.kept.close()
	if err := v.run(ctx); err != nil {
		return v.report, fmt.Errorf("verify %s: %w", v.dir, err)
	}
	v.report.Verdict = Worse(v.report.Verdict, Fine)
	return v.report, nil
}

// verification is one look at one directory: facts are gathered in the order in
// which later steps need them.
type verification struct {
	dir    string
	opt    Options
	report Report
	layout *layout
	log    position.Facts
	// logRead says that log holds the whole log; pages and files can then be judged
	// before recovery, too.
	logRead bool
	// limiter holds reading to the rate; nil is no limit.
	limiter *rate.Limiter
	// suspects are pages that are not what they should be, by the steps that read
	// pages.
	suspects []suspect
	// buffers are for pages that the steps read one by one, reader for whole files,
	// aria for tables of the other engine.
	kept    kept
	buffers page.Buffers
	reader  *bufio.Reader
	aria    aria.Checker
	// orphans are files that no table has, although their names do not tell.
	orphans map[*datafile]bool
}

func (v *verification) run(ctx context.Context) error {
	var err error
	if v.layout, err = look(v.dir, v.opt); err != nil {
		return err
	}
	for _, f := range v.layout.findings {
		v.find(f)
	}
	v.readAhead()
	v.report.InUse = inUse(v.dir)
	if v.report.InUse {
		v.find(Finding{Verdict: NotVerified, Code: InUse, File: ".", Page: -1, Expected: "a directory without a running server",
			Found: "a server that has it open", Do: "check again when the server has stopped; what it may be writing is not judged"})
	} else if err := v.readLog(ctx); err != nil {
		return err
	}
	v.checkMandatory()
	v.checkHeaders()
	scanned := func() error { return nil }
	if v.report.Level != Quick {
		scanned = v.startScan(ctx)
	}
	err = v.compare(ctx)
	if err := cmp.Or(scanned(), err); err != nil {
		return err
	}
	v.judge()
	v.countBad()
	return nil
}

// compare holds the files against each other.
func (v *verification) compare(ctx context.Context) error {
	v.checkDefinitions()
	if v.report.InUse {
		return nil
	}
	v.checkRollbackSegments()
	v.checkDictionary()
	return v.checkAria(ctx)
}

func (v *verification) countBad() {
	v.report.Bad = 0
	for _, f := range v.report.Findings {
		if f.Verdict == Fatal || f.Verdict == Repairable {
			v.report.Bad += f.Pages
		}
	}
}

func (v *verification) find(f Finding) { v.report.Add(f) }

// findFile is a finding about a file as a whole.
func (v *verification) findFile(verdict Verdict, code Code, file, expected, found string) {
	do := rebuild
	if verdict != Fatal {
		do = "look at it again when the server has recovered"
	}
	v.find(Finding{Verdict: verdict, Code: code, File: file, Page: -1, Expected: expected, Found: found, Do: do})
}

// wait holds reading to the rate.
func (v *verification) wait(ctx context.Context, bytes int) error {
	if v.limiter == nil {
		return ctx.Err()
	}
	return v.limiter.WaitN(ctx, min(bytes, chunkSize))
}
