package dictionary

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Table is one table as SYS_TABLES knows it.
type Table struct {
	// Name is database and table as in file names, "db/table" or "db/table#P#p0".
	Name string
	// Space is the tablespace; 0 is the system tablespace.
	Space uint32
	// Discarded tables have no file: ALTER TABLE ... DISCARD TABLESPACE.
	Discarded bool
}

// ErrDamaged is the cause when the pages are no dictionary.
var ErrDamaged = errors.New("the dictionary makes no sense")

// HeaderPage is the page of the system tablespace that names the root pages.
const HeaderPage = 7

// Offsets on pages and in records.
const (
	nextPage     = 12
	pageType     = 24
	typeIndex    = 17855
	data         = 38
	rootOfTables = data + 32
	level        = data + 26
	indexID      = data + 28
	infimum      = 101 // of REDUNDANT pages
	supremum     = 116
	none         = 0xffffffff

	tablesIndex = 1 // DICT_TABLES_ID

	deleted     = 0x20
	compactFlag = 1 << 31 // in N_COLS: the table is not REDUNDANT, and its MIX_LEN is meant
	discarded   = 1 << 5  // DICT_TF2_DISCARDED in MIX_LEN
)

// Fields of a leaf record.
const (
	fieldName   = 0
	fieldCols   = 4
	fieldMixLen = 7
	fieldSpace  = 9
	leafFields  = 10
)

// Read walks the tables in the order of their names. read gives a whole page of
// the system tablespace by its number, which is used until the next call; its
// errors are passed on.
func Read(read func(no uint32) ([]byte, error)) ([]Table, error) {
	header, err := read(HeaderPage)
	if err != nil {
		return nil, err
	}
	no := binary.BigEndian.Uint32(header[rootOfTables:])
	w := walk{read: read, seen: map[uint32]bool{}}
	p, err := w.leftmost(no)
	for err == nil {
		if err = w.leaf(p); err != nil {
			break
		}
		next := binary.BigEndian.Uint32(p[nextPage:])
		if next == none {
			return w.tables, nil
		}
		p, err = w.page(next, 0)
	}
	return nil, err
}

type walk struct {
	read   func(no uint32) ([]byte, error)
	seen   map[uint32]bool
	tables []Table
}

// page reads one page of the index on a level; -1 takes any.
func (w *walk) page(no uint32, onLevel int) ([]byte, error) {
	if w.seen[no] { // or a ring of pages would never end
		return nil, fmt.Errorf("%w: page %d comes twice", ErrDamaged, no)
	}
	w.seen[no] = true
	p, err := w.read(no)
	if err != nil {
		return nil, err
	}
	if binary.BigEndian.Uint16(p[pageType:]) != typeIndex || binary.BigEndian.Uint64(p[indexID:]) != tablesIndex {
		return nil, fmt.Errorf("%w: page %d is no page of SYS_TABLES", ErrDamaged, no)
	}
	if at := int(binary.BigEndian.Uint16(p[level:])); onLevel >= 0 && at != onLevel {
		return nil, fmt.Errorf("%w: page %d is on level %d, expected %d", ErrDamaged, no, at, onLevel)
	}
	return p, nil
}

// leftmost goes down from the root to the first leaf.
func (w *walk) leftmost(root uint32) ([]byte, error) {
	p, err := w.page(root, -1)
	for err == nil {
		at := int(binary.BigEndian.Uint16(p[level:]))
		if at == 0 {
			return p, nil
		}
		rec, ok := next(p, infimum)
		if !ok || rec == supremum {
			return nil, fmt.Errorf("%w: a page on level %d without children", ErrDamaged, at)
		}
		child, ok := field(p, rec, fieldCount(p, rec)-1)
		if !ok || len(child) != 4 {
			return nil, fmt.Errorf("%w: a record on level %d without child page", ErrDamaged, at)
		}
		p, err = w.page(binary.BigEndian.Uint32(child), at-1)
	}
	return nil, err
}

// leaf collects the tables of a page.
func (w *walk) leaf(p []byte) error {
	rec := infimum
	for range len(p) / 8 { // no page has more records
		var ok bool
		if rec, ok = next(p, rec); !ok {
			return fmt.Errorf("%w: a broken chain of records", ErrDamaged)
		}
		if rec == supremum {
			return nil
		}
		if p[rec-6]&deleted != 0 {
			continue
		}
		t, ok := table(p, rec)
		if !ok {
			return fmt.Errorf("%w: a record of another shape", ErrDamaged)
		}
		w.tables = append(w.tables, t)
	}
	return fmt.Errorf("%w: a chain of records without end", ErrDamaged)
}

func table(p []byte, rec int) (Table, bool) {
	if fieldCount(p, rec) < leafFields {
		return Table{}, false
	}
	name, okName := field(p, rec, fieldName)
	cols, okCols := field(p, rec, fieldCols)
	mixLen, okMix := field(p, rec, fieldMixLen)
	space, okSpace := field(p, rec, fieldSpace)
	if !okName || !okCols || !okMix || !okSpace || len(name) == 0 || len(cols) != 4 || len(mixLen) != 4 || len(space) != 4 {
		return Table{}, false
	}
	t := Table{Name: string(name), Space: binary.BigEndian.Uint32(space)}
	t.Discarded = t.Space == none ||
		(binary.BigEndian.Uint32(cols)&compactFlag != 0 && binary.BigEndian.Uint32(mixLen)&discarded != 0)
	return t, true
}

// next follows the chain of REDUNDANT records, whose links are absolute.
func next(p []byte, rec int) (int, bool) {
	to := int(binary.BigEndian.Uint16(p[rec-2:]))
	return to, to >= infimum && to < len(p)-8
}

// fieldCount is the number of fields of a REDUNDANT record.
func fieldCount(p []byte, rec int) int {
	return int(binary.BigEndian.Uint16(p[rec-4:])&0x7fe) >> 1
}

// field gives a field of a REDUNDANT record; it answers false when it is NULL or
// not within the page.
func field(p []byte, rec, n int) ([]byte, bool) {
	from, _, ok := fieldEnd(p, rec, n-1)
	if !ok {
		return nil, false
	}
	to, null, ok := fieldEnd(p, rec, n)
	if !ok || null || from > to || rec+to > len(p) {
		return nil, false
	}
	return p[rec+from : rec+to], true
}

// fieldEnd reads where field n ends, from the record's start.
func fieldEnd(p []byte, rec, n int) (end int, null, ok bool) {
	if n < 0 {
		return 0, false, n == -1
	}
	if p[rec-3]&1 != 0 { // ends of one byte
		at := rec - 7 - n
		if at < data {
			return 0, false, false
		}
		return int(p[at] & 0x7f), p[at]&0x80 != 0, true
	}
	at := rec - 8 - 2*n
	if at < data {
		return 0, false, false
	}
	v := binary.BigEndian.Uint16(p[at:])
	return int(v & 0x3fff), v&0x8000 != 0, true
}
