package main

import (
	"context"
	"fmt"
	"os"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-dev/berth/test/figures"
)

// weather says how hard an API storm blows, and for how long.
type weather struct {
	events      int           // a second, volumes and capacities in turn
	calm, storm time.Duration // the calm, and the wind after it, and the storm
	probe       time.Duration // between two unrelated pods
}

// absent is how many members wait for their nodes while the storm blows. Each
// event may be what one of them waits for.
const absent = 99

// storms measures how long unrelated pods take from the queue to their binding: in
// a calm, in a wind, which is all that this process does for a storm and of which the
// scheduler hears nothing, and in a storm of events about volumes and capacities. What
// a wind costs is the benchmark's. The scheduler has to take the events in, whoever
// it is: ours has to be as good as stock then. Each has its weather twice, in the
// order stock, ours, ours, stock, for a machine is not the same for minutes.
func (o options) storms(report *figures.Report) error {
	stock, ours, err := o.profiles()
	if err != nil {
		return err
	}
	setups := []setup{{name: laneStock, profiles: stock, csiDriver: true}, {name: laneOurs, profiles: ours}}
	seen := map[string]*skies{laneStock: {}, laneOurs: {}}
	for _, i := range []int{0, 1, 1, 0} {
		s := setups[i]
		fmt.Fprintf(os.Stderr, "%d nodes: storm over %s\n", o.stormNodes, s.name)
		w := world{nodes: o.stormNodes, volumes: volumesPerNode * o.stormNodes, absent: absent, csiDriver: s.csiDriver}
		now, err := blow(s, w, o.weather)
		if err != nil {
			return fmt.Errorf("storm over %s: %w", s.name, err)
		}
		seen[s.name].and(now)
	}
	blew := atLeast("events_per_second", 0.98*float64(o.weather.events))
	for _, s := range setups {
		mine, beside := seen[s.name], seen[laneStock].storm
		report.Add(fmt.Sprintf("%d nodes, calm: %s", o.stormNodes, s.name), mine.calm.figures()...)
		report.Add(fmt.Sprintf("%d nodes, wind: %s", o.stormNodes, s.name), judged(append(mine.wind.figures(), mine.wind.over(mine.calm)...), blew)...)
		row := append(mine.storm.figures(), mine.storm.over(mine.calm)...)
		goals := []goal{blew}
		if s.name != laneStock {
			row = append(row, figures.F("beside_stock", median(mine.storm.latencies)/median(beside.latencies)),
				figures.F("beside_stock_p99", quantile(mine.storm.latencies, 0.99)/quantile(beside.latencies, 0.99)))
			goals = append(goals, atMost("beside_stock", 1.1), atMost("beside_stock_p99", 1.1))
		}
		report.Add(fmt.Sprintf("%d nodes, storm: %s", o.stormNodes, s.name), judged(row, goals...)...)
	}
	return nil
}

// skies are the spells over one scheduler.
type skies struct{ calm, wind, storm spell }

func (s *skies) and(now skies) {
	s.calm, s.wind, s.storm = s.calm.and(now.calm), s.wind.and(now.wind), s.storm.and(now.storm)
}

// spell is what was seen in one kind of weather.
type spell struct {
	latencies  []float64 // milliseconds of each unrelated pod
	events     float64   // a second, that were taken
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

// over is how much longer pods took than in another spell.
func (s spell) over(other spell) []figures.Figure {
	return []figures.Figure{
		figures.F(figures.Ratio, median(s.latencies)/median(other.latencies)),
		figures.F("ratio_p99", quantile(s.latencies, 0.99)/quantile(other.latencies, 0.99)),
	}
}

func blow(s setup, w world, how weather) (now skies, err error) {
	w.profile = s.profiles[0].SchedulerName
	s.clouds = newClouds()
	l, err := newLane(s, w)
	if err != nil {
		return now, err
	}
	defer l.stop()
	l.gate.bound = make(chan string, 2*absent)
	l.gate.release()
	ctx, end := context.WithCancel(context.Background())
	defer end()
	go l.sched.Run(ctx)
	if err := l.awaitWaiting(ctx, w.absent); err != nil {
		return now, err
	}
	if now.calm, err = l.spell(ctx, w, how, how.calm, nil); err != nil {
		return now, err
	}
	wind := newClouds()
	go drain(ctx, wind.volumes)
	go drain(ctx, wind.capacities)
	if now.wind, err = l.spell(ctx, w, how, how.calm, wind); err != nil {
		return now, err
	}
	now.storm, err = l.spell(ctx, w, how, how.storm, s.clouds)
	return now, err
}

// spell measures under the clouds, and has one member come home at the end.
func (l *lane) spell(ctx context.Context, w world, how weather, length time.Duration, c *clouds) (s spell, err error) {
	blowing, stop := context.WithCancel(ctx)
	defer stop()
	counted, begun := make(chan int, 1), time.Now()
	if c == nil {
		counted <- 0
	} else {
		go func() { counted <- c.storm(blowing, w, how.events) }()
	}
	if s.latencies, err = l.probe(ctx, length, how.probe); err != nil {
		return s, err
	}
	if s.homecoming, err = l.homecoming(ctx, w); err != nil {
		return s, err
	}
	stop()
	s.events = float64(<-counted) / time.Since(begun).Seconds()
	return s, nil
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

// homecoming has the node of the next member return, and times its member.
func (l *lane) homecoming(ctx context.Context, w world) (float64, error) {
	m := member{"db", l.home}
	back := node(l.home) // ready, and without the taint
	l.home++
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
