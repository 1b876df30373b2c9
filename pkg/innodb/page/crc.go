package page

import "hash/crc32"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// crc is CRC-32C. Where the processor can, whole blocks are summed in three
// streams at once, and asked for ahead of time: pages come straight from the page
// cache, and package crc32 waits for memory half of the time.
func crc(p []byte) uint32 {
	sum, done := crcBlocks(p)
	return crc32.Update(sum, castagnoli, p[done:])
}
