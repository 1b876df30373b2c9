package datadir

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// Offsets in the first page of a tablespace (MariaDB, storage/innobase/include
// fil0fil.h and fsp0fsp.h).
const (
	filPageOffset  = 4  // page number, 0 on the first page
	filPageSpaceID = 34 // space id in the page header
	fspSpaceID     = 38 // space id in the tablespace header
	fspSize        = 46 // size in pages
	fspFlags       = 54
	fspHeaderEnd   = 58
)

// checkFirstPage compares the header of a tablespace with its file's size in
// bytes. It answers two empty strings when they fit, else what was expected and
// what was found.
func checkFirstPage(header []byte, size int64) (expected, found string) {
	if len(header) < fspHeaderEnd {
		return "at least one page", fmt.Sprintf("%d bytes", size)
	}
	if len(bytes.Trim(header, "\x00")) == 0 {
		return "a tablespace header", "zeros"
	}
	flags := binary.BigEndian.Uint32(header[fspFlags:])
	pageSize, err := pageSizeOf(flags)
	if err != nil {
		return "known space flags", err.Error()
	}
	if number := binary.BigEndian.Uint32(header[filPageOffset:]); number != 0 {
		return "page number 0 on the first page", fmt.Sprintf("page number %d", number)
	}
	inPage, inHeader := binary.BigEndian.Uint32(header[filPageSpaceID:]), binary.BigEndian.Uint32(header[fspSpaceID:])
	if inPage != inHeader {
		return fmt.Sprintf("space id %d in the tablespace header as in the page header", inPage), fmt.Sprintf("space id %d", inHeader)
	}
	if size < pageSize || size%pageSize != 0 {
		return fmt.Sprintf("a multiple of the page size %d", pageSize), fmt.Sprintf("%d bytes", size)
	}
	if pages := int64(binary.BigEndian.Uint32(header[fspSize:])); pages*pageSize > size {
		return fmt.Sprintf("%d pages of %d bytes, as the header says", pages, pageSize), fmt.Sprintf("%d bytes, %d pages too short", size, pages-size/pageSize)
	}
	return "", ""
}

// pageSizeOf gives the physical page size in bytes of a tablespace's flags, in
// both formats that MariaDB 10.5 and later writes: full_crc32 (bit 4 set) and
// the old one, which ROW_FORMAT=COMPRESSED still uses.
func pageSizeOf(flags uint32) (int64, error) {
	unknown := fmt.Errorf("flags 0x%x", flags)
	if flags&(1<<4) != 0 { // full_crc32
		shift := flags & 0xf
		if shift < 3 || shift > 7 || flags>>5 > 6 {
			return 0, unknown
		}
		return 512 << shift, nil
	}
	if flags&0xf800 != 0 { // bits 11 to 15 are MySQL's
		return 0, unknown
	}
	if zip := flags >> 1 & 0xf; zip != 0 {
		if zip > 5 {
			return 0, unknown
		}
		return 512 << zip, nil
	}
	switch shift := flags >> 6 & 0xf; shift {
	case 0:
		return 16 << 10, nil
	case 3, 4, 6, 7:
		return 512 << shift, nil
	}
	return 0, unknown
}
