package redo

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
)

// LSN is a log sequence number: a byte position in the endless log of which the
// file holds the newest part.
type LSN uint64

// Format is the word that a log file begins with (log0log.h).
type Format uint32

const (
	FormatMySQL56   Format = 0          // before MySQL 5.7.9 and MariaDB 10.2.2
	FormatMySQL57   Format = 1          // MySQL 5.7.9, MariaDB 10.2
	Format103       Format = 103        // MariaDB 10.3
	Format104       Format = 104        // MariaDB 10.4
	Format105       Format = 0x50485953 // "PHYS", MariaDB 10.5 to 10.7
	Format108       Format = 0x50687973 // "Phys", MariaDB 10.8 and later
	Format1011Crypt Format = 0xf09f979d // MariaDB 10.11 and later, encrypted
)

// formatEncrypted marks encrypted logs of the formats up to 10.8.
const formatEncrypted Format = 1 << 31

// String names the versions that write the format.
func (f Format) String() string {
	names := map[Format]string{
		FormatMySQL56: "MariaDB 10.1 or MySQL 5.6 and earlier", FormatMySQL57: "MariaDB 10.2 or MySQL 5.7",
		Format103: "MariaDB 10.3", Format104: "MariaDB 10.4", Format105: "MariaDB 10.5 to 10.7",
		Format108: "MariaDB 10.8 and later", Format1011Crypt: "MariaDB 10.11 and later, encrypted",
	}
	if name, known := names[f]; known {
		return name
	}
	if name, known := names[f&^formatEncrypted]; known {
		return name + ", encrypted"
	}
	return fmt.Sprintf("unknown format 0x%08x", uint32(f))
}

// ErrFormat is the cause when a log is in a format that is not read here. It
// says nothing about the log's health.
var ErrFormat = errors.New("redo log format is not read")

// Damage is a place in a log that no server leaves behind.
type Damage struct {
	Offset          int64 // in the file
	Expected, Found string
}

func (d *Damage) Error() string {
	return fmt.Sprintf("redo log at offset %d: expected %s, found %s", d.Offset, d.Expected, d.Found)
}

// Header is the beginning of a log file: who made it, and its newest checkpoint.
type Header struct {
	Format  Format
	Creator string
	// First is the LSN of the first byte of data in the file.
	First LSN
	// Checkpoint is the LSN from which recovery starts: all earlier changes are
	// in the data files.
	Checkpoint LSN
	// CheckpointEnd is the end of the log when the checkpoint was made. A record
	// that confirms the checkpoint stands there.
	CheckpointEnd LSN
	// BadCheckpoint is set when one of the two checkpoint blocks is damaged, which
	// is harmless: the other one counts. A file that has seen one checkpoint only
	// has a block of zeros, which is not damaged.
	BadCheckpoint *Damage
	// dataOffset is where in the file Checkpoint lies (10.5 only).
	dataOffset int64
}

// Layout of a log file.
const (
	sectorSize = 512

	headerCreator    = 16
	headerCreatorEnd = 48
	headerCRC        = sectorSize - 4

	dataStart108  = 12288
	checkpointCRC = 60

	dataStart105     = 2048
	checkpointEnd105 = sectorSize - 16
	blockHeader105   = 12
	blockTrailer     = 4
	blockPayload     = sectorSize - blockHeader105 - blockTrailer
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// parseHeader reads the first dataStart108 bytes of a log file of the given
// size. It fails with ErrFormat, or with *Damage.
func parseHeader(b []byte, size int64) (Header, error) {
	if len(b) < sectorSize {
		return Header{}, &Damage{Expected: "a redo log with a header", Found: fmt.Sprintf("%d bytes", size)}
	}
	h := Header{Format: Format(binary.BigEndian.Uint32(b))}
	creator, _, _ := bytes.Cut(b[headerCreator:headerCreatorEnd], []byte{0})
	h.Creator = strings.ToValidUTF8(string(creator), "?")
	h.First = LSN(binary.BigEndian.Uint64(b[8:]))
	if h.Format == FormatMySQL56 && len(bytes.Trim(b[:sectorSize], "\x00")) == 0 {
		return h, &Damage{Expected: "a redo log header", Found: "zeros"}
	}
	if h.Format == FormatMySQL56 { // the only one without a checksum
		return h, fmt.Errorf("%w: %s", ErrFormat, h.Format)
	}
	if stored, sum := binary.BigEndian.Uint32(b[headerCRC:]), crc32.Checksum(b[:headerCRC], castagnoli); stored != sum {
		return h, &Damage{Expected: fmt.Sprintf("header checksum %08x", sum), Found: fmt.Sprintf("%08x", stored)}
	}
	switch h.Format {
	case Format108:
		// Words behind the creator hold the parameters of encryption (log0crypt.cc).
		if binary.BigEndian.Uint32(b[headerCreatorEnd:]) != 0 {
			return h, fmt.Errorf("%w: %s", ErrFormat, h.Format|formatEncrypted)
		}
		return h, h.parseCheckpoints108(b, size)
	case Format105:
		return h, h.parseCheckpoints105(b, size)
	}
	return h, fmt.Errorf("%w: %s", ErrFormat, h.Format)
}

func (h *Header) parseCheckpoints108(b []byte, size int64) error {
	if len(b) < dataStart108 || size < dataStart108+sectorSize {
		return &Damage{Expected: "a redo log with data", Found: fmt.Sprintf("%d bytes", size)}
	}
	if h.First < dataStart108 {
		return &Damage{Offset: 8, Expected: fmt.Sprintf("a first LSN of at least %d", dataStart108), Found: fmt.Sprint(h.First)}
	}
	for _, offset := range []int64{4096, 8192} {
		block := b[offset : offset+64]
		at, end := LSN(binary.BigEndian.Uint64(block)), LSN(binary.BigEndian.Uint64(block[8:]))
		stored, sum := binary.BigEndian.Uint32(block[checkpointCRC:]), crc32.Checksum(block[:checkpointCRC], castagnoli)
		switch {
		case isZero(block):
		case stored != sum:
			h.BadCheckpoint = &Damage{Offset: offset, Expected: fmt.Sprintf("checkpoint checksum %08x", sum), Found: fmt.Sprintf("%08x", stored)}
		case at < h.First || end < at || !isZero(block[16:checkpointCRC]):
			h.BadCheckpoint = &Damage{Offset: offset, Expected: "a checkpoint", Found: fmt.Sprintf("LSN %d to %d", at, end)}
		case at >= h.Checkpoint:
			h.Checkpoint, h.CheckpointEnd = at, end
		}
	}
	return h.needCheckpoint(4096)
}

func (h *Header) parseCheckpoints105(b []byte, size int64) error {
	if len(b) < dataStart105 || size < dataStart105+sectorSize {
		return &Damage{Expected: "a redo log with data", Found: fmt.Sprintf("%d bytes", size)}
	}
	var newest uint64
	for _, offset := range []int64{512, 1536} {
		block := b[offset : offset+sectorSize]
		stored, sum := binary.BigEndian.Uint32(block[headerCRC:]), crc32.Checksum(block[:headerCRC], castagnoli)
		if isZero(block) {
			continue
		}
		if stored != sum {
			h.BadCheckpoint = &Damage{Offset: offset, Expected: fmt.Sprintf("checkpoint checksum %08x", sum), Found: fmt.Sprintf("%08x", stored)}
			continue
		}
		number, at := binary.BigEndian.Uint64(block), LSN(binary.BigEndian.Uint64(block[8:]))
		where, end := binary.BigEndian.Uint64(block[16:]), LSN(binary.BigEndian.Uint64(block[checkpointEnd105:]))
		inBlock := where % sectorSize
		if where < dataStart105 || where >= uint64(size-size%sectorSize) || inBlock != uint64(at)%sectorSize ||
			inBlock < blockHeader105 || inBlock >= sectorSize-blockTrailer || end != 0 && end < at {
			h.BadCheckpoint = &Damage{Offset: offset, Expected: "a checkpoint", Found: fmt.Sprintf("LSN %d to %d at offset %d", at, end, where)}
			continue
		}
		if number >= newest {
			newest, h.Checkpoint, h.CheckpointEnd, h.dataOffset = number, at, max(at, end), int64(where)
		}
	}
	return h.needCheckpoint(512)
}

func (h *Header) needCheckpoint(offset int64) error {
	if h.Checkpoint != 0 {
		return nil
	}
	if h.BadCheckpoint != nil {
		return h.BadCheckpoint
	}
	return &Damage{Offset: offset, Expected: "a checkpoint", Found: "none"}
}

func isZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
