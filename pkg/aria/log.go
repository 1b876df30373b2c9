package aria

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// LogName is the name of log file number n.
func LogName(n uint32) string { return fmt.Sprintf("aria_log.%08d", n) }

// Layout of a log file: pages of 8 KiB, of which the first is its header.
const (
	logPage       = 8 << 10
	logHeaderSize = 12 + 8 + 4 + 4 + 4 + 2 + 3
	logPageSize   = 32 // in the header, minus one
	logNumber     = 34

	pageFlags       = 6
	pageHasCRC      = 1 << 0
	pageHasSectors  = 1 << 1
	pageKnownFlags  = 1<<3 - 1
	sectorTableSize = logPage / 512
)

var logMagic = []byte{0xfe, 0xfe, 0x0b, 1, 'M', 'A', 'R', 'I', 'A', 'L', 'O', 'G'}

// CheckLog reads log file number n and checks its header, and that every page is
// the one that belongs in its place. Pages have checksums only where the server
// was built to write them. The error is *Damage, or the reader's.
func CheckLog(r io.Reader, n uint32) error {
	b := make([]byte, logPage)
	read, err := io.ReadFull(r, b)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	if err := checkLogHeader(b[:read], n); err != nil {
		return err
	}
	for no := uint32(1); ; no++ {
		switch _, err := io.ReadFull(r, b); {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return nil // a page that was not written whole is the end
		case err != nil:
			return err
		}
		if err := checkLogPage(b, n, no); err != nil {
			return err
		}
	}
}

func checkLogHeader(b []byte, n uint32) error {
	if len(b) < logHeaderSize || !bytes.HasPrefix(b, logMagic) {
		return &Damage{"the header of an Aria log", fmt.Sprintf("%d bytes that begin with % x", len(b), b[:min(len(b), 4)])}
	}
	if size := int(binary.LittleEndian.Uint16(b[logPageSize:])) + 1; size != logPage {
		return &Damage{fmt.Sprintf("pages of %d bytes", logPage), fmt.Sprintf("%d bytes", size)}
	}
	if number := uint24(b[logNumber:]); number != n {
		return &Damage{fmt.Sprintf("log number %d in the header", n), fmt.Sprint(number)}
	}
	return nil
}

func checkLogPage(b []byte, n, no uint32) error {
	if isZero(b) { // not written yet
		return nil
	}
	if page, file := uint24(b), uint24(b[3:]); page != no&0xffffff || file != n {
		return &Damage{fmt.Sprintf("page %d of log %d", no, n), fmt.Sprintf("page %d of log %d", page, file)}
	}
	flags := b[pageFlags]
	if flags > pageKnownFlags {
		return &Damage{fmt.Sprintf("known flags on page %d", no), fmt.Sprintf("0x%x", flags)}
	}
	if flags&pageHasCRC == 0 {
		return nil
	}
	header := pageFlags + 1 + 4
	if flags&pageHasSectors != 0 {
		header += sectorTableSize
	}
	return checkSum(fmt.Sprintf("page %d", no), b[header:], b[pageFlags+1:])
}

func uint24(b []byte) uint32 { return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 }

func isZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
