package position_test

import (
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"

	"github.com/berth-dev/berth/pkg/innodb/redo/forge"
)

const (
	uuid  = "93077de7-ec3f-43b9-9d64-1a3b6073acc2"
	other = "11111111-2222-3333-4444-555555555555"
	zero  = "00000000-0000-0000-0000-000000000000"
)

// directory is a data directory in the making: a system tablespace with page
// size, and a log.
type directory struct {
	t     *testing.T
	path  string
	size  int
	pages [][]byte
	log   *forge.Log
}

// Pages of the tablespace: 5 is TRX_SYS, and the doublewrite buffer is two
// extents behind the pages that matter.
const (
	segmentA, segmentB = 6, 7
	undoA, undoB       = 8, 9
	copies             = 64
)

func newDirectory(t *testing.T, size int, log *forge.Log) *directory {
	d := &directory{t: t, path: t.TempDir(), size: size, log: log}
	extent := 64
	if size < 16<<10 {
		extent = 1 << 20 / size
	}
	for no := range copies + 2*extent {
		page := make([]byte, size)
		if no < copies {
			binary.BigEndian.PutUint32(page[4:], uint32(no))
			page[24], page[25] = 0, 6
		}
		d.pages = append(d.pages, page)
	}
	shift := uint32(0)
	for 512<<shift < size {
		shift++
	}
	binary.BigEndian.PutUint32(d.pages[0][46:], uint32(len(d.pages)))
	binary.BigEndian.PutUint32(d.pages[0][54:], 1<<4|shift)
	sys := d.pages[5]
	for i := range 128 {
		binary.BigEndian.PutUint64(sys[56+8*i:], 0x00000000_ffffffff)
	}
	binary.BigEndian.PutUint32(sys[size-200+10:], 536853855)
	binary.BigEndian.PutUint32(sys[size-200+14:], copies)
	binary.BigEndian.PutUint32(sys[size-200+18:], uint32(copies+extent))
	d.segment(0, segmentA)
	d.slot(0, segmentA)
	return d
}

// segment makes page no the header of a rollback segment without undo logs.
func (d *directory) segment(i, no int) {
	page := d.pages[no]
	for at := 72; at < 72+d.size/4; at++ {
		page[at] = 0xff
	}
}

// slot enters a rollback segment in TRX_SYS.
func (d *directory) slot(i, no int) { binary.BigEndian.PutUint32(d.pages[5][60+8*i:], uint32(no)) }

// xidAt is where on a rollback segment's header the position is.
func (d *directory) xidAt() uint32 { return uint32(d.size/4 + 600) }

// xid is a position as the server notes it.
func xid(version byte, uuid string, seqno int64) []byte {
	length := 32
	if version == 'f' {
		length = 48
	}
	b := make([]byte, 12+length)
	binary.BigEndian.PutUint32(b, 1)
	binary.BigEndian.PutUint32(b[4:], uint32(length))
	copy(b[12:], "WSREPXi")
	b[19] = version
	copy(b[20:], uuidBytes(uuid))
	binary.LittleEndian.PutUint64(b[36:], uint64(seqno))
	return b
}

func uuidBytes(s string) []byte {
	var b []byte
	for i := 0; i+1 < len(s); {
		if s[i] == '-' {
			i++
			continue
		}
		b = append(b, digit(s[i])<<4|digit(s[i+1]))
		i += 2
	}
	return b
}

func digit(c byte) byte {
	if c >= 'a' {
		return c - 'a' + 10
	}
	return c - '0'
}

// put writes the position to a page in the file.
func (d *directory) put(no int, b []byte) { copy(d.pages[no][d.xidAt():], b) }

// lsn sets up to where a page in the file has the changes of the log.
func (d *directory) lsn(no int, lsn uint64) { binary.BigEndian.PutUint64(d.pages[no][16:], lsn) }

// tear makes the second half of a page in the file noise, after sealing.
type tear int

// write writes the files: pages get their checksums first.
func (d *directory) write(tears ...tear) string {
	d.t.Helper()
	var file []byte
	for _, page := range d.pages {
		copy(page[d.size-8:], page[20:24])
		clear(page[d.size-4:])
		if number := binary.BigEndian.Uint32(page[4:]); number != 0 || page[25] != 0 {
			binary.BigEndian.PutUint32(page[d.size-4:], crc32.Checksum(page[:d.size-4], crc32.MakeTable(crc32.Castagnoli)))
		}
		file = append(file, page...)
	}
	for _, no := range tears {
		for i := range d.size / 2 {
			file[int(no)*d.size+d.size/2+i] ^= byte(i*7 + 1)
		}
	}
	d.save("ibdata1", file)
	d.save("ib_logfile0", d.log.Bytes)
	return d.path
}

func (d *directory) save(name string, content []byte) {
	d.t.Helper()
	if err := os.WriteFile(filepath.Join(d.path, name), content, 0o600); err != nil {
		d.t.Fatal(err)
	}
}
