package datadir

import "github.com/berth-dev/berth/pkg/gcache"

// Cache is the range of write sets that a galera.cache file holds without a gap,
// up to its newest. A server that starts from a position keeps the cache only
// when the cache reaches up to that position; otherwise it forgets all of it and
// every stale joiner needs a full copy.
type Cache struct {
	UUID  string `json:"uuid,omitempty"`
	First int64  `json:"first,omitempty"` // seqno; 0 when the cache holds nothing
	Last  int64  `json:"last,omitempty"`
}

// Covers says whether a server that starts from p keeps this cache.
func (c Cache) Covers(p Position) bool {
	return c.First > 0 && c.UUID == p.UUID && c.Last >= p.Seqno
}

// ReadCache reads a data directory's galera.cache. A missing file is an empty
// cache, and so is one whose content makes no sense.
func ReadCache(dir string) (Cache, error) {
	c, err := gcache.Read(dir)
	if err != nil || c.First == 0 {
		return Cache{}, err
	}
	return Cache(c), nil
}
