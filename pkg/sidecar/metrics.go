package sidecar

import (
	"context"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/berth-dev/berth/pkg/rebuild"
	"github.com/berth-dev/berth/pkg/wsrep"
)

// metrics are those of one member, and what its GaleraCluster object says.
type metrics struct {
	registry                              *prometheus.Registry
	ready, primary, state, seqno, members prometheus.Gauge
	recorded                              prometheus.Gauge
	flushes                               prometheus.Histogram
	verdict                               *prometheus.GaugeVec
	reported, attempt, observed           prometheus.Gauge
	blocked                               *prometheus.CounterVec
}

func newMetrics() *metrics {
	m := &metrics{registry: prometheus.NewRegistry()}
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "berth", Name: name, Help: help})
		m.registry.MustRegister(g)
		return g
	}
	m.ready = gauge("member_ready", "1 while the server may serve clients, as /readyz says.")
	m.primary = gauge("member_primary", "1 while the server is in a Primary component.")
	m.state = gauge("member_local_state", "wsrep_local_state of the server: 1 joining, 2 donor or desynced, 3 joined, 4 synced; 0 when it does not answer.")
	m.seqno = gauge("member_committed_seqno", "Last transaction that the server has committed.")
	m.members = gauge("member_cluster_size", "Members of the component that the server is in.")
	m.recorded = gauge("member_recorded_seqno", "Last transaction that was seen to be on disk and noted on the volume.")
	m.reported = gauge("cluster_members_reported", "Members that wait with a complete report, or have started.")
	m.attempt = gauge("cluster_attempt", "Number of the last grant to bootstrap.")
	m.observed = gauge("cluster_observed_seqno", "Highest transaction ever observed of the history that runs.")
	m.flushes = prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "berth", Name: "member_flush_seconds",
		Help: "Time that a flush of the volume took.", Buckets: prometheus.ExponentialBuckets(0.001, 2, 14)})
	m.verdict = prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "berth", Name: "cluster_verdict",
		Help: "1 for what the members' reports decide now, by action and reason code."}, []string{"action", "code"})
	m.blocked = prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "berth", Name: "cluster_waiting_seconds_total",
		Help: "Seconds that the cluster waited or refused, by reason code."}, []string{"code"})
	m.registry.MustRegister(m.flushes, m.verdict, m.blocked)
	return m
}

func (m *metrics) server(s wsrep.Status, ready bool) {
	m.ready.Set(number(ready))
	m.primary.Set(number(s.InPrimary()))
	state, _ := strconv.Atoi(s.State) // no answer: 0
	m.state.Set(float64(state))
	m.seqno.Set(float64(s.Committed))
	m.members.Set(float64(len(s.View)))
}

func (m *metrics) cluster(c rebuild.Cluster, v rebuild.Verdict) {
	m.verdict.Reset()
	m.verdict.WithLabelValues(string(v.Action), string(v.Reason.Code)).Set(1)
	reported := 0
	for _, ordinal := range c.Expected() {
		if r, found := c.Member(ordinal); found && r.State != rebuild.Recovering {
			reported++
		}
	}
	m.reported.Set(float64(reported))
	if g, found := c.LastGrant(); found {
		m.attempt.Set(float64(g.Attempt))
	}
	if g, found := c.Running(); found {
		for _, p := range c.Observed {
			if p.UUID == g.Position.UUID {
				m.observed.Set(float64(p.Seqno))
			}
		}
	}
}

// follow shows what the object says, also while the members still wait for a
// verdict and no server runs.
func (s *Sidecar) follow(ctx context.Context) {
	states := s.Store.Watch(ctx)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var v rebuild.Verdict
	last := time.Now()
	for {
		select {
		case c, open := <-states:
			if !open {
				return
			}
			s.state.Store(&c)
			v = rebuild.Review(c)
			s.metrics.cluster(c, v)
		case now := <-tick.C:
			if v.Action == rebuild.Wait || v.Action == rebuild.Refuse {
				s.metrics.blocked.WithLabelValues(string(v.Reason.Code)).Add(now.Sub(last).Seconds())
			}
			last = now
		}
	}
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
