package page

import (
	"encoding/binary"
	"hash/crc32"
)

// Result is what is known of one page.
type Result uint8

// Results. Those from BadChecksum on are damage, unless the page is free or has
// a good copy elsewhere.
const (
	Good       Result = iota // the checksum is right
	Blank                    // all bytes are zero
	Unverified               // nothing on the page can be checked without keys or decompression
	NoChecksum               // written with innodb_checksum_algorithm=none
	BadChecksum
	BadLength   // a compressed page with an impossible length
	BadLSN      // start and end of the page are of different times
	WrongNumber // another page of the tablespace, or of another one
	WrongSpace  // a page of another tablespace
	Newer       // changed after the end of the redo log; for callers, Check does not know the log
)

// IsBad says whether the content is not what was written for this place.
func (r Result) IsBad() bool { return r >= BadChecksum }

var resultNames = [...]string{"good", "blank", "unverified", "no-checksum", "checksum", "length", "lsn-halves", "page-number", "space-id", "newer"}

// String is the result's name in reports.
func (r Result) String() string {
	if int(r) < len(resultNames) {
		return resultNames[r]
	}
	return "unknown"
}

// noChecksum is BUF_NO_CHECKSUM_MAGIC.
const noChecksum = 0xdeadbeef

// Page types that matter for checking.
const (
	typeUndo                = 2
	typeMySQLCompressed     = 14
	typeMySQLEncrypted      = 15
	typeMySQLCryptCompr     = 16
	typeMySQLEncryptedRtree = 17
	typeCompressed          = 34354
	typeCompressedEncrypted = 37401
	compressedMark          = 1 << 15 // full_crc32: the rest of the type is the length in 256 bytes
)

// Check judges page no of tablespace space. p is one whole page of f.Size bytes.
// It does not allocate and keeps nothing.
func (f *Format) Check(p []byte, no, space uint32) Result {
	p = p[:f.Size]
	var r Result
	switch {
	case f.Full:
		r = f.checkFull(p, space)
	case f.Zip:
		r = f.checkZip(p)
	default:
		r = f.checkPlain(p)
	}
	if r == Blank || r.IsBad() {
		return r
	}
	if Number(p) != no {
		return WrongNumber
	}
	if !f.Full && SpaceID(p) != space {
		return WrongSpace
	}
	return r
}

func (f *Format) checkFull(p []byte, space uint32) Result {
	size, compressed := len(p), false
	if t := Type(p); t&compressedMark != 0 {
		compressed = true
		size = int(t&^compressedMark) << 8
		if size >= len(p) || size < offData+4 {
			return BadLength
		}
	}
	// The sum comes first: it asks for what follows it, the stored one among that.
	sum := crc(p[:size-4])
	switch stored := binary.BigEndian.Uint32(p[size-4:]); {
	case sum == stored:
	case stored == 0 && !compressed && IsZero(p):
		return Blank
	default:
		return BadChecksum
	}
	if compressed || binary.BigEndian.Uint32(p[offKeyVersion:]) != 0 {
		return Good
	}
	if binary.BigEndian.Uint32(p[offLSN+4:]) != binary.BigEndian.Uint32(p[size-trailer:]) {
		return BadLSN
	}
	if SpaceID(p) != space {
		return WrongSpace
	}
	return Good
}

func (f *Format) checkPlain(p []byte) Result {
	switch Type(p) {
	case typeCompressed, typeCompressedEncrypted:
		if !f.MySQL {
			return Unverified
		}
	case typeMySQLCompressed, typeMySQLEncrypted, typeMySQLCryptCompr, typeMySQLEncryptedRtree:
		return Unverified
	}
	end := len(p) - trailer
	field1, field2 := binary.BigEndian.Uint32(p[offChecksum:]), binary.BigEndian.Uint32(p[end:])
	if field1 == 0 && field2 == 0 && IsZero(p[:offOldKey]) && IsZero(p[offSpace:]) {
		return Blank
	}
	sum := crc(p[4:offOldKey]) ^ crc(p[offData:end])
	if f.Encrypted && binary.BigEndian.Uint32(p[offOldKey:]) != 0 && sum == binary.BigEndian.Uint32(p[offOldCrypt:]) {
		return Good
	}
	sameLSN := binary.BigEndian.Uint32(p[offLSN+4:]) == binary.BigEndian.Uint32(p[end+4:])
	switch {
	case field1 == sum && field2 == sum:
		if !sameLSN {
			return BadLSN
		}
		return Good
	case !sameLSN:
		return BadChecksum
	case field1 == noChecksum && field2 == noChecksum:
		return NoChecksum
	case legacyMatches(p, field1, field2):
		return Good
	case f.MySQL && mysqlMatches(p, field1, field2):
		return Good
	}
	return BadChecksum
}

// legacyMatches checks the sums of innodb_checksum_algorithm=innodb. Very old
// servers kept the upper half of the LSN in the second field.
func legacyMatches(p []byte, field1, field2 uint32) bool {
	if field2 != binary.BigEndian.Uint32(p[offLSN:]) && field2 != fold(p[:offOldKey]) {
		return false
	}
	return field1 == fold(p[4:offOldKey])+fold(p[offData:len(p)-trailer])
}

// fold is ut_fold_binary.
func fold(p []byte) uint32 {
	var f uint32
	for _, b := range p {
		f = ((((f ^ uint32(b) ^ 1653893711) << 8) + f) ^ 1463735687) + uint32(b)
	}
	return f
}

// mysqlMatches checks the variant that MySQL servers on big-endian machines
// wrote for a time: the sum over words in the other byte order.
func mysqlMatches(p []byte, field1, field2 uint32) bool {
	sum := crcSwapped(p[4:offOldKey]) ^ crcSwapped(p[offData:len(p)-trailer])
	return field1 == sum && field2 == sum
}

func crcSwapped(p []byte) uint32 {
	var word [8]byte
	var sum uint32
	for ; len(p) >= 8; p = p[8:] {
		binary.LittleEndian.PutUint64(word[:], binary.BigEndian.Uint64(p))
		sum = crc32.Update(sum, castagnoli, word[:])
	}
	return crc32.Update(sum, castagnoli, p)
}

func (f *Format) checkZip(p []byte) Result {
	switch Type(p) {
	case typeMySQLEncrypted, typeMySQLEncryptedRtree:
		if f.MySQL {
			return Unverified
		}
	}
	stored := binary.BigEndian.Uint32(p[offChecksum:])
	if stored == 0 && IsZero(p) {
		return Blank
	}
	sum := crc(p[4:offLSN]) ^ crc(p[offType:offOldKey]) ^ crc(p[offSpace:])
	switch {
	case f.Encrypted && binary.BigEndian.Uint32(p[offOldKey:]) != 0 && sum == binary.BigEndian.Uint32(p[offOldCrypt:]):
		return Good
	case stored == sum:
		return Good
	case stored == noChecksum:
		return NoChecksum
	case stored == adler(p[4:offLSN], p[offType:offOldKey], p[offSpace:]):
		return Good
	}
	return BadChecksum
}

// adler is adler32 over the parts with start value 0, where hash/adler32 starts
// with 1.
func adler(parts ...[]byte) uint32 {
	const mod = 65521
	var a, b uint32
	for _, p := range parts {
		for _, c := range p {
			a = (a + uint32(c)) % mod
			b = (b + a) % mod
		}
	}
	return b<<16 | a
}

// IsZero says whether p holds nothing but zeros.
func IsZero(p []byte) bool {
	for len(p) >= 8 {
		if binary.NativeEndian.Uint64(p) != 0 {
			return false
		}
		p = p[8:]
	}
	for _, b := range p {
		if b != 0 {
			return false
		}
	}
	return true
}
