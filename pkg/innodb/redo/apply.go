package redo

import "encoding/binary"

// Offsets in a page header that records must not change, or set.
const (
	filPageNumber  = 4
	filPagePrev    = 8
	filPageLSN     = 16
	filPageType    = 24
	filPageSpaceID = 34
)

// noSame marks that the next record must not continue at the former offset.
const noSame = 1

// Image is a page that is brought up to date from the log.
type Image struct {
	Page Page
	// Bytes of the page. They are the page as the data file holds it, or zeros.
	Bytes []byte
	// LSN up to which the bytes contain all changes.
	LSN LSN
	// Initialised is set when the log holds the page's beginning, so that the
	// data file is not needed for it.
	Initialised bool

	taking LSN // the end of the mini-transaction whose records are being taken
	offset int // where the last record ended
}

// NewImage takes the page as a data file holds it.
func NewImage(page Page, bytes []byte) *Image {
	return &Image{Page: page, Bytes: bytes, LSN: LSN(binary.BigEndian.Uint64(bytes[filPageLSN:]))}
}

// Take applies a record of the mini-transaction m that is about the page. Records
// have to come in the order of the log. Those of a mini-transaction that the page
// has seen already are passed over. It answers false when a record does not fit
// the page, or changes the records of an index or undo page, which is not done
// here; the image is then of no use.
func (g *Image) Take(m Mtr, r Record) bool {
	if m.End <= g.LSN && m.End != g.taking {
		return true
	}
	g.taking, g.LSN = m.End, m.End
	ok := g.apply(r)
	binary.BigEndian.PutUint64(g.Bytes[filPageLSN:], uint64(m.End))
	return ok
}

func (g *Image) apply(r Record) bool {
	if !r.Same {
		g.offset = 0
	}
	switch r.Kind {
	case Option, Reserved:
		return true
	case FreePage:
		g.offset = noSame
		return true
	case InitPage:
		clear(g.Bytes)
		binary.BigEndian.PutUint32(g.Bytes[filPageNumber:], g.Page.Number)
		binary.BigEndian.PutUint64(g.Bytes[filPagePrev:], 1<<64-1)
		binary.BigEndian.PutUint32(g.Bytes[filPageSpaceID:], g.Page.Space)
		g.offset, g.Initialised = filPageType, true
		return true
	case Extended:
		return false
	}
	return g.change(r)
}

// change applies a record that has an offset: Write, MemSet or MemMove.
func (g *Image) change(r Record) bool {
	distance, n := varint(r.Data)
	if n == 0 || n > 3 || g.offset == noSame {
		return false
	}
	data, at := r.Data[n:], g.offset+int(distance)
	if at < filPagePrev || at >= len(g.Bytes) {
		return false
	}
	if r.Kind == Write {
		if len(data) == 0 || at+len(data) > len(g.Bytes) {
			return false
		}
		g.offset = at + copy(g.Bytes[at:], data)
		return true
	}
	length, n := varint(data)
	if n == 0 || n > 3 || at+int(length) > len(g.Bytes) {
		return false
	}
	data = data[n:]
	target := g.Bytes[at : at+int(length)]
	g.offset = at + int(length)
	if r.Kind == MemSet {
		if len(data) == 0 || len(data) > len(target) {
			return false
		}
		for n := 0; n < len(target); {
			n += copy(target[n:], data)
		}
		return true
	}
	source, n := varint(data)
	if n == 0 || n != len(data) {
		return false
	}
	from := at + int(source>>1) + 1
	if source&1 != 0 {
		from = at - int(source>>1) - 1
	}
	if from < filPagePrev || from+len(target) > len(g.Bytes) {
		return false
	}
	copy(target, g.Bytes[from:])
	return true
}

// Span gives the bytes of the page that a Write or MemSet changes, when the
// record before it on the same page ended at offset: the first, the one behind
// the last, and what is written, which a MemSet repeats. Other records have no
// data; where they end is as for the next record.
func (r Record) Span(offset int) (first, behind int, data []byte) {
	if !r.Same {
		offset = 0
	}
	switch r.Kind {
	case InitPage, Extended:
		return filPageType, filPageType, nil
	case Write, MemSet, MemMove:
	default:
		return offset, offset, nil
	}
	distance, n := varint(r.Data)
	if n == 0 {
		return offset, offset, nil
	}
	first, data = offset+int(distance), r.Data[n:]
	if r.Kind == Write {
		return first, first + len(data), data
	}
	length, n := varint(data)
	if n == 0 {
		return first, first, nil
	}
	if r.Kind == MemMove {
		return first, first + int(length), nil
	}
	if data = data[n:]; len(data) == 0 {
		data = nil
	}
	return first, first + int(length), data
}
