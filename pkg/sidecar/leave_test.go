package sidecar

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-dev/berth/pkg/rebuild"
	"github.com/berth-dev/berth/pkg/wsrep"
)

// TestFarewell plays looks a second apart, with a limit of two seconds.
func TestFarewell(t *testing.T) {
	type look struct {
		word, start string
		stranded    bool
		want        step
	}
	for name, looks := range map[string][]look{
		"it comes back": {{nonPrimary, "a", false, stay}, {nonPrimary, "a", false, stay}, {inPrimary, "a", false, stay}, {nonPrimary, "a", false, stay}, {nonPrimary, "a", false, stay}, {nonPrimary, "a", false, shutdown}},
		"it never ends": {{nonPrimary, "a", false, stay}, {nonPrimary, "a", false, stay}, {nonPrimary, "a", false, shutdown}, {nonPrimary, "a", false, stay},
			{nonPrimary, "a", false, stay}, {nonPrimary, "a", false, shutdown}, {nonPrimary, "a", false, stay}, {nonPrimary, "a", false, stay}, {nonPrimary, "a", false, kill}},
		"it takes no connections and does not end": {{nonPrimary, "a", false, stay}, {nonPrimary, "a", false, stay}, {nonPrimary, "a", false, shutdown},
			{starting, "a", false, stay}, {starting, "a", false, stay}, {starting, "a", false, kill}},
		"it ended, and its successor joins": {{nonPrimary, "a", false, stay}, {nonPrimary, "a", false, stay}, {nonPrimary, "a", false, shutdown},
			{starting, "b", false, stay}, {starting, "b", false, stay}, {starting, "b", false, stay}, {starting, "b", false, stay}},
		"it ended, and nobody can say so": {{nonPrimary, "", false, stay}, {nonPrimary, "", false, stay}, {nonPrimary, "", false, shutdown},
			{starting, "", false, stay}, {starting, "", false, stay}, {starting, "", false, stay}, {starting, "", false, stay}},
		"it applies nothing any more, and does not end": {{stalled, "a", false, stay}, {stalled, "a", false, stay}, {stalled, "a", false, shutdown},
			{starting, "a", false, stay}, {starting, "a", false, stay}, {starting, "a", false, kill}},
		"it goes on":               {{stalled, "a", false, stay}, {stalled, "a", false, stay}, {inPrimary, "a", false, stay}, {stalled, "a", false, stay}},
		"a joiner":                 {{starting, "a", false, stay}, {starting, "a", false, stay}, {starting, "a", false, stay}, {starting, "a", false, stay}},
		"a joiner that joins none": {{starting, "a", true, stay}, {starting, "a", true, stay}, {starting, "a", true, kill}, {starting, "a", true, stay}},
	} {
		t.Run(name, func(t *testing.T) {
			var f farewell
			var got, want []step
			for i, l := range looks {
				got = append(got, f.look(time.Unix(int64(i), 0), 2*time.Second, l.word, l.start, l.stranded))
				want = append(want, l.want)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// stalling is a server whose applier has ended; it notes that it was told to shut down.
type stalling struct {
	fakeServer
	goesOn bool
	told   chan struct{}
}

func (s *stalling) Status(ctx context.Context) (wsrep.Status, error) {
	if s.goesOn {
		s.status.Committed++
	}
	return s.fakeServer.Status(ctx)
}

func (s *stalling) Shutdown(context.Context) error {
	s.told <- struct{}{}
	return nil
}

// TestStalled lets the sidecar look at a server that applies nothing any more, and at
// one that has lost a thread and goes on all the same.
func TestStalled(t *testing.T) {
	status := synced(117)
	status.State, status.Queued, status.Appliers, status.Wanted = "3", 1203, 1, 2
	for _, goesOn := range []bool{false, true} {
		s, _, _ := newSidecar(t)
		server := &stalling{fakeServer{status: status}, goesOn, make(chan struct{}, 9)}
		s.Server, s.NonPrimaryLimit = server, time.Second
		ctx, cancel := context.WithTimeout(t.Context(), 4500*time.Millisecond)
		ended := make(chan struct{})
		go func() { s.leave(ctx); close(ended) }()
		select {
		case <-server.told:
			if goesOn {
				t.Error("a server that goes on is ended")
			}
		case <-ctx.Done():
			if !goesOn {
				t.Error("a server that has stalled is left alone")
			}
		}
		cancel()
		<-ended
	}
}

// TestTwoJoinersWithoutDonor asks the sidecar of another joiner, as the donor of
// both has come back and waits.
func TestTwoJoinersWithoutDonor(t *testing.T) {
	for _, test := range []struct {
		name string
		peer func(*fakeServer)
		want bool
	}{
		{"it does not answer either", func(f *fakeServer) { f.err = errors.New("no socket") }, true},
		{"it serves", func(*fakeServer) {}, false},
		{"it is in no Primary component, and will be ended", func(f *fakeServer) { f.status.Cluster = "non-Primary" }, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			peer, server, _ := newSidecar(t)
			test.peer(server)
			mux := http.NewServeMux()
			peer.Handle(mux)
			listening := httptest.NewServer(mux)
			defer listening.Close()
			host, port, err := net.SplitHostPort(listening.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			me, _, _ := newSidecar(t)
			me.Port = port
			me.state.Store(&rebuild.Cluster{Replicas: 3, Members: []rebuild.Report{
				{Ordinal: 0, PodUID: me.PodUID, Start: "a", State: rebuild.Started},
				{Ordinal: 1, PodUID: "v", Start: "b", State: rebuild.Started, Address: host},
				{Ordinal: 2, PodUID: "w", Start: "c", State: rebuild.Waiting},
			}})
			if start, stranded := me.ownServer(t.Context(), starting); start != "a" || stranded != test.want {
				t.Errorf("start %q, stranded %v, expected %v", start, stranded, test.want)
			}
			listening.Close()
			if _, stranded := me.ownServer(t.Context(), starting); stranded {
				t.Error("stranded by the silence of a sidecar")
			}
		})
	}
}
