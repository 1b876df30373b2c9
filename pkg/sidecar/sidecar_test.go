package sidecar

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-dev/berth/pkg/datadir"
	"github.com/berth-dev/berth/pkg/galeracluster"
	"github.com/berth-dev/berth/pkg/member"
	"github.com/berth-dev/berth/pkg/rebuild"
	"github.com/berth-dev/berth/pkg/wsrep"
)

const (
	history = "11111111-2222-3333-4444-555555555555"
	other   = "99999999-2222-3333-4444-555555555555"
)

// fakeServer answers what a test wants, errors included.
type fakeServer struct {
	status      wsrep.Status
	err, flush  error
	flushes     int
	beforeFlush func()
}

func (f *fakeServer) Status(context.Context) (wsrep.Status, error) { return f.status, f.err }
func (f *fakeServer) Shutdown(context.Context) error               { return nil }
func (f *fakeServer) FlushLogs(context.Context) error {
	f.flushes++
	if f.beforeFlush != nil {
		f.beforeFlush()
	}
	return f.flush
}

// fakeStore keeps the state in memory and counts writes.
type fakeStore struct {
	state  rebuild.Cluster
	err    error
	writes int
}

func (f *fakeStore) Update(_ context.Context, change func(*rebuild.Cluster) bool) (rebuild.Cluster, error) {
	if f.err != nil {
		return rebuild.Cluster{}, f.err
	}
	if change(&f.state) {
		f.writes++
	}
	return f.state, nil
}

func (f *fakeStore) Watch(context.Context) <-chan rebuild.Cluster { return nil }

func synced(seqno int64) wsrep.Status {
	return wsrep.Status{State: "4", Cluster: "Primary", Ready: "ON", Rejects: "NONE", UUID: history, Committed: seqno, View: []string{"10.0.0.1"}}
}

func epoch(attempt int64, uuid string, seqno int64) datadir.Epoch {
	return datadir.Epoch{ID: string(rune('a' + attempt)), Attempt: attempt, Begin: datadir.Position{UUID: uuid, Seqno: seqno}}
}

func newSidecar(t *testing.T) (*Sidecar, *fakeServer, *fakeStore) {
	t.Helper()
	server, store := &fakeServer{status: synced(7)}, &fakeStore{state: rebuild.Cluster{Replicas: 1}}
	s := &Sidecar{Server: server, Volume: datadir.Volume{Root: t.TempDir()}, PodUID: "u", RunDir: t.TempDir(), Store: store,
		Flush: func() error { return nil }, metrics: newMetrics()}
	if err := os.MkdirAll(s.Volume.Berth(), 0o755); err != nil {
		t.Fatal(err)
	}
	lineage := datadir.Lineage{Namespace: "n", Cluster: "c", Epochs: []datadir.Epoch{epoch(1, history, 0)}}
	if err := datadir.WriteLineage(s.Volume.Lineage(), lineage); err != nil {
		t.Fatal(err)
	}
	return s, server, store
}

func get(t *testing.T, s *Sidecar, path string) (int, string) {
	t.Helper()
	mux := http.NewServeMux()
	s.Handle(mux)
	recorder := httptest.NewRecorder()
	mux.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, path, nil))
	body, _ := io.ReadAll(recorder.Body)
	return recorder.Code, string(body)
}

func TestReadyz(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*Sidecar, *fakeServer)
		want   string // in the reason; empty is ready
	}{
		{"synced", func(*Sidecar, *fakeServer) {}, ""},
		{"donor", func(_ *Sidecar, f *fakeServer) { f.status.State = "2" }, "Donor or Desynced"},
		{"rejecting", func(_ *Sidecar, f *fakeServer) { f.status.Rejects = "ALL" }, "reject queries"},
		{"non-Primary", func(_ *Sidecar, f *fakeServer) { f.status.Cluster = "non-Primary" }, "not in a Primary"},
		{"another history", func(_ *Sidecar, f *fakeServer) { f.status.UUID = other }, "lineage says " + history},
		{"no answer", func(_ *Sidecar, f *fakeServer) { f.err = errors.New("no such socket") }, "no such socket"},
		{"not on disk", func(s *Sidecar, _ *fakeServer) { s.Flush = func() error { return errors.New("I/O error") } }, "I/O error"},
		{"lineage unreadable", func(s *Sidecar, _ *fakeServer) { os.WriteFile(s.Volume.Lineage(), []byte("{"), 0o600) }, "lineage"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, server, _ := newSidecar(t)
			test.change(s, server)
			code, body := get(t, s, "/readyz")
			if ready := code == http.StatusOK; ready != (test.want == "") || !strings.Contains(body, test.want) {
				t.Errorf("%d %s, expected %q", code, body, test.want)
			}
			if code, _ := get(t, s, "/livez"); code != http.StatusOK {
				t.Errorf("/livez is %d: a server that is not ready must not be killed for it", code)
			}
		})
	}
}

func TestPositionIsNotedAfterItIsDurable(t *testing.T) {
	s, server, store := newSidecar(t)
	server.beforeFlush = func() {
		if p, _ := datadir.ReadCommitted(s.Volume.Committed()); p != nil {
			t.Errorf("position %s was noted before the log was flushed", p)
		}
	}
	var last recorder
	if err := s.recordOnce(t.Context(), &last); err != nil {
		t.Fatal(err)
	}
	want := datadir.Position{UUID: history, Seqno: 7}
	if p, err := datadir.ReadCommitted(s.Volume.Committed()); err != nil || p == nil || *p != want {
		t.Errorf("%v, %v on the volume, expected %s", p, err, want)
	}
	if diff := cmp.Diff([]datadir.Position{want}, store.state.Observed); diff != "" {
		t.Error(diff)
	}

	t.Run("nothing new, nothing written", func(t *testing.T) {
		writes, flushes := store.writes, server.flushes
		if err := s.recordOnce(t.Context(), &last); err != nil || store.writes != writes || server.flushes != flushes {
			t.Errorf("%v, %d writes, %d flushes", err, store.writes-writes, server.flushes-flushes)
		}
	})
	t.Run("not too often", func(t *testing.T) {
		s.ObjectInterval, server.beforeFlush = time.Hour, nil
		last.written = time.Now()
		server.status = synced(8)
		writes := store.writes
		if err := s.recordOnce(t.Context(), &last); err != nil || store.writes != writes {
			t.Errorf("%v, %d writes", err, store.writes-writes)
		}
		if p, _ := datadir.ReadCommitted(s.Volume.Committed()); p.Seqno != 8 {
			t.Errorf("%s on the volume: the volume does not wait for the object", p)
		}
		last.written = time.Now().Add(-2 * time.Hour)
		if err := s.recordOnce(t.Context(), &last); err != nil || store.state.Observed[0].Seqno != 8 {
			t.Errorf("%v, observed %v", err, store.state.Observed)
		}
	})
	t.Run("a log that cannot be flushed is not durable", func(t *testing.T) {
		server.status, server.flush, s.ObjectInterval = synced(99), errors.New("disk full"), 0
		if err := s.recordOnce(t.Context(), &last); err == nil || store.state.Observed[0].Seqno != 8 {
			t.Errorf("%v, observed %v", err, store.state.Observed)
		}
	})
}

// TestScaledAway: nobody waits for a verdict while the members that are not
// wanted any more leave a component that goes on. Its sidecars see both, and do
// not wait for the interval: the power may go next.
func TestScaledAway(t *testing.T) {
	s, server, store := newSidecar(t)
	s.ObjectInterval = time.Hour
	shape, shapeless := galeracluster.Shape{Replicas: 2}, error(nil)
	s.Shape = func(context.Context) (galeracluster.Shape, error) { return shape, shapeless }
	store.state.Replicas = 2
	store.state.Grants = []rebuild.Grant{{Attempt: 1, ID: "b", Consumed: true, Position: datadir.Position{UUID: history, Seqno: 0}}}
	for i, address := range []string{"10.0.0.1", "10.0.0.2"} {
		store.state.Put(rebuild.Report{Ordinal: i, PodUID: "u" + address, Address: address, State: rebuild.Started})
	}
	var last recorder
	record := func(view ...string) {
		t.Helper()
		server.status.View = view
		if err := s.recordOnce(t.Context(), &last); err != nil {
			t.Fatal(err)
		}
	}
	record("10.0.0.1", "10.0.0.2")
	record("10.0.0.1")
	if len(store.state.Behind) > 0 {
		t.Errorf("behind are %v, but both members are wanted", store.state.Behind)
	}
	record("10.0.0.1", "10.0.0.2")
	shapeless = errors.New("the StatefulSet is deleted, to be made again")
	record("10.0.0.1")
	if store.state.Replicas != 2 || len(store.state.Behind) > 0 {
		t.Errorf("%d replicas, behind are %v: a shape that cannot be read says nothing", store.state.Replicas, store.state.Behind)
	}
	record("10.0.0.1", "10.0.0.2")
	shape, shapeless = galeracluster.Shape{Replicas: 1}, nil
	record("10.0.0.1")
	if diff := cmp.Diff([]rebuild.Behind{{Ordinal: 1, Epoch: "b"}}, store.state.Behind); diff != "" || store.state.Replicas != 1 {
		t.Errorf("%d replicas: %s", store.state.Replicas, diff)
	}
}

// TestSavedViewIsSettled: the object learns which saved view the server shows, and
// only when the file names as many members as the server does.
func TestSavedViewIsSettled(t *testing.T) {
	s, _, store := newSidecar(t)
	s.Volume.Data = t.TempDir()
	grant := rebuild.Grant{Attempt: 1, ID: "b", Consumed: true, Position: datadir.Position{UUID: history, Seqno: 0}}
	store.state.Grants = []rebuild.Grant{grant}
	var last recorder
	for _, step := range []struct {
		members int
		want    rebuild.Settled
	}{
		{0, rebuild.Settled{}},
		{2, rebuild.Settled{}},
		{1, rebuild.Settled{Epoch: "b", View: other + " 4"}},
	} {
		content := "my_uuid: " + other + "\n#vwbeg\nview_id: 3 " + other + " 4\nbootstrap: 0\n" + strings.Repeat("member: "+other+" 0\n", step.members) + "#vwend\n"
		if err := os.WriteFile(filepath.Join(s.Volume.Data, "gvwstate.dat"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := s.recordOnce(t.Context(), &last); err != nil || store.state.Settled != step.want {
			t.Errorf("%d members saved, one shown: %+v, %v; expected %+v", step.members, store.state.Settled, err, step.want)
		}
	}
}

// TestMemberThatStartedWithoutAPI: when the API server is back, the report is
// made up for, and the volume learns the epoch in which it takes part.
func TestMemberThatStartedWithoutAPI(t *testing.T) {
	s, server, store := newSidecar(t)
	server.status = synced(60)
	me := rebuild.Report{Ordinal: 0, Pod: "c-0", PodUID: "u", Start: "s2", Address: "10.0.0.1", State: rebuild.Waiting, Position: datadir.Undefined}
	content, _ := json.Marshal(me)
	if err := os.WriteFile(member.UnreportedFile(s.RunDir), content, 0o600); err != nil {
		t.Fatal(err)
	}
	store.state.Members = []rebuild.Report{{Ordinal: 0, PodUID: "former", Start: "s1", State: rebuild.Started, Address: "10.0.0.9"}}
	epochs := []datadir.Epoch{epoch(1, history, 0), epoch(2, history, 50)}
	store.state.Grants = []rebuild.Grant{{Attempt: 2, ID: epochs[1].ID, Position: epochs[1].Begin, Epochs: epochs, Consumed: true}}
	store.err = errors.New("the API server is away")
	var last recorder
	if err := s.recordOnce(t.Context(), &last); err == nil {
		t.Error("no error while the API server is away")
	}
	store.err = nil
	if err := s.recordOnce(t.Context(), &last); err != nil {
		t.Fatal(err)
	}
	if r, _ := store.state.Member(0); !r.Is(me) || r.State != rebuild.Started || r.Address != "10.0.0.1" {
		t.Errorf("report %+v", r)
	}
	if l, err := datadir.ReadLineage(s.Volume.Lineage()); err != nil || l.Newest().Attempt != 2 {
		t.Errorf("lineage %+v, %v", l, err)
	}
	if peers, err := datadir.ReadPeers(s.Volume.Peers()); err != nil || len(peers) != 1 || peers[0] != "10.0.0.1" {
		t.Errorf("peers %v, %v", peers, err)
	}
}

func TestMetricsNameTheReason(t *testing.T) {
	s, _, _ := newSidecar(t)
	c := rebuild.Cluster{Replicas: 3}
	s.metrics.cluster(c, rebuild.Review(c))
	if _, body := get(t, s, "/metrics"); !strings.Contains(body, `berth_cluster_verdict{action="wait",code="MissingMembers"} 1`) {
		t.Error(body)
	}
}

func TestLabelFollowsReadiness(t *testing.T) {
	s, server, _ := newSidecar(t)
	var labels []bool
	s.Label = func(_ context.Context, ready bool) error { labels = append(labels, ready); return nil }
	var last recorder
	for _, state := range []string{"4", "4", "2", "2", "4"} {
		server.status.State = state
		if err := s.recordOnce(t.Context(), &last); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]bool{true, false, true}, labels); diff != "" {
		t.Error(diff)
	}
}
