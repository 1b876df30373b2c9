package sidecar

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/klog/v2"

	"github.com/berth-dev/berth/pkg/datadir"
	"github.com/berth-dev/berth/pkg/galeracluster"
	"github.com/berth-dev/berth/pkg/rebuild"
	"github.com/berth-dev/berth/pkg/wsrep"
)

// Server is the database server; *wsrep.Server is one.
type Server interface {
	Status(ctx context.Context) (wsrep.Status, error)
	FlushLogs(ctx context.Context) error
	Shutdown(ctx context.Context) error
}

// Store keeps the cluster's state; *galeracluster.Store is one.
type Store interface {
	Update(ctx context.Context, change func(*rebuild.Cluster) bool) (rebuild.Cluster, error)
	Watch(ctx context.Context) <-chan rebuild.Cluster
}

// Sidecar works beside one server. Store and Label may be nil: without an API
// server it does all the rest.
type Sidecar struct {
	Server  Server
	Volume  datadir.Volume
	Ordinal int
	PodUID  string
	// RunDir is the directory that the pod's containers share.
	RunDir string
	Store  Store
	// Shape reads how many members the StatefulSet wants; may be nil.
	Shape func(ctx context.Context) (galeracluster.Shape, error)
	// Label writes the pod's label berth.dev/ready.
	Label func(ctx context.Context, ready bool) error
	// Flush writes the volume's dirty pages.
	Flush func() error
	// FlushInterval is the time between two flushes, RecordInterval between two looks
	// at the position; the object is written at most every ObjectInterval, but for a
	// changed view, on which proofs rest.
	FlushInterval, RecordInterval, ObjectInterval time.Duration
	// NonPrimaryLimit is how long the server may be in no Primary component before it
	// is shut down; 0 is for ever.
	NonPrimaryLimit time.Duration
	// Port is the one on which all members' sidecars answer.
	Port string

	state   atomic.Pointer[rebuild.Cluster] // as the object was last seen
	settled atomic.Bool                     // a flush has ended since the server became fit
	metrics *metrics
}

// Run works until the context ends.
func (s *Sidecar) Run(ctx context.Context, listen string) error {
	s.metrics = newMetrics()
	mux := http.NewServeMux()
	s.Handle(mux)
	server := http.Server{Addr: listen, Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	ctx, cancel := context.WithCancel(ctx)
	var work sync.WaitGroup
	defer work.Wait()
	defer cancel()
	work.Go(func() { s.flush(ctx) })
	work.Go(func() { s.record(ctx) })
	work.Go(func() { s.leave(ctx) })
	if s.Store != nil {
		work.Go(func() { s.follow(ctx) })
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("answer probes: %w", err)
	}
	return nil
}

// flush keeps the volume's content on disk.
func (s *Sidecar) flush(ctx context.Context) {
	tick := time.NewTicker(s.FlushInterval)
	defer tick.Stop()
	failing := false
	for {
		begin := time.Now()
		err := s.Flush()
		s.metrics.flushes.Observe(time.Since(begin).Seconds())
		if err != nil && !failing {
			klog.FromContext(ctx).Error(err, "Cannot flush the volume: after a power cut, joiners may need full copies")
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
