package aria

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// controlFile is one as MariaDB 10.11 writes it.
func controlFile() []byte {
	b := make([]byte, 52)
	copy(b, []byte{0xfe, 0xfe, 0x0c, 1})
	b[controlSizes], b[controlSizes+2] = 30, 22
	binary.LittleEndian.PutUint16(b[controlBlock:], 8192)
	binary.LittleEndian.PutUint32(b[26:], crc32.ChecksumIEEE(b[:26]))
	binary.LittleEndian.PutUint32(b[30+changeLog:], 7)
	b[30+changeFailures] = 2
	binary.LittleEndian.PutUint32(b[30:], crc32.ChecksumIEEE(b[34:]))
	return b
}

func TestParseControl(t *testing.T) {
	got, err := ParseControl(controlFile())
	if err != nil || got.BlockSize != 8192 || got.Log != 7 || got.Failures != 2 {
		t.Errorf("%+v, error %v", got, err)
	}
	for i := range 52 * 8 {
		b := controlFile()
		b[i/8] ^= 1 << (i % 8)
		if _, err := ParseControl(b); err == nil {
			t.Errorf("bit %d of byte %d flipped: no error", i%8, i/8)
		}
	}
	for _, size := range []int{0, 51, 600} {
		if _, err := ParseControl(append(controlFile(), make([]byte, 600)...)[:size]); err == nil {
			t.Errorf("%d bytes: no error", size)
		}
	}
}

// logFile has a header and pages of which some have checksums.
func logFile(n uint32) []byte {
	b := make([]byte, 5*logPage)
	copy(b, logMagic)
	binary.LittleEndian.PutUint16(b[logPageSize:], logPage-1)
	b[logNumber] = byte(n)
	for no := range 3 {
		page := b[(no+1)*logPage:][:logPage]
		page[0], page[3], page[100] = byte(no+1), byte(n), 5
		page[pageFlags] = byte(no)
		header := 11
		if page[pageFlags]&pageHasSectors != 0 {
			header = 27
		}
		if page[pageFlags]&pageHasCRC != 0 {
			binary.LittleEndian.PutUint32(page[7:], crc32.ChecksumIEEE(page[header:]))
		}
	}
	return b
}

func TestCheckLog(t *testing.T) {
	for name, test := range map[string]struct {
		edit func(b []byte) []byte
		bad  bool
	}{
		"whole":                {func(b []byte) []byte { return b }, false},
		"cut in a page":        {func(b []byte) []byte { return b[:2*logPage+77] }, false},
		"empty":                {func(b []byte) []byte { return nil }, true},
		"header of another":    {func(b []byte) []byte { b[logNumber]++; return b }, true},
		"magic flipped":        {func(b []byte) []byte { b[5] ^= 1; return b }, true},
		"pages swapped":        {func(b []byte) []byte { copy(b[logPage:], b[2*logPage:3*logPage]); return b }, true},
		"page with a checksum": {func(b []byte) []byte { b[2*logPage+200] ^= 1; return b }, true},
		"page without one":     {func(b []byte) []byte { b[logPage+200] ^= 1; return b }, false},
		"unknown flags":        {func(b []byte) []byte { b[logPage+pageFlags] = 0x80; return b }, true},
	} {
		var damage *Damage
		err := CheckLog(bytes.NewReader(test.edit(logFile(3))), 3)
		if errors.As(err, &damage) != test.bad || (err != nil) != test.bad {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// table makes index and data file of a table with so many data pages, all in use
// but the last.
func table(pages int) (index, data []byte) {
	const size = 8192
	index, data = make([]byte, 3*size), make([]byte, pages*size)
	copy(index, tableMagic)
	binary.BigEndian.PutUint16(index[headerOptions:], optionChecksums)
	index[headerDataType] = dataInPages
	const at = 0xfb
	binary.BigEndian.PutUint16(index[headerBase:], at)
	binary.BigEndian.PutUint64(index[at+baseKeyStart:], size)
	binary.BigEndian.PutUint16(index[at+baseBlockSize:], size)
	index[at+baseTransactional] = 1
	binary.BigEndian.PutUint64(index[stateIndexSize:], uint64(len(index)))
	binary.BigEndian.PutUint64(index[stateDataSize:], uint64(len(data)))
	for no := 1; no < 3; no++ {
		page := index[no*size:][:size]
		page[16], page[40] = 200, byte(no) // 200 bytes are in use
		binary.LittleEndian.PutUint32(page[size-4:], crc32.Update(uint32(no), crc32.IEEETable, page[:200]))
	}
	for no := 1; no < pages-1; no++ {
		bit := (no - 1) * 3
		v := binary.LittleEndian.Uint16(data[bit/8:]) | 5<<(bit%8)
		binary.LittleEndian.PutUint16(data[bit/8:], v)
		data[no*size+50] = byte(no)
	}
	for no := range pages - 1 {
		page := data[no*size:][:size]
		binary.LittleEndian.PutUint32(page[size-4:], crc32.Update(uint32(no), crc32.IEEETable, page[:size-4]))
	}
	return index, data
}

func TestCheckTable(t *testing.T) {
	index, data := table(9)
	h, err := ParseHeader(index[:4096])
	if err != nil || !h.Paged || !h.Checksums || h.DataSize != int64(len(data)) {
		t.Fatalf("%+v, error %v", h, err)
	}
	var c Checker
	check := func(index, data []byte) (Pages, Pages) {
		t.Helper()
		i, err := c.Index(h, bytes.NewReader(index))
		if err != nil {
			t.Fatal(err)
		}
		d, err := c.Data(h, bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		return i, d
	}
	i, d := check(index, data)
	if diff := cmp.Diff([]Pages{{Checked: 2}, {Checked: 9}}, []Pages{i, d}); diff != "" {
		t.Errorf("sound: %s", diff)
	}
	clear(data[5*8192 : 6*8192])
	data[7*8192+50] ^= 1
	index[2*8192+150] ^= 1
	index[8192+500] ^= 1 // not in use
	i, d = check(index, data)
	if diff := cmp.Diff([]Pages{{Checked: 2, Bad: []int64{2}}, {Checked: 9, Blank: []int64{5}, Bad: []int64{7}}}, []Pages{i, d}); diff != "" {
		t.Errorf("damaged: %s", diff)
	}
}

// TestEveryFlippedBitIsFound flips bits of pages that are in use.
func TestEveryFlippedBitIsFound(t *testing.T) {
	index, data := table(9)
	h, err := ParseHeader(index)
	if err != nil {
		t.Fatal(err)
	}
	random, c := rand.New(rand.NewPCG(5, 6)), Checker{}
	for range 500 {
		no := int64(1 + random.IntN(7))
		at := no*8192 + random.Int64N(8192)
		data[at] ^= 1
		got, err := c.Data(h, bytes.NewReader(data))
		if err != nil || len(got.Bad) != 1 || got.Bad[0] != no {
			t.Errorf("byte %d: %+v, error %v", at, got, err)
		}
		data[at] ^= 1
	}
}

func FuzzParseControl(f *testing.F) {
	f.Add(controlFile())
	f.Fuzz(func(t *testing.T, b []byte) { ParseControl(b) })
}

func FuzzCheckLog(f *testing.F) {
	f.Add(logFile(3)[:2*logPage])
	f.Fuzz(func(t *testing.T, b []byte) {
		var damage *Damage
		if err := CheckLog(bytes.NewReader(b), 3); err != nil && !errors.As(err, &damage) {
			t.Errorf("error %v of a reader that does not fail", err)
		}
	})
}

func FuzzTable(f *testing.F) {
	index, data := table(3)
	f.Add(index[:400], data[:8192])
	f.Fuzz(func(t *testing.T, index, data []byte) {
		h, err := ParseHeader(index)
		if err != nil {
			return
		}
		var c Checker
		for _, check := range []func() (Pages, error){
			func() (Pages, error) { return c.Data(h, bytes.NewReader(data)) },
			func() (Pages, error) { return c.Index(h, bytes.NewReader(index)) },
		} {
			if p, err := check(); err != nil || len(p.Bad) > maxListed || len(p.Blank) > maxListed {
				t.Errorf("%+v, error %v", p, err)
			}
		}
	})
}
