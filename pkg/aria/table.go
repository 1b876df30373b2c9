package aria

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
)

// Header is what the index file of a table (.MAI) says about both its files.
type Header struct {
	// Paged is set for tables whose rows lie in pages (ROW_FORMAT=PAGE); others have
	// no checksums in the data file.
	Paged bool
	// Checksums is the table option PAGE_CHECKSUM.
	Checksums bool
	// Encrypted tables are not checked.
	Encrypted bool
	BlockSize int
	// IndexStart is where in the index file its pages begin.
	IndexStart int64
	// IndexSize and DataSize are the sizes of the files in bytes. They are exact
	// after an orderly shutdown or recovery.
	IndexSize, DataSize int64
	// Open is set when the table was in use, and Crashed when it was found to be
	// damaged before.
	Open, Crashed bool

	keyHeader int
}

// Layout of an index file (ma_open.c). Numbers are big-endian.
const (
	headerOptions  = 4
	headerBase     = 12 // where the base information is
	headerDataType = 22
	stateOpen      = 24
	stateChanged   = 26
	stateIndexSize = 89
	stateDataSize  = 97
	headerEnd      = 105

	baseKeyStart      = 16
	baseExtra         = 90
	baseBlockSize     = 100
	baseTransactional = 106
	baseEnd           = 107

	optionChecksums = 1 << 11
	extraEncrypted  = 1 << 0
	changedCrashed  = 1 << 1
	dataInPages     = 3

	// Size of the header of an index page without and with transactions.
	keyHeader      = 4
	keyHeaderTrans = 4 + 7 + 6
)

var tableMagic = []byte{0xfe, 0xfe, 0x09, 0x03}

// ParseHeader reads the beginning of an index file. 4096 bytes are enough. The
// error is always *Damage.
func ParseHeader(b []byte) (Header, error) {
	if len(b) < headerEnd || !bytes.HasPrefix(b, tableMagic) {
		return Header{}, &Damage{"the header of an Aria table", fmt.Sprintf("%d bytes that begin with % x", len(b), b[:min(len(b), 4)])}
	}
	at := int(binary.BigEndian.Uint16(b[headerBase:]))
	if len(b) < at+baseEnd {
		return Header{}, &Damage{"the table's description", fmt.Sprintf("a pointer to byte %d", at)}
	}
	base := b[at : at+baseEnd]
	changed := binary.BigEndian.Uint16(b[stateChanged:])
	h := Header{
		Paged:      b[headerDataType] == dataInPages,
		Checksums:  binary.BigEndian.Uint16(b[headerOptions:])&optionChecksums != 0,
		Encrypted:  binary.BigEndian.Uint16(base[baseExtra:])&extraEncrypted != 0,
		BlockSize:  int(binary.BigEndian.Uint16(base[baseBlockSize:])),
		IndexStart: int64(binary.BigEndian.Uint64(base[baseKeyStart:])),
		IndexSize:  int64(binary.BigEndian.Uint64(b[stateIndexSize:])),
		DataSize:   int64(binary.BigEndian.Uint64(b[stateDataSize:])),
		Open:       binary.BigEndian.Uint16(b[stateOpen:]) != 0,
		Crashed:    changed&changedCrashed != 0,
		keyHeader:  keyHeader,
	}
	if base[baseTransactional] != 0 {
		h.keyHeader = keyHeaderTrans
	}
	size := int64(h.BlockSize)
	if size < 1<<10 || size > 32<<10 || size&(size-1) != 0 || h.IndexStart < size || h.IndexStart%size != 0 || h.IndexSize < 0 || h.DataSize < 0 {
		return h, &Damage{"a block size and sizes of files", fmt.Sprintf("blocks of %d bytes, index from byte %d to %d, data to %d", size, h.IndexStart, h.IndexSize, h.DataSize)}
	}
	return h, nil
}

// Pages is what was found in the pages of one file.
type Pages struct {
	Checked int64
	// Blank pages hold zeros although they are in use. Before recovery they can be
	// pages that were not written yet.
	Blank []int64
	// Bad pages have another checksum than their content; the first 64.
	Bad []int64
}

// maxListed bounds the pages that are named.
const maxListed = 64

// Checker reads the files of tables, one after the other into the same memory. The
// zero value is ready.
type Checker struct{ page, bitmap []byte }

// Data reads the data file of a table. The error is the reader's.
func (c *Checker) Data(h Header, r io.Reader) (Pages, error) {
	if !h.Paged {
		return Pages{}, nil
	}
	// A bitmap page covers 16 pages with each 6 bytes, and itself.
	covered := int64(h.BlockSize-4)/6*16 + 1
	return c.check(h, r, 0, func(page []byte, no int64) kind {
		if no%covered == 0 {
			c.bitmap = append(c.bitmap[:0], page...)
			return kind{sum: h.BlockSize - 4, bitmap: true}
		}
		// Three bits a page; 0 is a page without rows, which need not be written.
		bit := (no%covered - 1) * 3
		used := binary.LittleEndian.Uint16(c.bitmap[bit/8:])>>(bit%8)&7 != 0
		return kind{sum: h.BlockSize - 4, used: used}
	})
}

// Index reads the index file of a table, from its beginning. The error is the
// reader's.
func (c *Checker) Index(h Header, r io.Reader) (Pages, error) {
	if _, err := io.CopyN(io.Discard, r, h.IndexStart); err != nil {
		return Pages{}, ignoreEnd(err)
	}
	return c.check(h, r, h.IndexStart/int64(h.BlockSize), func(page []byte, no int64) kind {
		return kind{sum: int(binary.BigEndian.Uint16(page[h.keyHeader-2:])), used: true}
	})
}

// kind is what a page is for.
type kind struct {
	sum    int // how many of its first bytes the checksum covers
	bitmap bool
	used   bool
}

// check compares the checksums of pages from number first on.
func (c *Checker) check(h Header, r io.Reader, first int64, kindOf func(page []byte, no int64) kind) (Pages, error) {
	var p Pages
	if !h.Checksums || h.Encrypted {
		return p, nil
	}
	c.page = slices.Grow(c.page[:0], h.BlockSize)
	b := c.page[:h.BlockSize]
	for no := first; ; no++ {
		if _, err := io.ReadFull(r, b); err != nil {
			return p, ignoreEnd(err)
		}
		p.Checked++
		k := kindOf(b, no)
		switch {
		case isZero(b):
			if k.used && len(p.Blank) < maxListed {
				p.Blank = append(p.Blank, no)
			}
		case !k.matches(b, no) && len(p.Bad) < maxListed:
			p.Bad = append(p.Bad, no)
		}
	}
}

// Values in place of a checksum that mean that there is none.
const (
	noChecksumBitmap = 0xfffffffe
	noChecksum       = 0xffffffff
)

// matches compares a page with its checksum, which starts with the page's number
// and avoids the special values.
func (k kind) matches(b []byte, no int64) bool {
	stored := binary.LittleEndian.Uint32(b[len(b)-4:])
	switch {
	case stored == noChecksum:
		return !k.bitmap
	case stored == noChecksumBitmap:
		return k.bitmap
	case k.sum > len(b)-4:
		return false
	}
	return min(crc32.Update(uint32(no), crc32.IEEETable, b[:k.sum]), noChecksumBitmap-1) == stored
}

func ignoreEnd(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}
