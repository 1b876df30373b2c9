package redo

import "slices"

// filter is an Interest that can be asked quickly: nearly all records of a log
// are nobody's.
type filter struct {
	want Interest
	// numbers are the low bits of the wanted pages' numbers, so that the list of
	// pages is seldom searched.
	numbers [1 << 10]uint64
	headers []bool // by space id

	// Of the mini-transaction that is being asked about: whether a record was about
	// a page, whether the last such page is in one of the headers' tablespaces, and
	// where on it the last record ended, unless that is behind the header.
	inPages, inHeaders bool
	offset             int
	// made are its pages for Interest.Made.
	made []Page
}

// maxSpaceID bounds the ids of tablespaces that hold rollback segments: MariaDB
// gives them ids next to each other, in the order in which files are made.
const maxSpaceID = 1 << 16

func newFilter(want Interest) *filter {
	f := &filter{want: want}
	for _, p := range want.Pages {
		bit := p.Number % (64 * uint32(len(f.numbers)))
		f.numbers[bit/64] |= 1 << (bit % 64)
	}
	for _, id := range want.Headers {
		if id >= maxSpaceID {
			continue
		}
		for uint32(len(f.headers)) <= id {
			f.headers = append(f.headers, false)
		}
		f.headers[id] = true
	}
	return f
}

// wants says whether a record that begins with first and has this payload is
// wanted. All records of a mini-transaction have to be asked for in their order.
func (f *filter) wants(first byte, payload []byte) bool {
	kind := Kind(first & kindMask)
	if first&samePage != 0 {
		if f.inHeaders { // and nothing was written near the header yet
			return f.touches(kind, payload)
		}
		return f.want.Files && !f.inPages
	}
	f.inPages, f.inHeaders = true, false
	space, n := varint(payload)
	if n == 0 {
		return false
	}
	number, k := varint(payload[n:])
	if kind <= InitPage && f.want.Made != nil {
		f.made = append(f.made, Page{space, number})
	}
	bit := number % (64 * uint32(len(f.numbers)))
	if f.numbers[bit/64]>>(bit%64)&1 != 0 && slices.Contains(f.want.Pages, Page{space, number}) {
		return true
	}
	if int64(space) >= int64(len(f.headers)) || !f.headers[space] {
		return false
	}
	f.inHeaders, f.offset = true, 0
	return f.touches(kind, payload[n+k:])
}

// touches says whether a record begins in the page's header, and notes where the
// next one on the page would go on.
func (f *filter) touches(kind Kind, data []byte) bool {
	switch kind {
	case InitPage:
		return true
	case Extended:
		f.offset = filPageType
	case Write, MemSet, MemMove:
		distance, n := varint(data)
		if n > 0 && f.offset+int(distance) < HeaderSize {
			return true
		}
		f.offset = HeaderSize
	}
	return false
}

// begin prepares for the records of another mini-transaction.
func (f *filter) begin() { f.inPages, f.inHeaders, f.made = false, false, f.made[:0] }

// commit is called when the mini-transaction was found to be whole.
func (f *filter) commit() {
	for _, p := range f.made {
		f.want.Made.add(p)
	}
}
