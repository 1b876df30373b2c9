package page

import (
	"encoding/binary"
	"testing"
)

// FuzzCheck gives pages of any content to every format: the answer may be
// anything, but comes without a panic, and a page whose checksum is made right
// is good.
func FuzzCheck(f *testing.F) {
	for _, test := range formats {
		f.Add(test.flags, test.encrypted, forge(format(f, test.flags, test.encrypted)))
	}
	f.Fuzz(func(t *testing.T, flags uint32, encrypted bool, content []byte) {
		format, err := ParseFlags(flags)
		if err != nil {
			return
		}
		format.Encrypted = encrypted
		p := make([]byte, format.Size)
		copy(p, content)
		r := format.Check(p, testPage, testSpace)
		format.Describe(p, testPage, testSpace, r)
		_, _ = ParseSpace(p)
		format.IsFree(p, binary.BigEndian.Uint32(p[4:]))

		binary.BigEndian.PutUint32(p[offNumber:], testPage)
		binary.BigEndian.PutUint16(p[offType:], 17855)
		binary.BigEndian.PutUint32(p[offSpace:], testSpace)
		seal(format, p)
		if r := format.Check(p, testPage, testSpace); r != Good {
			t.Errorf("flags 0x%x: a sealed page is %s", flags, r)
		}
	})
}

// FuzzDecompress gives streams of any content to the decompressors.
func FuzzDecompress(f *testing.F) {
	for algorithm := range uint64(8) {
		f.Add(algorithm, []byte("x\x9c\x03\x00\x00\x00\x00\x01"))
	}
	f.Fuzz(func(t *testing.T, algorithm uint64, stream []byte) {
		format, _ := ParseFlags(0x21 | flagCompressed)
		if len(stream) > format.Size-offStream {
			return
		}
		p := make([]byte, format.Size)
		binary.BigEndian.PutUint32(p[offNumber:], testPage)
		binary.BigEndian.PutUint16(p[offType:], typeCompressed)
		binary.BigEndian.PutUint64(p[offAlgorithm:], algorithm%8)
		binary.BigEndian.PutUint16(p[offLength:], uint16(len(stream)))
		copy(p[offStream:], stream)
		var d Decompressor
		if r := d.Check(&format, p, testPage, testSpace); r == Blank {
			t.Errorf("a compressed page is %s", r)
		}
	})
}
