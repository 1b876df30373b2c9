package member

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/pkg/datadir"
	"github.com/berth-dev/berth/pkg/galeracluster"
	"github.com/berth-dev/berth/pkg/rebuild"
)

// newMember makes a member of three with an empty volume.
func newMember(t *testing.T, store *memoryStore, ordinal int) (*Member, *fakeWorkload) {
	t.Helper()
	root := t.TempDir()
	workload := &fakeWorkload{shape: galeracluster.Shape{Replicas: 3}}
	names := 0
	return &Member{
		Identity: Identity{Namespace: "n", Cluster: "galera", Ordinal: ordinal, Pod: fmt.Sprintf("galera-%d", ordinal),
			PodUID: fmt.Sprintf("uid-%d", ordinal), Address: fmt.Sprintf("127.0.0.%d", ordinal+1), Claim: "data"},
		Volume: datadir.Volume{Root: root, Data: root + "/data"}, Store: store, Workload: workload, RunDir: t.TempDir(),
		Answers: func(context.Context, string) bool { return false },
		Outside: func(context.Context, string) bool { return false },
		NewUUID: func() string { names++; return fmt.Sprintf("%08d-0000-0000-0000-%012d", ordinal+1, names) },
	}, workload
}

func TestOneByOneIsRefused(t *testing.T) {
	m, workload := newMember(t, &memoryStore{}, 0)
	workload.shape.OneByOne = true
	err := m.Prepare(t.Context())
	if err == nil || !strings.Contains(err.Error(), "podManagementPolicy: Parallel") {
		t.Errorf("error %v, expected one that names the fix", err)
	}
	if !slices.Contains(workload.events, string(rebuild.OrderedReady)) {
		t.Errorf("events %v, expected %s", workload.events, rebuild.OrderedReady)
	}
}

// TestThreeMembersPrepare lets three empty members find out who installs, while
// the API fails now and then.
func TestThreeMembersPrepare(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	store := &memoryStore{failures: 3}
	done := make(chan int, 3)
	for ordinal := range 3 {
		m, _ := newMember(t, store, ordinal)
		go func() {
			if err := m.Prepare(ctx); err == nil {
				done <- ordinal
			} else {
				done <- -1
			}
		}()
	}
	if first := <-done; first != 0 {
		t.Errorf("member %d is let through first, expected 0", first)
	}
	cancel()
	if a, b := <-done, <-done; a != -1 || b != -1 {
		t.Errorf("members %d and %d are let through as well, expected them to wait for a server", a, b)
	}
	if g := store.state.Grants; len(g) != 1 || g[0].Rule != rebuild.FirstInstall || g[0].Consumed {
		t.Errorf("grants %+v, expected one for a first installation that is not consumed", g)
	}
}

// TestDecisionWithinASecond: the last report decides, with nobody asking again
// and again.
func TestDecisionWithinASecond(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	store := &memoryStore{}
	done := make(chan time.Time, 3)
	for ordinal := range 3 {
		m, _ := newMember(t, store, ordinal)
		go func() {
			if ordinal == 2 {
				time.Sleep(1500 * time.Millisecond) // the last, after the others have settled
			}
			if m.Prepare(ctx) == nil {
				done <- time.Now()
			}
		}()
	}
	decided := <-done
	reported := store.lastReport()
	if took := decided.Sub(reported); took > time.Second {
		t.Errorf("decided %s after the last report", took)
	} else {
		t.Logf("decided %s after the last report", took)
	}
}

func TestHandoverIsUsedOnce(t *testing.T) {
	dir := t.TempDir()
	if err := writeHandover(dir, rebuild.Report{PodUID: "a", Ordinal: 2}); err != nil {
		t.Fatal(err)
	}
	if r, found, err := takeHandover(dir, "a"); !found || err != nil || r.Ordinal != 2 {
		t.Errorf("%v %v %v, expected the report", r, found, err)
	}
	if _, found, err := takeHandover(dir, "a"); found || err != nil {
		t.Errorf("found again: %v, %v", found, err)
	}
	if err := writeHandover(dir, rebuild.Report{PodUID: "b"}); err != nil {
		t.Fatal(err)
	}
	if _, found, _ := takeHandover(dir, "a"); found {
		t.Error("another pod's hand-over was taken")
	}
}

func TestLockKeepsSecondProcessOut(t *testing.T) {
	path := t.TempDir() + "/lock"
	first, err := TakeLock(t.Context(), path, func() { t.Error("busy, but nobody has it") })
	if err != nil {
		t.Fatal(err)
	}
	busy := make(chan bool, 1)
	got := make(chan error, 1)
	go func() {
		_, err := TakeLock(t.Context(), path, func() { busy <- true })
		got <- err
	}()
	<-busy
	select {
	case err := <-got:
		t.Fatalf("a second lock: %v", err)
	default:
	}
	if err := first.Release(); err != nil {
		t.Fatal(err)
	}
	if err := <-got; err != nil {
		t.Errorf("after the release: %v", err)
	}
}

func TestUnreadableLineageIsNotAbsent(t *testing.T) {
	store := &memoryStore{}
	m, _ := newMember(t, store, 0)
	if err := os.MkdirAll(m.Volume.Berth(), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(m.Volume.Lineage(), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := m.Prepare(t.Context()); err == nil {
		t.Error("prepared a volume whose lineage cannot be read")
	}
	if len(store.reports) != 0 {
		t.Errorf("reported %+v", store.reports)
	}
}
