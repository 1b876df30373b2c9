package innodb

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/berth-dev/berth/pkg/innodb/position"
	"github.com/berth-dev/berth/pkg/innodb/redo"
)

// readLog reads the redo log and with it the position.
func (v *verification) readLog(ctx context.Context) error {
	var err error
	v.log, err = position.Examine(ctx, position.Dirs{Data: v.dir, Log: v.opt.LogDir, Undo: v.opt.UndoDir}, &v.buffers)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		v.find(unreadable(redo.FileName, err))
		return nil
	}
	v.report.Position = &v.log.Position
	var damage *redo.Damage
	fault := v.log.Fault
	switch {
	case fault == nil:
	case errors.Is(fault, fs.ErrNotExist):
		// checkMandatory says so.
	case errors.As(fault, &damage):
		v.findFile(Fatal, RedoLog, redo.FileName, damage.Expected, fmt.Sprintf("%s at byte %d", damage.Found, damage.Offset))
	case v.log.Whole:
		v.find(Finding{Verdict: NotVerified, Code: UndoHeader, File: "ibdata1", Page: -1, Expected: "the position in the rollback segments",
			Found: fault.Error(), Do: "see the findings on these pages and files"})
	default:
		v.find(Finding{Verdict: NotVerified, Code: FormatUnknown, File: redo.FileName, Page: -1, Expected: "a redo log that can be read here",
			Found: fault.Error(), Do: "let the server recover, then check again; the position is not known before that"})
	}
	v.judgeExtent()
	if !v.logRead {
		v.report.Recovered = v.opt.Recovered
	}
	return nil
}

// judgeExtent says whether the log ends where it should, as far as the log itself
// tells. A log that ends early on a whole mini-transaction does not differ from a
// complete one; the LSNs of pages can tell (see scan).
func (v *verification) judgeExtent() {
	log := &v.log
	if bad := log.Log.BadCheckpoint; bad != nil {
		v.find(Finding{Verdict: Repairable, Heals: true, Code: RedoLog, File: redo.FileName, Page: -1, Expected: bad.Expected,
			Found: fmt.Sprintf("%s at byte %d", bad.Found, bad.Offset), Do: "nothing: the other checkpoint counts, and the server writes this one anew"})
	}
	if log.Extent.End == 0 {
		return
	}
	if log.Confirmed == 0 {
		v.findFile(Fatal, RedoLog, redo.FileName, fmt.Sprintf("the record that confirms checkpoint %d", log.Extent.Checkpoint),
			fmt.Sprintf("an end of the log at %d, before it", log.Extent.End))
		return
	}
	v.logRead = log.Whole
	v.report.Recovered = v.logRead && log.Extent.Changes == 0
	if log.Beyond != 0 {
		v.find(Finding{Verdict: NotVerified, Code: RedoCut, File: redo.FileName, Page: -1, Expected: "nothing behind the end of the log",
			Found: fmt.Sprintf("whole mini-transactions at %d, behind the end at %d", log.Beyond, log.Extent.End),
			Do:    "compare the position with other members and with galera.cache: either a power cut tore the last write, which nobody was told of, or the log is damaged in its middle and transactions are missing"})
	}
}

// excused says whether the log will still change the file of that name or space,
// so that dictionary and files need not agree yet.
func (v *verification) excused(name string, space uint32) bool {
	if v.report.Recovered {
		return false
	}
	if !v.logRead || v.log.FilesCut {
		return true
	}
	for _, c := range v.log.Files {
		if c.Kind != redo.FileModify && (c.Space == space || fileName(c.Name) == name || fileName(c.To) == name) {
			return true
		}
	}
	return false
}

// made says whether the log makes or frees the page, so that recovery does not
// read it; known is false when that cannot be told.
func (v *verification) made(space, no uint32) (made, known bool) {
	switch {
	case v.report.Recovered:
		return false, true
	case !v.logRead:
		return false, false
	}
	made = v.log.Made.Has(redo.Page{Space: space, Number: no})
	return made, made || v.log.Made.Complete()
}

// fileName turns a name of the log into that of a finding.
func fileName(logged string) string {
	return strings.TrimPrefix(filepath.Clean(logged), "./")
}
