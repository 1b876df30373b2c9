package redo

import (
	"encoding/binary"
	"hash/crc32"
)

// Layout of a block of format 10.5 (log0log.h of MariaDB 10.5): a header of
// number, length of data, first record group and checkpoint number, then data,
// then a checksum. LSNs count headers and checksums too.
const (
	blockLength    = 4
	blockFlushBit  = 1 << 31
	blockNumberMax = 0x3fffffff
)

// blockNumber is the number that the block at lsn has to carry.
func blockNumber(lsn LSN) uint32 { return uint32(uint64(lsn)/sectorSize)&blockNumberMax + 1 }

// fill105 hands out the data of the blocks from the checkpoint on. It ends at the
// first block that is not full, or not of this round.
func (l *Log) fill105(emit func(read func([]byte) (int, error)) bool) {
	lsn := l.Checkpoint - l.Checkpoint%sectorSize
	at := l.dataOffset - l.dataOffset%sectorSize
	ring := (l.Size - dataStart105) / sectorSize * sectorSize
	skip := int(l.Checkpoint%sectorSize) - blockHeader105
	left, size := ring, int64(firstChunk)
	for left > 0 {
		// One block more is read than handed out, for the last one's sake.
		length := min(size, left, dataStart105+ring-at)
		ended := false
		ok := emit(func(b []byte) (n int, err error) {
			if _, err := l.readFull(b[:length], at); err != nil {
				return 0, err
			}
			ahead := dataStart105 + (at+length-dataStart105)%ring
			if _, err := l.readFull(b[length:length+sectorSize], ahead); err != nil {
				return 0, err
			}
			n, ended = unblock(b[:length+sectorSize], lsn)
			first := min(skip, n)
			skip = 0
			return copy(b, b[first:n]), nil
		})
		if !ok || ended {
			return
		}
		lsn, left, size = lsn+LSN(length), left-length, chunkSize-sectorSize
		at = dataStart105 + (at+length-dataStart105)%ring
	}
}

// unblock moves the data of the blocks in b, but the last, together at its
// front. It answers how much that is, and whether the log ends there.
//
// A mini-transaction that fills its block to the end counts only when the next
// block is there, as the server has it: then the last byte of the data is kept
// back.
func unblock(b []byte, lsn LSN) (n int, ended bool) {
	if !isBlock(b[:sectorSize], lsn) {
		return 0, true
	}
	for i := 0; i+sectorSize < len(b); i += sectorSize {
		block := b[i : i+sectorSize]
		length := int(binary.BigEndian.Uint16(block[blockLength:]))
		n += copy(b[n:], block[blockHeader105:min(length, sectorSize-blockTrailer)])
		if length < sectorSize {
			return n, true
		}
		next := i + sectorSize
		if !isBlock(b[next:next+sectorSize], lsn+LSN(next)) {
			return n - 1, true
		}
	}
	return n, false
}

// isBlock says whether b is the block that belongs at lsn.
func isBlock(b []byte, lsn LSN) bool {
	length := binary.BigEndian.Uint16(b[blockLength:])
	return binary.BigEndian.Uint32(b)&^blockFlushBit == blockNumber(lsn) && length >= blockHeader105 && length <= sectorSize &&
		crc32.Checksum(b[:headerCRC], castagnoli) == binary.BigEndian.Uint32(b[headerCRC:])
}

// advance105 is the LSN n bytes of data behind lsn. The end of a block's data is
// the begin of the next one's.
func advance105(lsn LSN, n int) LSN {
	block := lsn - lsn%sectorSize
	data := uint64(lsn%sectorSize) - blockHeader105 + uint64(n)
	return block + LSN(data/blockPayload*sectorSize+blockHeader105+data%blockPayload)
}
