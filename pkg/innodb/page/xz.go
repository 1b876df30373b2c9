package page

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"hash/crc64"

	"github.com/ulikunitz/xz/lzma"
)

var errXZ = errors.New("not an .xz stream of one page")

// Parts of an .xz file (its specification, version 1.2.1).
const (
	xzHeader = 12 // also the footer's size
	xzMagic  = "\xfd7zXZ\x00"
	xzEnd    = "YZ"
)

// unxz reads an .xz stream of one block, as the server writes one for a page, and
// its checksums. A library's reader would make a dictionary of the size that the
// header asks for, many megabytes for every page; one of a page's size is enough.
func unxz(dst, src []byte) (int, error) {
	if len(src) < 3*xzHeader || string(src[:6]) != xzMagic || !sealed(src[6:xzHeader]) {
		return 0, errXZ
	}
	check, flags := src[7]&0xf, src[6:8]
	block := src[xzHeader:]
	header := (int(block[0]) + 1) * 4
	if len(block) < header || !sealed(block[:header]) {
		return 0, errXZ
	}
	in := bytes.NewReader(block[header:])
	r, err := lzma.Reader2Config{DictCap: MaxSize}.NewReader2(in)
	if err != nil {
		return 0, err
	}
	n, err := readAll(r, dst)
	if err != nil {
		return 0, err
	}
	rest := block[len(block)-in.Len():]
	if pad := (len(block) - len(rest)) % 4; pad != 0 {
		if len(rest) < 4-pad || !IsZero(rest[:4-pad]) {
			return 0, errXZ
		}
		rest = rest[4-pad:]
	}
	if rest = checked(check, dst[:n], rest); len(rest) < xzHeader+8 {
		return 0, errXZ
	}
	index, footer := rest[:len(rest)-xzHeader], rest[len(rest)-xzHeader:]
	stored := binary.LittleEndian.Uint32(footer)
	if !sealed(index) || crc32.ChecksumIEEE(footer[4:10]) != stored || string(footer[10:]) != xzEnd || !bytes.Equal(footer[8:10], flags) {
		return 0, errXZ
	}
	return n, nil
}

// sealed says whether p ends with the CRC-32 of what is before.
func sealed(p []byte) bool {
	end := len(p) - 4
	return crc32.ChecksumIEEE(p[:end]) == binary.LittleEndian.Uint32(p[end:])
}

// checked takes the block's checksum off, and answers nil when it is wrong or of
// a kind that the server does not write.
func checked(kind byte, content, rest []byte) []byte {
	switch kind {
	case 0:
		return rest
	case 1:
		if len(rest) >= 4 && binary.LittleEndian.Uint32(rest) == crc32.ChecksumIEEE(content) {
			return rest[4:]
		}
	case 4:
		if len(rest) >= 8 && binary.LittleEndian.Uint64(rest) == crc64.Checksum(content, crc64.MakeTable(crc64.ECMA)) {
			return rest[8:]
		}
	}
	return nil
}
