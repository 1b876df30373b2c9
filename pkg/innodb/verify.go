package innodb

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// Verify looks at the data directory dir and says what is wrong with it. An
// error means that it could not be looked at, or that ctx ended: the report is
// then incomplete and has no verdict. It never writes and never takes a lock;
// of a directory that a server has open it does not judge what may change.
func Verify(ctx context.Context, dir string, opt Options) (Report, error) {
	r := Report{Dir: dir, Level: opt.level(), Findings: []Finding{}}
	if info, err := os.Stat(dir); err != nil {
		return r, fmt.Errorf("verify: %w", err)
	} else if !info.IsDir() {
		return r, fmt.Errorf("verify: %s is not a directory", dir)
	}
	r.InUse = inUse(dir)
	l, err := look(dir, opt, &r)
	if err != nil {
		return r, err
	}
	if r.InUse {
		r.find(Finding{Verdict: NotVerified, Code: InUse, File: ".", Page: -1, Expected: "a directory without a running server",
			Found: "a server that has it open", Do: "check again when the server has stopped; what it may be writing is not judged"})
	}
	l.checkHeaders(opt, &r)
	if r.Level != Quick {
		s := newScan(l, opt, &r)
		if err := s.run(ctx); err != nil {
			return r, fmt.Errorf("verify %s: %w", filepath.Clean(dir), err)
		}
		s.report()
	}
	r.Verdict = Worse(r.Verdict, Fine)
	return r, ctx.Err()
}
