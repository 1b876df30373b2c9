package datadir

import "testing"

const cacheUUID = "93077de7-ec3f-43b9-9d64-1a3b6073acc2"

func TestCacheCovers(t *testing.T) {
	cache := Cache{cacheUUID, 3, 10}
	for seqno, want := range map[int64]bool{9: true, 10: true, 11: false} {
		if got := cache.Covers(Position{UUID: cacheUUID, Seqno: seqno}); got != want {
			t.Errorf("covers %d: %v", seqno, got)
		}
	}
	if cache.Covers(Position{UUID: "00000000-0000-0000-0000-000000000001", Seqno: 5}) {
		t.Error("covers a position of another history")
	}
	if (Cache{}).Covers(Position{}) {
		t.Error("an empty cache covers something")
	}
}
