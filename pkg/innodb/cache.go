package innodb

import (
	"fmt"

	"github.com/berth-dev/berth/pkg/gcache"
	"github.com/berth-dev/berth/pkg/innodb/position"
)

// backlog is by how many write sets the cache of a member may be ahead of its
// position without anybody wondering: those that are being committed at the same
// moment, and those that flow control lets wait.
const backlog = 1000

// judgeCache compares the position with the newest write set that the member
// received. A redo log that was cut on a whole mini-transaction looks like a
// complete one; a cache that is far ahead tells them apart.
func (v *verification) judgeCache() {
	p := v.log.Position
	if p.Certainty == position.Unknown {
		return
	}
	cache, err := gcache.Read(v.dir)
	if err != nil {
		v.find(unreadable(gcache.FileName, err))
		return
	}
	if cache.UUID != p.UUID || cache.Last-p.Seqno <= backlog {
		return
	}
	v.find(Finding{Verdict: NotVerified, Code: RedoCut, File: gcache.FileName, Page: -1,
		Expected: fmt.Sprintf("no write set far behind the position %d", p.Seqno),
		Found:    fmt.Sprintf("write sets up to %d", cache.Last),
		Do:       "compare the position with other members: the redo log has lost its end, or the server did not flush at each commit (innodb_flush_log_at_trx_commit), or it was behind with applying"})
}
