package position

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/berth-dev/berth/pkg/innodb/page"
	"github.com/berth-dev/berth/pkg/innodb/redo"
)

// Offset of an undo log's state in its header page, and the state of a prepared
// transaction (trx0undo.h). Both bytes of the state are below 256.
const (
	undoStateByte = 57
	undoPrepared  = 5
)

// undoState is the state of an undo log as the log last set it.
type undoState struct {
	state byte
	end   redo.LSN // of the mini-transaction
}

// replay brings the pages that matter up to date.
type replay struct {
	log     *redo.Log
	spaces  *spaces
	buffers *page.Buffers
	// headers are the pages that are watched: TRX_SYS, and the headers of the
	// rollback segments.
	headers map[redo.Page]*header
	undo    map[redo.Page]undoState
	// undoCut says that there were more undo pages than could be remembered.
	undoCut bool
	extent  redo.Extent
	onDisk  mark
	// changes takes what else is wanted of the log; it can be nil.
	changes *redo.Changes
	// fault is why the position is not known.
	fault error
	// whole says that the log was read to its end, whatever the pages are like.
	whole bool
}

// position reads the log and sorts errors: those of the content are an answer.
func (r *replay) position(ctx context.Context, dirs Dirs) (Position, error) {
	p, err := r.read(ctx, dirs)
	var damage *redo.Damage
	switch {
	case err == nil:
		return p, nil
	case errors.As(err, &damage), errors.Is(err, redo.ErrFormat), errors.Is(err, errUnknown):
		r.fault = err
		return undefined(err.Error()), nil
	}
	return undefined(err.Error()), fmt.Errorf("read position: %w", err)
}

func (r *replay) read(ctx context.Context, dirs Dirs) (p Position, err error) {
	r.undo = map[redo.Page]undoState{}
	r.log, err = redo.Open(dirs.Log)
	if err != nil {
		return Position{}, missing(err, redo.FileName)
	}
	defer func() { err = errors.Join(err, r.log.Close()) }()
	r.spaces, err = openSpaces(dirs, r.buffers)
	if err != nil {
		return Position{}, err
	}
	defer func() { err = errors.Join(err, r.spaces.close()) }()
	if err := r.run(ctx); err != nil {
		return Position{}, err
	}
	return r.answer()
}

// run reads the log until the rollback segments that were watched are those that
// the TRX_SYS page names at the end. That takes a second pass only when segments
// were made since the checkpoint.
func (r *replay) run(ctx context.Context) error {
	// Where the copies of torn pages are is read off a page that can be torn itself.
	raw, _, err := r.spaces.read(trxSys)
	if err != nil {
		return err
	}
	r.spaces.findCopies(raw)
	sys, err := r.spaces.sound(trxSys)
	if err != nil {
		return err
	}
	if sys == nil {
		return r.blind(ctx, unknown("the TRX_SYS page is damaged and has no copy"))
	}
	watched := segmentPages(sys)
	r.buffers.GiveBack(raw)
	r.buffers.GiveBack(sys)
	for range 3 {
		if err := r.load(watched); errors.Is(err, errUnknown) {
			return r.blind(ctx, err)
		} else if err != nil {
			return err
		}
		if err := r.scan(ctx); err != nil {
			return err
		}
		now := r.headers[trxSys].segments
		if !slices.ContainsFunc(now, func(p redo.Page) bool { return r.headers[p] == nil }) {
			return nil
		}
		watched = now
	}
	return unknown("the list of rollback segments does not settle")
}

// blind reads the log for what else it tells, when the position cannot be known.
func (r *replay) blind(ctx context.Context, why error) error {
	r.headers = map[redo.Page]*header{}
	return cmp.Or(r.scan(ctx), why)
}

// load reads the watched pages as the data files hold them.
func (r *replay) load(watched []redo.Page) error {
	r.headers, r.onDisk = map[redo.Page]*header{}, mark{}
	for _, p := range append([]redo.Page{trxSys}, watched...) {
		h, err := r.spaces.header(p)
		if err != nil {
			return err
		}
		r.headers[p] = h
		r.onDisk = newer(r.onDisk, h.mark)
	}
	return nil
}

func (r *replay) scan(ctx context.Context) error {
	want := redo.Interest{}
	for id := range r.spaces.byID {
		want.Headers = append(want.Headers, id)
	}
	for p := range r.headers {
		want.Pages = append(want.Pages, p)
	}
	if r.changes != nil {
		want = r.changes.Interest(want)
	}
	var err error
	r.extent, err = r.log.Scan(ctx, want, r.take)
	if err != nil {
		return err
	}
	for p, h := range r.headers {
		if h.image != nil {
			h.read(p, h.image.Bytes)
		}
	}
	if !r.log.Whole(r.extent) {
		return unknown("the redo log ends at LSN %d, before what confirms its checkpoint %d", r.extent.End, r.extent.Checkpoint)
	}
	r.whole = true
	return nil
}

// take applies a mini-transaction to the watched pages and notes what it does to
// the state of undo logs.
func (r *replay) take(m redo.Mtr) error {
	if r.changes != nil {
		r.changes.Take(m)
	}
	var image *redo.Image
	var err error
	offset, fits := 0, true
	ok := m.Records(func(rec redo.Record) {
		if rec.Kind >= redo.FileCreate || err != nil {
			return
		}
		if !rec.Same {
			offset = 0
			if image, err = r.image(rec.Page); err != nil {
				return
			}
		}
		if image != nil {
			fits = image.Take(m, rec) && fits
		} else {
			r.noteUndo(rec, &offset, m.End)
		}
	})
	switch {
	case err != nil:
		return err
	case !ok:
		return unknown("a record of the redo log at LSN %d makes no sense", m.Start)
	case !fits:
		return unknown("the redo log at LSN %d does not fit a rollback segment", m.Start)
	}
	return nil
}

// image is a watched page for the log to change; nil for other pages.
func (r *replay) image(p redo.Page) (*redo.Image, error) {
	h := r.headers[p]
	if h == nil {
		return nil, nil
	}
	if h.image == nil {
		bytes, err := r.spaces.sound(p)
		switch {
		case err != nil:
			return nil, err
		case bytes == nil:
			return nil, unknown("page %d of tablespace %d changed while it was read", p.Number, p.Space)
		}
		h.image = redo.NewImage(p, bytes)
	}
	return h.image, nil
}

// noteUndo follows the byte of a page that is an undo log's state, should the
// page turn out to be one.
func (r *replay) noteUndo(rec redo.Record, offset *int, end redo.LSN) {
	first, behind, data := rec.Span(*offset)
	*offset = behind
	switch {
	case rec.Kind == redo.InitPage:
		r.setUndo(rec.Page, undoState{0, end})
	case first <= undoStateByte && undoStateByte < behind && data != nil:
		r.setUndo(rec.Page, undoState{data[(undoStateByte-first)%len(data)], end})
	}
}

// maxUndo bounds the pages whose state is remembered, to about 30 MB.
const maxUndo = 1 << 19

func (r *replay) setUndo(p redo.Page, state undoState) {
	if _, found := r.undo[p]; !found && len(r.undo) >= maxUndo {
		r.undoCut = true
		return
	}
	r.undo[p] = state
}

// lost says that a page is needed and not there.
func lost(p redo.Page) error {
	return unknown("page %d of tablespace %d is damaged, has no copy, and is not made by the redo log", p.Number, p.Space)
}

// answer reads the position off the pages.
func (r *replay) answer() (Position, error) {
	last := mark{}
	answer := Position{Certainty: Exact, Checkpoint: r.extent.Checkpoint, End: r.extent.End, Clean: r.extent.Changes == 0}
	for p, h := range r.headers {
		if h.lost() {
			return Position{}, lost(p)
		}
		last = newer(last, h.mark)
		n, err := r.prepared(h)
		if err != nil {
			return Position{}, err
		}
		answer.Prepared += n
	}
	answer.UUID, answer.Seqno = last.position()
	_, answer.OnDisk = r.onDisk.position()
	switch {
	case r.extent.Beyond != 0:
		answer.Certainty = LowerBound
		answer.Reason = fmt.Sprintf("the redo log ends at LSN %d, but goes on at %d: its middle is damaged, or a power cut tore the last write", answer.End, r.extent.Beyond)
	case r.undoCut:
		answer.Certainty = LowerBound
		answer.Reason = "the redo log changes so many undo pages that prepared transactions were not counted"
	case answer.Prepared > 0:
		answer.Certainty = LowerBound
		answer.Reason = fmt.Sprintf("%d transactions are prepared; the server decides on them", answer.Prepared)
	}
	return answer, nil
}

// prepared counts the undo logs of a rollback segment that belong to prepared
// transactions.
func (r *replay) prepared(segment *header) (int, error) {
	n := 0
	for _, p := range segment.undo {
		bytes, err := r.spaces.sound(p)
		if err != nil {
			return 0, err
		}
		noted, found := r.undo[p]
		switch {
		case found && (bytes == nil || uint64(noted.end) > page.LSN(bytes)):
		case bytes == nil:
			return 0, lost(p)
		default:
			noted.state = bytes[undoStateByte]
		}
		r.buffers.GiveBack(bytes)
		if noted.state == undoPrepared {
			n++
		}
	}
	return n, nil
}
