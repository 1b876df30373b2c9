package page

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
)

// formats are those that a server writes, by the flags in a tablespace.
var formats = []struct {
	name      string
	flags     uint32
	encrypted bool
}{
	{"full_crc32 4k", 0x13, false},
	{"full_crc32 16k", 0x15, false},
	{"full_crc32 64k", 0x17, false},
	{"full_crc32 16k encrypted", 0x15, true},
	{"crc32 4k", 0x21 | 3<<6, false},
	{"crc32 16k", 0x21, false},
	{"crc32 64k", 0x21 | 7<<6, false},
	{"crc32 16k encrypted", 0x21, true},
	{"compressed 1k", 0x21 | 1<<1, false},
	{"compressed 8k", 0x21 | 4<<1, false},
	{"compressed 8k encrypted", 0x21 | 4<<1, true},
	{"MySQL 16k", 0x21 | flagSDI, false},
}

const (
	testSpace = 77
	testPage  = 5
)

func format(t testing.TB, flags uint32, encrypted bool) Format {
	t.Helper()
	f, err := ParseFlags(flags)
	if err != nil {
		t.Fatal(err)
	}
	f.Encrypted = encrypted
	return f
}

// forge makes page testPage of tablespace testSpace with random content.
func forge(f Format) []byte {
	r := rand.New(rand.NewPCG(1, uint64(f.Flags)))
	p := make([]byte, f.Size)
	for i := range p {
		p[i] = byte(r.Uint32())
	}
	put := binary.BigEndian.PutUint32
	put(p[offNumber:], testPage)
	binary.BigEndian.PutUint64(p[offLSN:], 0x123456789)
	binary.BigEndian.PutUint16(p[offType:], 17855)
	put(p[offOldKey:], 0)
	put(p[offSpace:], testSpace)
	seal(f, p)
	return p
}

// seal writes the checksums.
func seal(f Format, p []byte) {
	put := binary.BigEndian.PutUint32
	end := len(p) - trailer
	switch {
	case f.Full:
		put(p[offKeyVersion:], 0)
		if f.Encrypted {
			put(p[offKeyVersion:], 1)
		}
		copy(p[end:], p[offLSN+4:offLSN+8])
		put(p[end+4:], crc(p[:end+4]))
	case f.Encrypted:
		put(p[offOldKey:], 3)
		if f.Zip {
			put(p[offOldCrypt:], crc(p[4:offLSN])^crc(p[offType:offOldKey])^crc(p[offSpace:]))
		} else {
			put(p[offOldCrypt:], crc(p[4:offOldKey])^crc(p[offData:end]))
		}
	case f.Zip:
		put(p[offChecksum:], crc(p[4:offLSN])^crc(p[offType:offOldKey])^crc(p[offSpace:]))
	default:
		sum := crc(p[4:offOldKey]) ^ crc(p[offData:end])
		put(p[offChecksum:], sum)
		put(p[end:], sum)
		copy(p[end+4:], p[offLSN+4:offLSN+8])
	}
}

func TestCheck(t *testing.T) {
	for _, test := range formats {
		t.Run(test.name, func(t *testing.T) {
			f := format(t, test.flags, test.encrypted)
			if r := f.Check(forge(f), testPage, testSpace); r != Good {
				t.Errorf("a good page is %s", r)
			}
			if r := f.Check(make([]byte, f.Size), testPage, testSpace); r != Blank {
				t.Errorf("a page of zeros is %s", r)
			}
			if r := f.Check(forge(f), testPage+1, testSpace); r != WrongNumber {
				t.Errorf("a page in another's place is %s", r)
			}
			if r := f.Check(forge(f), testPage, testSpace+1); r != WrongSpace && !(f.Full && f.Encrypted) {
				t.Errorf("a page of another tablespace is %s", r)
			}
		})
	}
}

// uncovered says which bytes of a page no checksum covers; they are listed in
// docs/limitations.md.
func uncovered(f Format, at int) bool {
	switch {
	case f.Full:
		return false
	case f.Encrypted && f.Zip:
		return at < 4 || (at >= offLSN && at < offType) || (at >= offOldKey && at < offOldKey+4)
	case f.Encrypted:
		return at < 4 || (at >= offOldKey && at < offOldKey+4) || at >= f.Size-trailer
	case f.Zip:
		return (at >= offLSN && at < offType) || (at >= offOldKey && at < offSpace)
	}
	return at >= offOldKey && at < offSpace
}

// TestEveryBit flips every bit of the header and the trailer, and some of the
// content: all are found that a checksum covers, and no other.
func TestEveryBit(t *testing.T) {
	for _, test := range formats {
		t.Run(test.name, func(t *testing.T) {
			f := format(t, test.flags, test.encrypted)
			p := forge(f)
			for at := range p {
				if at >= 64 && at < f.Size-16 && at%97 != 0 {
					continue
				}
				for bit := range 8 {
					p[at] ^= 1 << bit
					if found := f.Check(p, testPage, testSpace) != Good; found == uncovered(f, at) {
						t.Errorf("bit %d of byte %d: found %v", bit, at, found)
					}
					p[at] ^= 1 << bit
				}
			}
		})
	}
}

func TestOldChecksums(t *testing.T) {
	put := binary.BigEndian.PutUint32
	plain, zip, mysql := format(t, 0x21, false), format(t, 0x21|4<<1, false), format(t, 0x21|flagSDI, false)
	for _, test := range []struct {
		name string
		f    Format
		seal func(p []byte)
		want Result
	}{
		{"none", plain, func(p []byte) { put(p, noChecksum); put(p[len(p)-trailer:], noChecksum) }, NoChecksum},
		{"none compressed", zip, func(p []byte) { put(p, noChecksum) }, NoChecksum},
		{"innodb", plain, func(p []byte) {
			put(p, fold(p[4:offOldKey])+fold(p[offData:len(p)-trailer]))
			put(p[len(p)-trailer:], fold(p[:offOldKey]))
		}, Good},
		{"innodb compressed", zip, func(p []byte) { put(p, adler(p[4:offLSN], p[offType:offOldKey], p[offSpace:])) }, Good},
		{"of a big-endian MySQL", mysql, func(p []byte) {
			sum := crcSwapped(p[4:offOldKey]) ^ crcSwapped(p[offData:len(p)-trailer])
			put(p, sum)
			put(p[len(p)-trailer:], sum)
		}, Good},
		{"of MySQL's encryption", mysql, func(p []byte) { binary.BigEndian.PutUint16(p[offType:], typeMySQLEncrypted) }, Unverified},
		{"of MySQL's page compression", mysql, func(p []byte) { binary.BigEndian.PutUint16(p[offType:], typeMySQLCompressed) }, Unverified},
		{"zeroed", plain, func(p []byte) { put(p, 0); put(p[len(p)-trailer:], 0) }, BadChecksum},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := forge(test.f)
			test.seal(p)
			if r := test.f.Check(p, testPage, testSpace); r != test.want {
				t.Errorf("%s, expected %s", r, test.want)
			}
			p[100] ^= 1
			if r := test.f.Check(p, testPage, testSpace); test.want == Good && r != BadChecksum {
				t.Errorf("%s with a flipped bit", r)
			}
		})
	}
}

func TestTornPage(t *testing.T) {
	for _, flags := range []uint32{0x15, 0x21} {
		f := format(t, flags, false)
		p := forge(f)
		binary.BigEndian.PutUint64(p[offLSN:], 0x123456799)
		if f.Full {
			binary.BigEndian.PutUint32(p[f.Size-4:], crc(p[:f.Size-4]))
		} else {
			sum := crc(p[4:offOldKey]) ^ crc(p[offData:f.Size-trailer])
			binary.BigEndian.PutUint32(p, sum)
			binary.BigEndian.PutUint32(p[f.Size-trailer:], sum)
		}
		if r := f.Check(p, testPage, testSpace); r != BadLSN {
			t.Errorf("flags 0x%x: %s", flags, r)
		}
	}
}

func TestFlagsOfNoFormat(t *testing.T) {
	for _, flags := range []uint32{0x10, 0x18, 0x15 | 7<<5, 0x21 | 1<<6, 0x21 | 8<<6, 0x21 | 6<<1, 1 << 15, 1 << 20, 0xffffffff} {
		if f, err := ParseFlags(flags); err == nil {
			t.Errorf("0x%x: %+v", flags, f)
		}
	}
}

func TestDescriptors(t *testing.T) {
	for _, test := range []struct {
		flags    uint32
		page, at uint32
		byteAt   int
		bit      uint
	}{
		{0x15, 3, 0, 150 + 24, 6},                   // fourth page of the first extent
		{0x15, 16384 + 65, 16384, 150 + 40 + 24, 2}, // second page of the second extent of the second part
		{0x13, 257, 0, 150 + 88 + 24, 2},            // 4k: extents of 256 pages
		{0x21 | 4<<1, 64, 0, 150 + 40 + 24, 0},      // compressed to 8k
		{0x21 | 4<<1, 8192 + 1, 8192, 150 + 24, 2},  // which is a page of descriptors each 8192 pages
		{0x17, 65536 + 64, 65536, 150 + 40 + 24, 0}, // 64k
	} {
		f := format(t, test.flags, false)
		p := make([]byte, f.Size)
		if f.DescriptorPage(test.page) != test.at || f.IsFree(p, test.page) {
			t.Errorf("flags 0x%x page %d: on page %d, free %v", test.flags, test.page, f.DescriptorPage(test.page), f.IsFree(p, test.page))
		}
		p[test.byteAt] = 1 << test.bit
		if !f.IsFree(p, test.page) {
			t.Errorf("flags 0x%x page %d: the free bit is elsewhere", test.flags, test.page)
		}
	}
}

func BenchmarkCheck(b *testing.B) {
	for _, test := range formats {
		b.Run(test.name, func(b *testing.B) {
			f := format(b, test.flags, test.encrypted)
			p := forge(f)
			b.SetBytes(int64(f.Size))
			b.ReportAllocs()
			for b.Loop() {
				f.Check(p, testPage, testSpace)
			}
		})
	}
}

func ExampleFormat_Describe() {
	f, _ := ParseFlags(0x15)
	p := make([]byte, f.Size)
	binary.BigEndian.PutUint32(p[offNumber:], 9)
	expected, found := f.Describe(p, 7, 0, WrongNumber)
	fmt.Printf("expected %s, found %s\n", expected, found)
	// Output: expected page number 7, found page number 9 of space 0
}
