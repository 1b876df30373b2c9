package page

import (
	"bytes"
	"compress/bzip2"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"io"

	lzo "github.com/anchore/go-lzo"
	"github.com/klauspost/compress/snappy"
	"github.com/pierrec/lz4/v4"
)

// Where the old format of PAGE_COMPRESSED keeps what (fil0pagecompress.cc): the
// algorithm in place of the flush LSN, then the length, then the stream.
const (
	offAlgorithm = offOldKey
	offLength    = offData
	offStream    = offData + 2
)

// Algorithms of page_compressed (PAGE_ZLIB_ALGORITHM and so on).
const (
	algorithmZlib = iota + 1
	algorithmLZ4
	algorithmLZO
	algorithmLZMA
	algorithmBzip2
	algorithmSnappy
)

// Decompressor checks pages that have no checksum but the one inside of their
// compressed content: those of PAGE_COMPRESSED in the format of before 10.5. It
// keeps buffers and is for one goroutine.
type Decompressor struct {
	buf  [MaxSize]byte
	zlib io.ReadCloser
}

// Check judges page no of tablespace space, where Format.Check answered
// Unverified. It answers the same again for pages that are also encrypted.
func (d *Decompressor) Check(f *Format, p []byte, no, space uint32) Result {
	p = p[:f.Size]
	if f.MySQL || Type(p) != typeCompressed {
		return Unverified
	}
	if Number(p) != no {
		return WrongNumber
	}
	length := int(binary.BigEndian.Uint16(p[offLength:]))
	if length == 0 || offStream+length > len(p) {
		return BadLength
	}
	out := d.buf[:f.Size]
	n, known := d.decompress(out, p[offStream:offStream+length], binary.BigEndian.Uint64(p[offAlgorithm:]))
	switch {
	case !known:
		return Unverified
	case n != len(out):
		return BadChecksum
	}
	inner := *f
	inner.Encrypted = false
	switch r := inner.Check(out, no, space); r {
	case Unverified, Blank: // nothing like this is ever compressed
		return BadChecksum
	default:
		return r
	}
}

// decompress fills dst and answers how much there was; known is false for an
// algorithm of a later version.
func (d *Decompressor) decompress(dst, src []byte, algorithm uint64) (n int, known bool) {
	var err error
	switch algorithm {
	case algorithmZlib:
		n, err = d.inflate(dst, src)
	case algorithmLZ4:
		n, err = lz4.UncompressBlock(src, dst)
	case algorithmLZO:
		n, err = lzo.Decompress(src, dst)
	case algorithmLZMA:
		n, err = unxz(dst, src)
	case algorithmBzip2:
		n, err = readAll(bzip2.NewReader(bytes.NewReader(src)), dst)
	case algorithmSnappy:
		n, err = unsnappy(dst, src)
	default:
		return 0, false
	}
	if err != nil {
		n = 0
	}
	return n, true
}

func (d *Decompressor) inflate(dst, src []byte) (n int, err error) {
	if d.zlib == nil {
		d.zlib, err = zlib.NewReader(bytes.NewReader(src))
	} else {
		err = d.zlib.(zlib.Resetter).Reset(bytes.NewReader(src), nil)
	}
	if err != nil {
		return 0, err
	}
	return readAll(d.zlib, dst)
}

// readAll fills dst and sees that the stream ends there, with the right checksum.
func readAll(r io.Reader, dst []byte) (int, error) {
	n, err := io.ReadFull(r, dst)
	if err != nil {
		return n, err
	}
	if more, err := r.Read(make([]byte, 1)); more > 0 || !errors.Is(err, io.EOF) {
		return 0, io.ErrNoProgress
	}
	return n, nil
}

func unsnappy(dst, src []byte) (int, error) {
	if n, err := snappy.DecodedLen(src); err != nil || n > len(dst) {
		return 0, err
	}
	out, err := snappy.Decode(dst, src)
	return len(out), err
}
