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

// fill105 hands out the records of the blocks from the checkpoint on. It ends at
// the first block that is not full, or not of this round.
func (l *Log) fill105(emit func(read func([]byte) (int, error)) bool) {
	lsn := l.Checkpoint - l.Checkpoint%sectorSize
	at := l.dataOffset - l.dataOffset%sectorSize
	skip := int(l.Checkpoint%sectorSize) - blockHeader105
	left, size := l.Capacity()/sectorSize*sectorSize, int64(firstChunk)
	for left > 0 {
		length := min(size, left, (l.Size-at)/sectorSize*sectorSize)
		ended := false
		ok := emit(func(b []byte) (int, error) {
			if _, err := l.readFull(b[:length], at); err != nil {
				return 0, err
			}
			n := 0
			n, ended = unblock(b[:length], lsn)
			copy(b, b[min(skip, n):n])
			n, skip = n-min(skip, n), 0
			return n, nil
		})
		if !ok || ended {
			return
		}
		lsn, at, left, size = lsn+LSN(length), at+length, left-length, chunkSize
		if at+sectorSize > l.Size {
			at = dataStart105
		}
	}
}

// unblock moves the data of the blocks in b together at its front. It answers
// how much that is, and whether the log ends in b.
func unblock(b []byte, lsn LSN) (n int, ended bool) {
	for i := 0; i+sectorSize <= len(b); i += sectorSize {
		block := b[i : i+sectorSize]
		number := binary.BigEndian.Uint32(block) &^ blockFlushBit
		if number != blockNumber(lsn+LSN(i)) || crc32.Checksum(block[:headerCRC], castagnoli) != binary.BigEndian.Uint32(block[headerCRC:]) {
			return n, true
		}
		length := int(binary.BigEndian.Uint16(block[blockLength:]))
		if length < blockHeader105 || length > sectorSize {
			return n, true
		}
		n += copy(b[n:], block[blockHeader105:min(length, sectorSize-blockTrailer)])
		if length < sectorSize {
			return n, true
		}
	}
	return n, false
}

// advance105 is the LSN n bytes of data behind lsn. The end of a block's data is
// the begin of the next one's.
func advance105(lsn LSN, n int) LSN {
	block := lsn - lsn%sectorSize
	data := uint64(lsn%sectorSize) - blockHeader105 + uint64(n)
	return block + LSN(data/blockPayload*sectorSize+blockHeader105+data%blockPayload)
}
