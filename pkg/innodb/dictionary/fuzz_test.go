package dictionary

import (
	"encoding/binary"
	"errors"
	"testing"
)

// pageOf makes a page of SYS_TABLES on a level with one record of the given
// fields.
func pageOf(onLevel int, fields ...[]byte) []byte {
	p := make([]byte, 16<<10)
	binary.BigEndian.PutUint32(p[nextPage:], none)
	binary.BigEndian.PutUint16(p[pageType:], typeIndex)
	binary.BigEndian.PutUint16(p[level:], uint16(onLevel))
	binary.BigEndian.PutUint64(p[indexID:], tablesIndex)
	const rec = 300
	binary.BigEndian.PutUint16(p[infimum-2:], rec)
	binary.BigEndian.PutUint16(p[rec-2:], supremum)
	binary.BigEndian.PutUint16(p[rec-4:], uint16(len(fields)<<1))
	p[rec-3] |= 1 // ends of one byte
	end := 0
	for i, f := range fields {
		copy(p[rec+end:], f)
		end += len(f)
		p[rec-7-i] = byte(end)
	}
	return p
}

func leafOf(name string, space byte) []byte {
	return pageOf(0, []byte(name), make([]byte, 6), make([]byte, 7), make([]byte, 8), []byte{0x80, 0, 0, 3},
		[]byte{0, 0, 0, 1}, make([]byte, 8), []byte{0, 0, 0, 0x50}, nil, []byte{0, 0, 0, space})
}

func headerOf(root uint32) []byte {
	p := make([]byte, 16<<10)
	binary.BigEndian.PutUint32(p[rootOfTables:], root)
	return p
}

func reader(pages map[uint32][]byte) func(uint32) ([]byte, error) {
	return func(no uint32) ([]byte, error) {
		if p, found := pages[no]; found {
			return p, nil
		}
		return nil, errors.New("no such page")
	}
}

func TestTwoLevels(t *testing.T) {
	second := leafOf("db/b", 10)
	binary.BigEndian.PutUint32(second[nextPage:], none)
	first := leafOf("db/a", 9)
	binary.BigEndian.PutUint32(first[nextPage:], 10)
	tables, err := Read(reader(map[uint32][]byte{
		HeaderPage: headerOf(8), 8: pageOf(1, []byte("db/a"), []byte{0, 0, 0, 9}), 9: first, 10: second}))
	if err != nil || len(tables) != 2 || tables[0] != (Table{Name: "db/a", Space: 9}) || tables[1] != (Table{Name: "db/b", Space: 10}) {
		t.Errorf("%v, %v", tables, err)
	}
}

func TestPagesThatAreNoDictionary(t *testing.T) {
	ring := leafOf("db/a", 9)
	binary.BigEndian.PutUint32(ring[nextPage:], 8)
	chain := leafOf("db/a", 9)
	binary.BigEndian.PutUint16(chain[300-2:], 300)
	for name, root := range map[string][]byte{
		"pages in a ring": ring, "records in a ring": chain, "an inner page without children": pageOf(1),
		"another index": make([]byte, 16<<10), "too few fields": pageOf(0, []byte("db/a"))} {
		if _, err := Read(reader(map[uint32][]byte{HeaderPage: headerOf(8), 8: root})); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzRead gives any content to the walk: it ends, and names come from the pages.
func FuzzRead(f *testing.F) {
	f.Add(leafOf("db/a", 9), leafOf("db/b", 10))
	f.Add(pageOf(1, []byte("db/a"), []byte{0, 0, 0, 9}), leafOf("db/a", 9))
	f.Fuzz(func(t *testing.T, root, other []byte) {
		fit := func(p []byte) []byte { return append(p, make([]byte, max(4096-len(p), 0))...)[:4096] }
		a, b := fit(root), fit(other)
		binary.BigEndian.PutUint16(a[pageType:], typeIndex)
		binary.BigEndian.PutUint64(a[indexID:], tablesIndex)
		reads := 0
		tables, err := Read(func(no uint32) ([]byte, error) {
			if reads++; reads > 50 {
				return nil, errors.New("enough")
			}
			switch no {
			case HeaderPage:
				return headerOf(8), nil
			case 8:
				return a, nil
			}
			return b, nil
		})
		if err == nil && len(tables) > 4096 {
			t.Errorf("%d tables from two pages", len(tables))
		}
	})
}
