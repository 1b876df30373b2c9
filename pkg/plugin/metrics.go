package plugin

import (
	"time"

	"k8s.io/component-base/metrics"
	"k8s.io/component-base/metrics/legacyregistry"

	"github.com/berth-dev/berth/pkg/inventory"
	"github.com/berth-dev/berth/pkg/placement"
)

// measures are the numbers that the plugin adds to the scheduler's own.
type measures struct {
	decisions *metrics.HistogramVec
	verdicts  *metrics.CounterVec
	wakes     *metrics.Counter
}

func newMeasures() measures {
	return measures{
		decisions: metrics.NewHistogramVec(&metrics.HistogramOpts{
			Name:           "berth_scheduler_decision_seconds",
			Help:           "Time to gather the facts about a pod with volumes of Berth and to decide, by action (pin, refuse, allow).",
			Buckets:        metrics.ExponentialBuckets(1e-6, 4, 10),
			StabilityLevel: metrics.ALPHA,
		}, []string{"action"}),
		verdicts: metrics.NewCounterVec(&metrics.CounterOpts{
			Name:           "berth_scheduler_verdicts_total",
			Help:           "Verdicts about pods with volumes of Berth, by action and, for refusals, code of the reason.",
			StabilityLevel: metrics.ALPHA,
		}, []string{"action", "reason"}),
		wakes: metrics.NewCounter(&metrics.CounterOpts{
			Name:           "berth_scheduler_wakes_total",
			Help:           "Times that a waiting pod was tried again because something had changed that may help it.",
			StabilityLevel: metrics.ALPHA,
		}),
	}
}

// register adds the numbers to the scheduler's. A second scheduler in one process,
// as tests have it, goes without.
func (m measures) register(i *inventory.Inventory) {
	first := true
	for _, x := range []metrics.Registerable{m.decisions, m.verdicts, m.wakes} {
		if legacyregistry.Register(x) != nil {
			x.Create(nil)
			first = false
		}
	}
	if first { // the registry keeps a collector that it refused, and with it an inventory
		_ = legacyregistry.CustomRegister(newStock(i))
	}
}

func (m measures) decided(began time.Time, v placement.Verdict) {
	m.decisions.WithLabelValues(string(v.Action)).Observe(time.Since(began).Seconds())
	m.verdicts.WithLabelValues(string(v.Action), string(v.Reason.Code)).Inc()
}

// stock shows the sizes of the inventory when somebody asks.
type stock struct {
	metrics.BaseStableCollector
	inventory               *inventory.Inventory
	sizes, making, promised *metrics.Desc
}

func newStock(i *inventory.Inventory) *stock {
	return &stock{
		inventory: i,
		sizes: metrics.NewDesc("berth_scheduler_inventory_size",
			"Entries of the scheduler's inventory: nodes, silent nodes that have not reported, reports, unchecked reports, volumes, volume groups.",
			[]string{"of"}, nil, metrics.ALPHA, ""),
		making: metrics.NewDesc("berth_scheduler_reservations",
			"Volumes for which room is reserved: promised by this scheduler, or being made for a claim.",
			[]string{"witness"}, nil, metrics.ALPHA, ""),
		promised: metrics.NewDesc("berth_scheduler_reserved_bytes",
			"Bytes of published free space that are reserved.", nil, nil, metrics.ALPHA, ""),
	}
}

// DescribeWithStability names the numbers.
func (s *stock) DescribeWithStability(ch chan<- *metrics.Desc) {
	ch <- s.sizes
	ch <- s.making
	ch <- s.promised
}

// CollectWithStability reads the numbers.
func (s *stock) CollectWithStability(ch chan<- metrics.Metric) {
	n := s.inventory.Sizes()
	for _, x := range []struct {
		of string
		n  int
	}{
		{"nodes", n.Nodes}, {"silent nodes", n.Silent}, {"reports", n.Reports},
		{"unchecked reports", n.Unchecked}, {"volumes", n.Volumes}, {"volume groups", n.Groups},
	} {
		ch <- metrics.NewLazyConstMetric(s.sizes, metrics.GaugeValue, float64(x.n), x.of)
	}
	ch <- metrics.NewLazyConstMetric(s.making, metrics.GaugeValue, float64(n.Promises), "scheduler")
	ch <- metrics.NewLazyConstMetric(s.making, metrics.GaugeValue, float64(n.Making-n.Promises), "claim")
	ch <- metrics.NewLazyConstMetric(s.promised, metrics.GaugeValue, float64(n.PromisedBytes))
}
