package page

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Format is how the pages of one tablespace are laid out and protected.
type Format struct {
	Flags uint32
	// Size is the physical size of a page in bytes, on disk.
	Size int
	// Logical is the size in the server's memory; it differs from Size for
	// ROW_FORMAT=COMPRESSED.
	Logical int
	// Full is the format full_crc32 of MariaDB 10.5 and later.
	Full bool
	// Zip is ROW_FORMAT=COMPRESSED.
	Zip bool
	// Compressed is the table option PAGE_COMPRESSED.
	Compressed bool
	// Encrypted is known from page 0 (ParseSpace), not from the flags.
	Encrypted bool
	// MySQL has flags that MariaDB never sets.
	MySQL bool
}

// ErrFlags is the cause when FSP_SPACE_FLAGS are of no known format.
var ErrFlags = errors.New("unknown space flags")

const (
	flagFull       = 1 << 4
	flagEncryption = 1 << 13 // MySQL 5.7 and later
	flagSDI        = 1 << 14 // MySQL 8.0
	flagCompressed = 1 << 16
	mysqlFlags     = 1<<11 | 1<<12 | flagEncryption | flagSDI // also: general and temporary tablespaces
)

// ParseFlags reads FSP_SPACE_FLAGS.
func ParseFlags(flags uint32) (Format, error) {
	unknown := fmt.Errorf("%w 0x%x", ErrFlags, flags)
	f := Format{Flags: flags}
	if flags&mysqlFlags == 0 && flags&flagFull != 0 {
		shift := flags & 0xf
		if shift < 3 || shift > 7 || flags>>5 > 6 {
			return f, unknown
		}
		f.Full, f.Compressed = true, flags>>5 != 0
		f.Size = 512 << shift
		f.Logical = f.Size
		return f, nil
	}
	if flags>>17 != 0 || flags>>15&1 != 0 {
		return f, unknown
	}
	f.MySQL = flags&mysqlFlags != 0
	f.Compressed = flags&flagCompressed != 0
	switch shift := flags >> 6 & 0xf; shift {
	case 0:
		f.Logical = 16 << 10
	case 3, 4, 6, 7:
		f.Logical = 512 << shift
	default:
		return f, unknown
	}
	f.Size = f.Logical
	if zip := flags >> 1 & 0xf; zip != 0 {
		if zip > 5 || flags&1 == 0 || 512<<zip > f.Logical {
			return f, unknown
		}
		f.Zip = true
		f.Size = 512 << zip
	}
	return f, nil
}

// Extent is the number of pages of an extent: 1 MiB, or 64 pages when these are
// larger.
func (f *Format) Extent() int {
	if f.Logical >= 16<<10 {
		return 64
	}
	return 1 << 20 / f.Logical
}

// descriptorSize is XDES_SIZE: list node and state, then two bits a page.
func (f *Format) descriptorSize() int { return 24 + f.Extent()*2/8 }

// Space is what the first page of a tablespace says of the whole.
type Space struct {
	Format
	ID uint32
	// Pages is FSP_SIZE, the tablespace's size in pages.
	Pages uint32
	// FreeLimit is FSP_FREE_LIMIT: pages from here on were never used.
	FreeLimit uint32
}

// Offsets in a page.
const (
	offChecksum   = 0
	offKeyVersion = 0 // in full_crc32
	offNumber     = 4
	offLSN        = 16
	offType       = 24
	offOldKey     = 26 // in the old format: key version, then the checksum after encryption
	offOldCrypt   = 30
	offSpace      = 34
	offData       = 38
	trailer       = 8

	offFSP       = offData
	offPages     = offFSP + 8
	offFreeLimit = offFSP + 12
	offFlags     = offFSP + 16
	// Descriptors is where extent descriptors start on their page.
	offDescriptors = offFSP + 112

	// MinSize is the smallest physical page.
	MinSize = 1 << 10
	// MaxSize is the largest physical page.
	MaxSize = 64 << 10
)

// cryptMagic starts the encryption data on page 0 (CRYPT_MAGIC).
var cryptMagic = [6]byte{0x73, 0x0e, 0x0c, 0x52, 0x45, 0x74}

// ParseSpace reads the header of a tablespace from the start of its first page,
// of which MinSize bytes have to be there; whether it is encrypted is only
// known with the whole page.
func ParseSpace(p []byte) (Space, error) {
	var s Space
	if len(p) < MinSize {
		return s, fmt.Errorf("first page of %d bytes", len(p))
	}
	f, err := ParseFlags(binary.BigEndian.Uint32(p[offFlags:]))
	s.ID = binary.BigEndian.Uint32(p[offSpace:])
	s.Format = f
	if err != nil {
		return s, err
	}
	s.Pages = binary.BigEndian.Uint32(p[offPages:])
	s.FreeLimit = binary.BigEndian.Uint32(p[offFreeLimit:])
	if at := offData + offDescriptors + f.descriptorSize()*f.Size/f.Extent(); len(p) >= f.Size && at+8 < f.Size {
		s.Encrypted = [6]byte(p[at:at+6]) == cryptMagic && p[at+6] != 0
	}
	return s, nil
}

// HeaderID is the space id that the tablespace header repeats; it equals ID.
func HeaderID(first []byte) uint32 { return binary.BigEndian.Uint32(first[offFSP:]) }

// Number is the page number that a page says it has.
func Number(p []byte) uint32 { return binary.BigEndian.Uint32(p[offNumber:]) }

// SpaceID is the tablespace that a page says it belongs to.
func SpaceID(p []byte) uint32 { return binary.BigEndian.Uint32(p[offSpace:]) }

// LSN is the log position of the last change of the page.
func LSN(p []byte) uint64 { return binary.BigEndian.Uint64(p[offLSN:]) }

// Type is the page type, without full_crc32's mark of a compressed page.
func Type(p []byte) uint16 { return binary.BigEndian.Uint16(p[offType:]) }

// DescriptorPage is the number of the page with the extent descriptor of page
// no. A descriptor page describes as many pages as a page has bytes.
func (f *Format) DescriptorPage(no uint32) uint32 { return no - no%uint32(f.Size) }

// IsFree reads from a descriptor page whether page no is free.
func (f *Format) IsFree(descriptors []byte, no uint32) bool {
	n := int(no % uint32(f.Size))
	at := offDescriptors + n/f.Extent()*f.descriptorSize() + 24
	bit := n % f.Extent() * 2
	return descriptors[at+bit/8]>>(bit%8)&1 != 0
}
