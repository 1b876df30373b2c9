package provisioner

import (
	"context"
	"errors"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/utils/clock"

	"github.com/berth-dev/berth/pkg/lvm"
)

// Metrics are the numbers that the agent shows about its node.
type Metrics struct {
	volumes   *prometheus.GaugeVec
	unhealthy *prometheus.GaugeVec
	free      *prometheus.GaugeVec
	size      *prometheus.GaugeVec
	metadata  *prometheus.GaugeVec
	commands  *prometheus.CounterVec
	adoptions *prometheus.CounterVec
	passes    *prometheus.CounterVec
	lockWait  *prometheus.HistogramVec
	refused   prometheus.Gauge
	// adoption is the time in which retained volumes came back to their claims.
	adoption             prometheus.Histogram
	orphans, orphanBytes *prometheus.GaugeVec
}

// NewMetrics registers the agent's metrics.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	m := &Metrics{
		volumes: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "berth_volumes", Help: "Logical volumes of Berth on this node by volume group and state; state unreadable has tags that cannot be read.",
		}, []string{"vg", "state"}),
		unhealthy: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "berth_volumes_unhealthy", Help: "Volumes in state ready that lvm does not call healthy, by volume group and what it says (lv_health_status of the volume or its thin pool).",
		}, []string{"vg", "health"}),
		free: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "berth_volume_group_free_bytes", Help: "Unallocated bytes of a volume group that a StorageClass names or that holds volumes of Berth.",
		}, []string{"vg"}),
		size: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "berth_volume_group_size_bytes", Help: "Size of such a volume group.",
		}, []string{"vg"}),
		metadata: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "berth_volume_group_metadata_free_bytes", Help: "Room for metadata in such a volume group; a volume takes about 0.5 KiB, and nothing is made below 16 KiB.",
		}, []string{"vg"}),
		commands: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "berth_commands_total", Help: "Storage commands run, by command and result (ok, error, unknown).",
		}, []string{"command", "result"}),
		adoptions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "berth_adoptions_total", Help: "Retained volumes given back to their claim: published again from tags, reserved again after release, or found by a claim that came first.",
		}, []string{"kind"}),
		passes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "berth_passes_total", Help: "Passes of the agent over its node, by result (ok, error).",
		}, []string{"result"}),
		lockWait: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "berth_lvm_lock_wait_seconds", Help: "How long a change of a volume group waited for others of this agent; what it waits for other processes is part of its command.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 9), // to 65 s
		}, []string{"vg"}),
		refused: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "berth_lvm_writes_refused", Help: "1 while lvm does not share locks, archive or devices file with the machine, so that nothing is written.",
		}),
		adoption: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "berth_adoption_seconds", Help: "Time from the pass that first found a retained volume without its claim's PersistentVolume until it was given back, one of berth_adoptions_total.",
			Buckets: prometheus.ExponentialBuckets(0.1, 2, 12),
		}),
		orphans: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "berth_orphans", Help: "Logical volumes of Berth that no claim asks for, by why: unfinished, superseded, or retained for more than a day.",
		}, []string{"vg", "kind"}),
		orphanBytes: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "berth_orphan_bytes", Help: "Bytes of such volumes.",
		}, []string{"vg", "kind"}),
	}
	registry.MustRegister(m.volumes, m.unhealthy, m.free, m.size, m.metadata, m.commands, m.adoptions, m.passes, m.adoption, m.orphans, m.orphanBytes, m.lockWait, m.refused)
	return m
}

func (m *Metrics) passed(err error) { m.passes.WithLabelValues(result(err)).Inc() }

func (m *Metrics) refusing(is bool) {
	m.refused.Set(0)
	if is {
		m.refused.Set(1)
	}
}

// waiting measures what lvm.Waiting tells.
func (m *Metrics) waiting(clock clock.PassiveClock) func(vg string) func() {
	return func(vg string) func() {
		since := clock.Now()
		return func() { m.lockWait.WithLabelValues(vg).Observe(clock.Since(since).Seconds()) }
	}
}

// observe replaces the gauges by what a pass has found.
func (m *Metrics) observe(vgs []lvm.VG, volumes []Volume) {
	m.free.Reset()
	m.size.Reset()
	m.metadata.Reset()
	m.volumes.Reset()
	m.unhealthy.Reset()
	for _, vg := range vgs {
		m.free.WithLabelValues(vg.Name).Set(float64(vg.Free))
		m.size.WithLabelValues(vg.Name).Set(float64(vg.Size))
		m.metadata.WithLabelValues(vg.Name).Set(float64(vg.MetadataFree))
	}
	for _, v := range volumes {
		m.volumes.WithLabelValues(v.VG.Name, v.State()).Inc()
		if health, _ := v.health(); health != "" {
			m.unhealthy.WithLabelValues(v.VG.Name, health).Inc()
		}
	}
}

// Metered counts the commands that go through to next.
func (m *Metrics) Metered(next lvm.Runner) lvm.Runner { return metered{next, m.commands} }

type metered struct {
	next     lvm.Runner
	commands *prometheus.CounterVec
}

func (r metered) Run(ctx context.Context, site, name string, args ...string) ([]byte, error) {
	out, err := r.next.Run(ctx, site, name, args...)
	command := name
	if name == "lvm" && len(args) > 0 {
		command = args[0]
	}
	r.commands.WithLabelValues(command, result(err)).Inc()
	return out, err
}

func result(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, lvm.ErrUnknown):
		return "unknown"
	default:
		return "error"
	}
}
