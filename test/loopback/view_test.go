package loopback

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/berth-dev/berth/pkg/datadir"
	"github.com/berth-dev/berth/pkg/rebuild"
)

// TestViewIsSettled: the object comes to know the view that the servers have
// saved, with all members and when one of them has died, while clients write and
// when nobody does. Proofs without a member rest on it.
func TestViewIsSettled(t *testing.T) {
	b := newBed(t)
	b.startAll()
	b.awaitSettled(t.Context(), 3)
	b.Members[2].Kill()
	b.awaitSettled(t.Context(), 2)
}

// awaitSettled waits until the view that member 0 has saved is one of so many
// members and is settled.
func (b *bed) awaitSettled(ctx context.Context, members int) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var view *datadir.View
	var state rebuild.Cluster
	defer func() { b.t.Logf("saved %+v, settled %+v", view, state.Settled) }()
	b.eventually(ctx, "a settled view", func() bool {
		var err error
		view, _, err = datadir.ReadGvwstate(filepath.Join(b.Members[0].Volume, "data"))
		b.must(err)
		state = b.state()
		return view != nil && len(view.Members) == members && state.Settled.View == view.ID
	})
}
