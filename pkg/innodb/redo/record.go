package redo

import "encoding/binary"

// Kind is what a record does to its page (mtr0types.h, mrec_type_t).
type Kind byte

const (
	FreePage Kind = 0x00
	InitPage Kind = 0x10 // zeroes the page
	Extended Kind = 0x20 // a change to the records of an index or undo page
	Write    Kind = 0x30
	MemSet   Kind = 0x40
	MemMove  Kind = 0x50
	Reserved Kind = 0x60
	Option   Kind = 0x70 // may be ignored

	// Records about files (mfile_type_t).
	FileCreate     Kind = 0x80
	FileDelete     Kind = 0x90
	FileRename     Kind = 0xa0
	FileModify     Kind = 0xb0
	FileCheckpoint Kind = 0xf0
)

const (
	kindMask = 0x70
	samePage = 0x80 // in the first record: a file operation
)

// maxMtr is the size in bytes from which on the server does not read a
// mini-transaction (log0recv.h, MTR_SIZE_MAX).
const maxMtr = 1 << 20

// Page names a page of a tablespace.
type Page struct{ Space, Number uint32 }

// Record is one change of a mini-transaction.
type Record struct {
	Kind Kind
	Page Page
	// Same is set when the page is that of the record before: offsets then
	// continue where that one ended.
	Same bool
	// Data is what follows the page's identity, for example for Write an offset
	// and the bytes to write. It is valid during the visit only.
	Data []byte
}

// Mtr is a mini-transaction: records that take effect together.
type Mtr struct {
	Start, End LSN
	records    []byte // up to the end marker, exclusive
}

// Records walks the records in order. It stops at the first that makes no
// sense; the answer says whether all did.
func (m Mtr) Records(visit func(Record)) bool {
	b := m.records
	var page Page
	inPages := false
	for len(b) > 0 {
		first := b[0]
		payload, rest, ok := cutRecord(b)
		if !ok {
			return false
		}
		r := Record{Kind: Kind(first & kindMask), Data: payload}
		switch {
		case first&samePage != 0 && inPages:
			r.Same, r.Page = true, page
		default:
			space, n := varint(payload)
			number, k := varint(payload[n:])
			if n == 0 || k == 0 {
				// FILE_CHECKPOINT with nothing but zeros is padding.
				if Kind(first&0xf0) != FileCheckpoint || !isZero(payload) {
					return false
				}
			}
			page = Page{space, number}
			r.Page, r.Data = page, payload[n+k:]
			if first&samePage != 0 {
				r.Kind = Kind(first & 0xf0)
			} else {
				inPages = true
			}
		}
		visit(r)
		b = rest
	}
	return true
}

// cutRecord separates the payload of the first record from what follows it.
func cutRecord(b []byte) (payload, rest []byte, ok bool) {
	length, at := int(b[0]&0xf), 1
	if length == 0 {
		extra, n := varint(b[1:])
		if n == 0 || extra >= maxMtr {
			return nil, nil, false
		}
		length, at = int(extra)+15-n, 1+n
	}
	if length < 0 || at+length > len(b) {
		return nil, nil, false
	}
	return b[at : at+length], b[at+length:], true
}

// varint decodes a number of one to five bytes. Zero bytes mean that there is
// none.
func varint(b []byte) (value uint32, size int) {
	if len(b) == 0 {
		return 0, 0
	}
	const min2, min3, min4, min5 = 0x80, 0x4080, 0x204080, 0x10204080
	first := uint32(b[0])
	switch {
	case first < 0x80:
		return first, 1
	case first < 0xc0 && len(b) >= 2:
		return min2 + (first&0x3f)<<8 + uint32(b[1]), 2
	case first >= 0xc0 && first < 0xe0 && len(b) >= 3:
		return min3 + (first&0x1f)<<16 + uint32(b[1])<<8 + uint32(b[2]), 3
	case first >= 0xe0 && first < 0xf0 && len(b) >= 4:
		return min4 + (first&0xf)<<24 + uint32(b[1])<<16 + uint32(b[2])<<8 + uint32(b[3]), 4
	case first == 0xf0 && len(b) >= 5:
		if v := binary.BigEndian.Uint32(b[1:]); v <= 0xffffffff-min5 {
			return min5 + v, 5
		}
	}
	return 0, 0
}
