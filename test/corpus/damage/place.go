package damage

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// pageSize is that of the directories which Cases are for: 16k pages of format
// full_crc32. What is read here is read without the code under test.
const pageSize = 16 << 10

// Offsets in a page and types of pages (fil0fil.h, page0page.h).
const (
	atSum       = pageSize - 4
	atNumber    = 4
	atLSN       = 16
	atType      = 24
	atSpace     = 34
	atLevel     = 38 + 26
	typeIndex   = 17855
	headerLimit = 38 + 12 // FSP_FREE_LIMIT of page 0
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// scene is a directory with a source of chance.
type scene struct {
	dir  string
	rand *rand.Rand
}

func (s *scene) path(name string) string { return filepath.Join(s.dir, name) }

// pick chooses one of n.
func pick[T any](s *scene, from []T) T { return from[s.rand.IntN(len(from))] }

func (s *scene) read(name string) ([]byte, error) { return os.ReadFile(s.path(name)) }

// edit changes a file in place.
func (s *scene) edit(name string, change func(b []byte) error) error {
	b, err := s.read(name)
	if err != nil {
		return err
	}
	if err := change(b); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	f, err := os.OpenFile(s.path(name), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(b, 0); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// flip turns over one bit.
func (s *scene) flip(name string, offset int) error {
	return s.edit(name, func(b []byte) error {
		if offset >= len(b) {
			return fmt.Errorf("no byte %d in %d", offset, len(b))
		}
		b[offset] ^= 1 << s.rand.IntN(8)
		return nil
	})
}

// flipIn turns over one bit somewhere from the first to before the last byte.
func (s *scene) flipIn(name string, first, last int) error {
	return s.flip(name, first+s.rand.IntN(last-first))
}

// flipPage turns over one bit of what a page holds.
func (s *scene) flipPage(name string, no int) error {
	return s.flipIn(name, no*pageSize+38, no*pageSize+atSum)
}

func at(b []byte, no int) []byte { return b[no*pageSize : (no+1)*pageSize] }

// leaves are the pages of a table's indexes that hold rows and are not roots.
func leaves(b []byte) []int {
	var found []int
	for no := 5; no < len(b)/pageSize; no++ {
		p := at(b, no)
		if isSum(p) && binary.BigEndian.Uint16(p[atType:]) == typeIndex && binary.BigEndian.Uint16(p[atLevel:]) == 0 &&
			no < int(binary.BigEndian.Uint32(b[headerLimit:])) && !free(b, no) {
			found = append(found, no)
		}
	}
	return found
}

// leaf chooses a leaf page of a table.
func (s *scene) leaf(name string) (int, error) {
	b, err := s.read(name)
	if err != nil {
		return 0, err
	}
	all := leaves(b)
	if len(all) < 2 {
		return 0, fmt.Errorf("%s has %d leaf pages", name, len(all))
	}
	return pick(s, all), nil
}

// free says whether the extent descriptors say so (fsp0fsp.h); they are on page 0
// in a file of less than 16384 pages.
func free(b []byte, no int) bool {
	descriptor := b[150+no/64*40+24:]
	return descriptor[no%64/4]>>(no%4*2)&1 != 0
}

func isSum(p []byte) bool {
	return lsn(p) != 0 && binary.BigEndian.Uint32(p[atSum:]) == crc32.Checksum(p[:atSum], castagnoli)
}

// seal gives a page a right checksum again.
func seal(p []byte) {
	binary.BigEndian.PutUint32(p[atSum:], crc32.Checksum(p[:atSum], castagnoli))
}

func lsn(p []byte) uint64 { return binary.BigEndian.Uint64(p[atLSN:]) }

// logOffset is the place of an LSN in ib_logfile0 (log0log.h).
func logOffset(log []byte, lsn uint64) int {
	first := binary.BigEndian.Uint64(log[8:])
	return 12288 + int((lsn-first)%uint64(len(log)-12288))
}

// checkpoint is the newer one of the log, and the end of what confirms it.
func checkpoint(log []byte) (lsn, end uint64) {
	for _, block := range []int{4096, 8192} {
		b := log[block:]
		if crc32.Checksum(b[:60], castagnoli) == binary.BigEndian.Uint32(b[60:]) && binary.BigEndian.Uint64(b) > lsn {
			lsn, end = binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])
		}
	}
	return lsn, end
}

// doublewritten are good copies in the doublewrite buffer of pages of the space
// that are at home as in the copy, of a time that recovery accepts.
func doublewritten(system, table []byte, from uint64) []int {
	sys := at(system, 5)[pageSize-200:]
	if binary.BigEndian.Uint32(sys[10:]) != 536853855 {
		return nil
	}
	space := binary.BigEndian.Uint32(table[atSpace:])
	var found []int
	for _, block := range []int{14, 18} {
		first := int(binary.BigEndian.Uint32(sys[block:]))
		for no := first; no < first+64; no++ {
			p := at(system, no)
			home := int(binary.BigEndian.Uint32(p[atNumber:]))
			if binary.BigEndian.Uint32(p[atSpace:]) == space && isSum(p) && lsn(p) >= from &&
				home > 3 && home < len(table)/pageSize && string(at(table, home)) == string(p) {
				found = append(found, home)
			}
		}
	}
	return found
}
