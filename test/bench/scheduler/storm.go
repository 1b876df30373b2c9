package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	typedcore "k8s.io/client-go/kubernetes/typed/core/v1"
	typedstorage "k8s.io/client-go/kubernetes/typed/storage/v1"

	"github.com/berth-dev/berth/pkg/volume"
	"github.com/berth-dev/berth/test/figures"
)

// weather says how hard an API storm blows, and for how long.
type weather struct {
	events      int // a second, volumes and capacities in turn
	calm, storm time.Duration
	probe       time.Duration // between two unrelated pods
}

// absent is how many members wait for their nodes while the storm blows. Each
// event may be what one of them waits for.
const absent = 99

// storms measures how long unrelated pods take from the queue to their binding, in
// a calm and in a storm of events about volumes and capacities. The scheduler has
// to take the events in, whoever it is: ours has to be as good as stock then. Each
// has its weather twice, in the order stock, ours, ours, stock, for a machine is
// not the same for minutes.
func (o options) storms(report *figures.Report) error {
	stock, ours, err := o.profiles()
	if err != nil {
		return err
	}
	setups := []setup{{name: laneStock, profiles: stock}, {name: laneOurs, profiles: ours}}
	calm, blown := map[string]spell{}, map[string]spell{}
	for _, i := range []int{0, 1, 1, 0} {
		s := setups[i]
		fmt.Fprintf(os.Stderr, "%d nodes: storm over %s\n", o.stormNodes, s.name)
		w := world{nodes: o.stormNodes, volumes: volumesPerNode * o.stormNodes, absent: absent, csiDriver: s.name == laneStock}
		before, during, err := blow(s, w, o.weather)
		if err != nil {
			return fmt.Errorf("storm over %s: %w", s.name, err)
		}
		calm[s.name], blown[s.name] = calm[s.name].and(before), blown[s.name].and(during)
	}
	blew := atLeast("events_per_second", 0.98*float64(o.weather.events))
	for _, s := range setups {
		mine, beside := blown[s.name], blown[laneStock]
		report.Add(fmt.Sprintf("%d nodes, calm: %s", o.stormNodes, s.name), calm[s.name].figures()...)
		row := append(mine.figures(), figures.F(figures.Ratio, median(mine.latencies)/median(calm[s.name].latencies)))
		goals := []goal{blew}
		if s.name != laneStock {
			row = append(row, figures.F("beside_stock", median(mine.latencies)/median(beside.latencies)),
				figures.F("beside_stock_p99", quantile(mine.latencies, 0.99)/quantile(beside.latencies, 0.99)))
			goals = append(goals, atMost("beside_stock", 1.2), atMost("beside_stock_p99", 1.5))
		}
		report.Add(fmt.Sprintf("%d nodes, storm: %s", o.stormNodes, s.name), judged(row, goals...)...)
	}
	return nil
}

// spell is what was seen in a calm or a storm.
type spell struct {
	latencies  []float64 // milliseconds of each unrelated pod
	events     float64   // a second, taken by the scheduler's informers
	homecoming float64   // milliseconds from a node's return to its member's binding
}

// and puts two spells together: all latencies, the slower of the rest.
func (s spell) and(other spell) spell {
	if s.latencies == nil {
		return other
	}
	return spell{append(s.latencies, other.latencies...), min(s.events, other.events), max(s.homecoming, other.homecoming)}
}

func (s spell) figures() []figures.Figure {
	return []figures.Figure{
		figures.F("pods", len(s.latencies)),
		figures.F("latency_ms_p50", median(s.latencies)),
		figures.F("latency_ms_p99", quantile(s.latencies, 0.99)),
		figures.F("events_per_second", s.events),
		figures.F("homecoming_ms", s.homecoming),
	}
}

func blow(s setup, w world, how weather) (calm, blown spell, err error) {
	w.profile = s.profiles[0].SchedulerName
	s.clouds = &clouds{volumes: watch.NewFake(), capacities: watch.NewFake()}
	l, err := newLane(s, w)
	if err != nil {
		return calm, blown, err
	}
	defer l.stop()
	l.gate.bound = make(chan string, 2*absent)
	l.gate.release()
	ctx, end := context.WithCancel(context.Background())
	defer end()
	go l.sched.Run(ctx)
	if err := l.awaitWaiting(ctx, w.absent); err != nil {
		return calm, blown, err
	}
	if calm.latencies, err = l.probe(ctx, how.calm, how.probe); err != nil {
		return calm, blown, err
	}
	if calm.homecoming, err = l.homecoming(ctx, w, 0); err != nil {
		return calm, blown, err
	}
	storm, stop := context.WithCancel(ctx)
	defer stop()
	counted := make(chan int, 1)
	begun := time.Now()
	go func() { counted <- s.clouds.storm(storm, w, how.events) }()
	if blown.latencies, err = l.probe(ctx, how.storm, how.probe); err != nil {
		return calm, blown, err
	}
	if blown.homecoming, err = l.homecoming(ctx, w, 1); err != nil {
		return calm, blown, err
	}
	stop()
	blown.events = float64(<-counted) / time.Since(begun).Seconds()
	return calm, blown, nil
}

// awaitWaiting waits until all absent members were looked at and wait.
func (l *lane) awaitWaiting(ctx context.Context, want int) error {
	limit := time.Now().Add(time.Minute)
	for len(l.sched.SchedulingQueue.UnschedulablePods())+len(l.sched.SchedulingQueue.PodsInBackoffQ()) < want {
		if time.Now().After(limit) || ctx.Err() != nil {
			return fmt.Errorf("%d of %d members wait", len(l.sched.SchedulingQueue.UnschedulablePods()), want)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return nil
}

// probe adds an unrelated pod every so often and times it until its binding.
func (l *lane) probe(ctx context.Context, length, every time.Duration) ([]float64, error) {
	var latencies []float64
	tick := time.NewTicker(every)
	defer tick.Stop()
	for end := time.Now().Add(length); time.Now().Before(end); <-tick.C {
		p := noVolume().pod(len(latencies))
		p.Spec.SchedulerName = l.profile
		begun := time.Now()
		l.sched.SchedulingQueue.Add(ctx, p)
		if err := l.awaitBound(p.Name); err != nil {
			return nil, err
		}
		latencies = append(latencies, milliseconds(time.Since(begun)))
	}
	return latencies, nil
}

// homecoming has the node of the n-th member return, and times its member.
func (l *lane) homecoming(ctx context.Context, w world, n int) (float64, error) {
	m := member{"db", n}
	back := node(n) // ready, and without the taint
	back.ResourceVersion = "2"
	begun := time.Now()
	if _, err := l.client.CoreV1().Nodes().Update(ctx, back, metav1.UpdateOptions{}); err != nil {
		return 0, fmt.Errorf("bring node %s back: %w", w.home(m), err)
	}
	err := l.awaitBound(m.pod())
	return milliseconds(time.Since(begun)), err
}

func (l *lane) awaitBound(pod string) error {
	limit := time.After(time.Minute)
	for {
		select {
		case bound := <-l.gate.bound:
			if bound == pod {
				return nil
			}
		case <-limit:
			return fmt.Errorf("pod %s is not bound within a minute", pod)
		}
	}
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }

// clouds are the watches through which events come, in place of the fake's own,
// whose buffers would overflow. A watcher takes an event when its informer does.
type clouds struct {
	volumes, capacities *watch.FakeWatcher
	revision            int
}

// storm sends events until the context ends, and says how many were taken. They
// change what is there and add nothing.
func (c *clouds) storm(ctx context.Context, w world, rate int) int {
	const beat = 2 * time.Millisecond
	tick := time.NewTicker(beat)
	defer tick.Stop()
	sent, begun := 0, time.Now()
	for {
		select {
		case <-ctx.Done():
			return sent
		case <-tick.C:
		}
		// What is due, so that late beats are made up for, but never more than 100 ms.
		due := int(time.Since(begun).Seconds() * float64(rate))
		sent = max(sent, due-rate/10)
		for ; sent < due; sent++ {
			c.send(w, sent)
		}
	}
}

func (c *clouds) send(w world, n int) {
	c.revision++
	if n%2 == 0 {
		pv := w.retained(member{"db", n / 2 % w.volumes})
		pv.ResourceVersion = strconv.Itoa(1_000_000 + c.revision)
		pv.Annotations[volume.AnnotationVGSeqno] = strconv.Itoa(8 + c.revision%2)
		c.volumes.Modify(pv)
		return
	}
	o := capacity(n / 2 % w.nodes)
	o.ResourceVersion = strconv.Itoa(1_000_000 + c.revision)
	o.Annotations[volume.AnnotationVGSeqno] = strconv.Itoa(9 + c.revision%2)
	c.capacities.Modify(o)
}

// overhead is a client whose watches of volumes and capacities are the clouds.
type overhead struct {
	parkedClient
	clouds *clouds
}

func (c overhead) CoreV1() typedcore.CoreV1Interface {
	return overheadCore{c.parkedClient.CoreV1(), c.clouds}
}

func (c overhead) StorageV1() typedstorage.StorageV1Interface {
	return overheadStorage{c.parkedClient.StorageV1(), c.clouds}
}

type overheadCore struct {
	typedcore.CoreV1Interface
	clouds *clouds
}

func (c overheadCore) PersistentVolumes() typedcore.PersistentVolumeInterface {
	return overheadVolumes{c.CoreV1Interface.PersistentVolumes(), c.clouds}
}

type overheadVolumes struct {
	typedcore.PersistentVolumeInterface
	clouds *clouds
}

func (c overheadVolumes) Watch(context.Context, metav1.ListOptions) (watch.Interface, error) {
	return c.clouds.volumes, nil
}

type overheadStorage struct {
	typedstorage.StorageV1Interface
	clouds *clouds
}

func (c overheadStorage) CSIStorageCapacities(namespace string) typedstorage.CSIStorageCapacityInterface {
	return overheadCapacities{c.StorageV1Interface.CSIStorageCapacities(namespace), c.clouds}
}

type overheadCapacities struct {
	typedstorage.CSIStorageCapacityInterface
	clouds *clouds
}

func (c overheadCapacities) Watch(context.Context, metav1.ListOptions) (watch.Interface, error) {
	return c.clouds.capacities, nil
}
