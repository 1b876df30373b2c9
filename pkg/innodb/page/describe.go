package page

import (
	"encoding/binary"
	"fmt"
)

// Describe says in words what was expected of page no of tablespace space and
// what was found, after Check gave the result.
func (f *Format) Describe(p []byte, no, space uint32, result Result) (expected, found string) {
	switch result {
	case WrongNumber:
		return fmt.Sprintf("page number %d", no), fmt.Sprintf("page number %d of space %d", Number(p), SpaceID(p))
	case WrongSpace:
		return fmt.Sprintf("space id %d", space), fmt.Sprintf("space id %d", SpaceID(p))
	case BadLSN:
		return "one LSN at the page's start and end", "two: the page was written in part"
	case BadLength:
		return "the length of a compressed page", fmt.Sprintf("%d bytes", int(Type(p)&^compressedMark)<<8)
	case Blank:
		return "content, as the page is allocated", "zeros"
	case Newer:
		return "a change that the redo log knows", fmt.Sprintf("one at LSN %d", LSN(p))
	}
	if !f.Full && !f.MySQL && Type(p) == typeCompressed {
		return "content that decompresses to a page with its checksum", "other content"
	}
	sum, stored := f.sums(p)
	return fmt.Sprintf("checksum %08x", sum), fmt.Sprintf("checksum %08x", stored)
}

// sums gives the CRC-32C of a page and what is stored for it.
func (f *Format) sums(p []byte) (sum, stored uint32) {
	switch {
	case f.Full:
		size := len(p)
		if t := Type(p); t&compressedMark != 0 {
			size = min(size, max(int(t&^compressedMark)<<8, 4))
		}
		return crc(p[:size-4]), binary.BigEndian.Uint32(p[size-4:])
	case f.Zip:
		return crc(p[4:offLSN]) ^ crc(p[offType:offOldKey]) ^ crc(p[offSpace:]), binary.BigEndian.Uint32(p[offChecksum:])
	}
	return crc(p[4:offOldKey]) ^ crc(p[offData:len(p)-trailer]), binary.BigEndian.Uint32(p[offChecksum:])
}
