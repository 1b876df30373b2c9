package position

import "github.com/berth-dev/berth/pkg/innodb/redo"

// header is what a watched page says: TRX_SYS, or the header of a rollback segment.
type header struct {
	mark mark
	// segments are the header pages of the rollback segments; of TRX_SYS.
	segments []redo.Page
	// undo are the header pages of undo logs; of a rollback segment.
	undo []redo.Page
	// image is the page as the log changes it. It is nil of a page that the log does
	// not change: to keep the bytes of all 128 segments would cost more than to read
	// them.
	image *redo.Image
	// damaged says that the page is not whole in the data files, and has no copy. It
	// is fine if the log makes it anew.
	damaged bool
}

// header reads a watched page as the data files hold it.
func (s *spaces) header(p redo.Page) (*header, error) {
	bytes, err := s.sound(p)
	if err != nil {
		return nil, err
	}
	h := &header{}
	if bytes == nil {
		h.damaged = true
		h.image = redo.NewImage(p, make([]byte, s.byID[p.Space].Size))
		return h, nil
	}
	h.read(p, bytes)
	s.buffers.GiveBack(bytes)
	return h, nil
}

// read takes what matters from the bytes of the page.
func (h *header) read(p redo.Page, bytes []byte) {
	if p == trxSys {
		h.mark, h.segments = trxSysMark(bytes), segmentPages(bytes)
		return
	}
	h.mark, h.undo = segmentMark(bytes), undoLogs(p, bytes)
}

// lost says that the page is needed and nowhere to be had.
func (h *header) lost() bool { return h.damaged && !h.image.Initialised }
