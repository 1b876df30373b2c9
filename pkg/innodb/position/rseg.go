package position

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"

	"github.com/berth-dev/berth/pkg/innodb/redo"
)

// Offsets in the TRX_SYS page, and in the header page of a rollback segment
// (trx0sys.h, trx0rseg.h).
const (
	trxSysNumber   = 5 // in the system tablespace
	trxSysSegments = 56
	segments       = 128
	noPage         = 0xffffffff

	segmentFormat = 38
	segmentUndo   = 72 // page numbers of undo logs, one for each 16 bytes of a page
	// segmentXID follows the undo logs: the largest transaction number, binlog
	// offset and binlog name come between.
	segmentXID = segmentUndo + 8 + 8 + 512

	// MariaDB 10.2 and earlier kept the position in the TRX_SYS page.
	wsrepMagic  = 0x77737265
	wsrepBefore = 3500 // bytes before the page's end
	wsrepFirst  = 1596 // but not before this offset
)

// trxSys is the page that lists the rollback segments.
var trxSys = redo.Page{Space: 0, Number: trxSysNumber}

// segmentPages lists the header pages of the rollback segments.
func segmentPages(sys []byte) []redo.Page {
	var pages []redo.Page
	for i := range segments {
		slot := sys[trxSysSegments+8*i:]
		if number := binary.BigEndian.Uint32(slot[4:]); number != noPage {
			pages = append(pages, redo.Page{Space: binary.BigEndian.Uint32(slot), Number: number})
		}
	}
	return pages
}

// undoLogs lists the header pages of a segment's undo logs.
func undoLogs(page redo.Page, segment []byte) []redo.Page {
	var pages []redo.Page
	for i := range len(segment) / 16 {
		if number := binary.BigEndian.Uint32(segment[segmentUndo+4*i:]); number != noPage && number != 0 {
			pages = append(pages, redo.Page{Space: page.Space, Number: number})
		}
	}
	return pages
}

// mark is a uuid and a seqno as the server notes them.
type mark struct {
	uuid  [16]byte
	seqno int64
	found bool
}

// segmentMark reads the mark in a rollback segment's header. Headers in the
// format of 10.2 and earlier have none.
func segmentMark(segment []byte) mark {
	if binary.BigEndian.Uint32(segment[segmentFormat:]) != 0 {
		return mark{}
	}
	return parseXID(segment[segmentXID+len(segment)/4:])
}

// trxSysMark reads the mark of a server of 10.2 and earlier.
func trxSysMark(sys []byte) mark {
	at := max(len(sys)-wsrepBefore, wsrepFirst)
	if binary.BigEndian.Uint32(sys[at:]) != wsrepMagic {
		return mark{}
	}
	return parseXID(sys[at+4:])
}

// parseXID reads the transaction id that carries a position: format 1, the
// lengths of its two parts, "WSREPXi", a version, uuid and seqno (wsrep_xid.cc).
func parseXID(b []byte) mark {
	const prefix = "WSREPXi"
	if len(b) < 44 || binary.BigEndian.Uint32(b) != 1 || binary.BigEndian.Uint32(b[8:]) != 0 || !bytes.HasPrefix(b[12:], []byte(prefix)) {
		return mark{}
	}
	length := binary.BigEndian.Uint32(b[4:])
	switch b[12+len(prefix)] {
	case 'd', 'e':
		if length != 32 {
			return mark{}
		}
	case 'f':
		if length != 48 {
			return mark{}
		}
	default:
		return mark{}
	}
	m := mark{seqno: int64(binary.LittleEndian.Uint64(b[36:]))}
	copy(m.uuid[:], b[20:])
	m.found = m.seqno >= 0
	return m
}

// newer gives the mark with the higher seqno, as the server chooses.
func newer(a, b mark) mark {
	if b.found && (!a.found || b.seqno > a.seqno) {
		return b
	}
	return a
}

func (m mark) position() (uuid string, seqno int64) {
	if !m.found {
		return ZeroUUID, -1
	}
	h := hex.EncodeToString(m.uuid[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:], m.seqno
}
