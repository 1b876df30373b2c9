package page

import "hash/crc32"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// crc is CRC-32C. Pages come straight from the page cache, and package crc32 would
// wait for memory half of the time: where the processor can, whole blocks are
// summed in a way that does not.
func crc(p []byte) uint32 {
	sum, done := crcBlocks(p)
	return crc32.Update(sum, castagnoli, p[done:])
}
