package position

import (
	"context"
	"errors"
	"fmt"

	"github.com/berth-dev/berth/pkg/innodb/page"
	"github.com/berth-dev/berth/pkg/innodb/redo"
)

// Certainty says what an answer is worth.
type Certainty string

const (
	// Exact is the position that the server's recovery will find.
	Exact Certainty = "exact"
	// LowerBound is at most as high: the server may commit more transactions
	// (prepared ones), or the log seems to lack its end.
	LowerBound Certainty = "lower bound"
	// Unknown says nothing about the position: a format that is not read here, an
	// encrypted log, or damage. UUID and Seqno are then undefined.
	Unknown Certainty = "unknown"
)

// ZeroUUID is the uuid of a directory that knows no history.
const ZeroUUID = "00000000-0000-0000-0000-000000000000"

// Position is what a data directory says about itself.
type Position struct {
	// UUID of the history, ZeroUUID when there is none.
	UUID string `json:"uuid"`
	// Seqno of the last transaction that is committed in the files and the log, -1
	// when there is none.
	Seqno     int64     `json:"seqno"`
	Certainty Certainty `json:"certainty"`
	// Reason says why the position is not exact; it is empty when it is.
	Reason string `json:"reason,omitempty"`
	// Checkpoint and End are the part of the log that was read. The server's
	// recovery has to report the same end ("End of log at LSN").
	Checkpoint redo.LSN `json:"checkpoint,omitempty"`
	End        redo.LSN `json:"end,omitempty"`
	// Clean says that the server had stopped in order: the log holds nothing that
	// recovery would apply.
	Clean bool `json:"clean"`
	// Prepared counts transactions that are prepared and not committed. The server
	// decides on them by its binary log, or commits those that follow the position
	// without a gap.
	Prepared int `json:"prepared,omitempty"`
	// OnDisk is the seqno that the data files hold without the log; -1 when none.
	OnDisk int64 `json:"onDisk"`
}

// Most is the highest seqno that the server's recovery can answer: it commits
// prepared transactions that follow the position without a gap. It bounds
// nothing where the position is Unknown, or the log seems to lack its end.
func (p Position) Most() int64 { return p.Seqno + int64(p.Prepared) }

// Dirs are the places of the files. Only Data is needed; the others default to it.
type Dirs struct {
	Data string // datadir
	Log  string // innodb_log_group_home_dir
	Undo string // innodb_undo_directory
}

func (d Dirs) complete() Dirs {
	if d.Log == "" {
		d.Log = d.Data
	}
	if d.Undo == "" {
		d.Undo = d.Data
	}
	return d
}

// undefined is the answer when nothing is known.
func undefined(reason string) Position {
	return Position{UUID: ZeroUUID, Seqno: -1, OnDisk: -1, Certainty: Unknown, Reason: reason}
}

// errUnknown wraps what makes a position unknown, as opposed to errors of the
// system while reading.
var errUnknown = errors.New("position is not known")

func unknown(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{errUnknown}, args...)...)
}

// Read reads the position of a data directory. No server may run on it. The
// error is one of the system (permission, device) or of ctx, and says nothing
// about the data; everything that is wrong with the content is an answer with
// certainty Unknown and a reason.
func Read(ctx context.Context, dirs Dirs) (Position, error) {
	r := replay{buffers: &page.Buffers{}}
	return r.position(ctx, dirs.complete())
}

// Facts is what one pass over the log tells about a data directory.
type Facts struct {
	Position
	redo.Extent
	redo.Changes
	// Whole says that the log was read to its end, so that Extent and Changes are
	// right even when the position is not known for damage to pages.
	Whole bool
	// Log is the header of the log, as far as it was read.
	Log redo.Header
	// Fault is what makes the position Unknown. It is *redo.Damage when the log is
	// damaged, redo.ErrFormat when it is not read here.
	Fault error
}

// Examine reads the position, and along the way what the log will change. Pages are
// read into memory of buffers, which is theirs again afterwards.
func Examine(ctx context.Context, dirs Dirs, buffers *page.Buffers) (Facts, error) {
	f := Facts{}
	r := replay{changes: &f.Changes, buffers: buffers}
	p, err := r.position(ctx, dirs.complete())
	f.Position, f.Extent, f.Fault, f.Whole = p, r.extent, r.fault, r.whole
	if r.log != nil {
		f.Log = r.log.Header
	}
	return f, err
}
