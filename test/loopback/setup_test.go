package loopback

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/berth-dev/berth/pkg/rebuild"
)

// scratch is the tmpfs of this test program.
var scratch string

func TestMain(m *testing.M) {
	var err error
	if scratch, err = Isolate(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// bed is a cluster for a test; its steps end the test when they fail.
type bed struct {
	*Cluster
	t *testing.T
}

const syncedLimit = 90 * time.Second

func newBed(t *testing.T) *bed {
	t.Helper()
	dir, err := os.MkdirTemp(scratch, "t")
	if err != nil {
		t.Fatal(err)
	}
	b := &bed{t: t}
	program, err := Build(t.Context(), dir)
	b.must(err)
	b.Cluster, err = Start(t.Context(), dir, program, 0)
	b.must(err)
	t.Cleanup(func() {
		b.Close()
		for _, m := range b.Members {
			if t.Failed() {
				log := m.Journal.Since(0)
				t.Logf("%s:\n%s", m.Name(), log[max(0, len(log)-30000):])
			}
		}
		os.RemoveAll(dir)
	})
	return b
}

func (b *bed) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// startAll gives every member a new pod and waits for the cluster.
func (b *bed) startAll() {
	b.t.Helper()
	b.must(b.Start())
	b.must(b.Synced(b.t.Context(), syncedLimit))
}

// killAll ends everything at once, as far as one machine can.
func (b *bed) killAll() {
	for _, m := range b.Members {
		m.Kill()
	}
}

// eventually waits for what processes outside bring about, and for which there
// is nothing to watch.
func (b *bed) eventually(ctx context.Context, what string, holds func() bool) {
	b.t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-ctx.Done():
			b.t.Fatalf("not in time: %s", what)
		case <-tick.C:
		}
	}
}

func (b *bed) state() rebuild.Cluster {
	b.t.Helper()
	state, err := b.State(b.t.Context())
	b.must(err)
	return state
}

func (b *bed) db(ordinal int) *sql.DB {
	b.t.Helper()
	db, err := b.Members[ordinal].DB()
	b.must(err)
	b.t.Cleanup(func() { db.Close() })
	return db
}

func (b *bed) exec(db *sql.DB, statement string, args ...any) {
	b.t.Helper()
	if _, err := db.ExecContext(context.Background(), statement, args...); err != nil {
		b.t.Fatalf("%s: %v", statement, err)
	}
}
