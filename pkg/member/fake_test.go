package member

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/berth-dev/berth/pkg/galeracluster"
	"github.com/berth-dev/berth/pkg/rebuild"
)

// memoryStore keeps the state in memory; compare-and-swap is a mutex.
type memoryStore struct {
	mutex sync.Mutex
	state rebuild.Cluster
	// reports are all that were ever published, in order.
	reports []rebuild.Report
	// failures is how many of the next updates fail.
	failures int
	watchers []chan rebuild.Cluster
	complete time.Time // when all of three members waited for the first time
}

func (s *memoryStore) Update(_ context.Context, change func(*rebuild.Cluster) bool) (rebuild.Cluster, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.failures > 0 {
		s.failures--
		return rebuild.Cluster{}, errors.New("the API server is away")
	}
	next := s.copy()
	if change(&next) {
		s.state = next
		if len(next.Members) == 3 && s.complete.IsZero() && !slices.ContainsFunc(next.Members, func(r rebuild.Report) bool { return r.State != rebuild.Waiting }) {
			s.complete = time.Now()
		}
		s.reports = append(s.reports, next.Members...)
		for _, w := range s.watchers {
			select {
			case <-w:
			default:
			}
			w <- s.copy()
		}
	}
	return s.copy(), nil
}

func (s *memoryStore) lastReport() time.Time {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.complete
}

func (s *memoryStore) Watch(context.Context) <-chan rebuild.Cluster {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	w := make(chan rebuild.Cluster, 1)
	w <- s.copy()
	s.watchers = append(s.watchers, w)
	return w
}

func (s *memoryStore) copy() rebuild.Cluster {
	c := s.state
	c.Members = append([]rebuild.Report(nil), c.Members...)
	c.Grants = append([]rebuild.Grant(nil), c.Grants...)
	return c
}

// fakeWorkload is a StatefulSet of a given shape.
type fakeWorkload struct {
	shape         galeracluster.Shape
	mutex         sync.Mutex
	events        []string
	clusterEvents []string
}

func (w *fakeWorkload) Shape(context.Context, string) (galeracluster.Shape, error) {
	return w.shape, nil
}

func (w *fakeWorkload) VolumeName(context.Context, string) (string, error) { return "pv", nil }

func (w *fakeWorkload) Event(_ context.Context, _, _, _, code, _ string) error {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.events = append(w.events, code)
	return nil
}

func (w *fakeWorkload) ClusterEvent(_ context.Context, _, _, code, _ string) error {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.clusterEvents = append(w.clusterEvents, code)
	return nil
}

const patience = 30 * time.Second
