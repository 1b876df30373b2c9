package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/events"
	"k8s.io/kubernetes/pkg/scheduler"
	"k8s.io/kubernetes/pkg/scheduler/apis/config"
	"k8s.io/kubernetes/pkg/scheduler/apis/config/latest"
	frameworkruntime "k8s.io/kubernetes/pkg/scheduler/framework/runtime"
	"k8s.io/kubernetes/pkg/scheduler/profile"
	"sigs.k8s.io/yaml"

	"github.com/berth-dev/berth/pkg/plugin"
)

// lane is one scheduler on its own world.
type lane struct {
	name    string
	world   world
	profile string // spec.schedulerName of its pods
	sched   *scheduler.Scheduler
	client  kubernetes.Interface
	gate    *gate
	home    int               // members that have come home in a storm
	adapt   func(*corev1.Pod) // what a pod needs besides to be seen by this lane
	stop    context.CancelFunc
}

// setup says what a lane consists of.
type setup struct {
	name string
	// profiles is the scheduler's configuration.
	profiles []config.KubeSchedulerProfile
	// csiDriver is whether it finds one, without which stock does not look at capacity.
	csiDriver bool
	// percentage of nodes that the filters look for, nil for the default.
	percentage *int32
	// clouds are where watches of volumes and capacities come from, nil for the fake.
	clouds *clouds
	// extend starts an extender, for a lane that has one.
	extend func(ctx context.Context, client kubernetes.Interface) (config.Extender, error)
	adapt  func(*corev1.Pod)
}

// newLane starts the scheduler, except for its loop: rounds call ScheduleOne.
func newLane(s setup, w world) (*lane, error) {
	ctx, stop := context.WithCancel(context.Background())
	l := &lane{name: s.name, world: w, profile: s.profiles[0].SchedulerName, gate: &gate{open: make(chan struct{})}, adapt: s.adapt, stop: stop}
	objects := fake.NewSimpleClientset(w.objects()...)
	l.client = parkedClient{objects, l.gate}
	if s.clouds != nil {
		l.client = overhead{parkedClient{objects, l.gate}, s.clouds}
	}
	options := []scheduler.Option{
		scheduler.WithProfiles(s.profiles...),
		scheduler.WithFrameworkOutOfTreeRegistry(frameworkruntime.Registry{plugin.Name: plugin.New, namedPlugin: newNamed}),
		scheduler.WithPercentageOfNodesToScore(s.percentage),
	}
	if s.extend != nil {
		extender, err := s.extend(ctx, objects)
		if err != nil {
			stop()
			return nil, fmt.Errorf("start the extender of lane %s: %w", s.name, err)
		}
		options = append(options, scheduler.WithExtenders(extender))
	}
	factory := scheduler.NewInformerFactory(l.client, 0, nil)
	broadcaster := events.NewBroadcaster(&events.EventSinkImpl{Interface: l.client.EventsV1()})
	context.AfterFunc(ctx, broadcaster.Shutdown)
	var err error
	if l.sched, err = scheduler.New(ctx, l.client, factory, nil, profile.NewRecorderFactory(broadcaster), options...); err != nil {
		stop()
		return nil, fmt.Errorf("start the scheduler of lane %s: %w", s.name, err)
	}
	if err := fill(ctx, factory, l.sched); err != nil {
		stop()
		return nil, fmt.Errorf("fill the caches of lane %s: %w", s.name, err)
	}
	return l, nil
}

func fill(ctx context.Context, factory informers.SharedInformerFactory, sched *scheduler.Scheduler) error {
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	return sched.WaitForHandlersSync(ctx)
}

// run schedules pods of a kind, from the queue to the assumed pod, and puts
// everything back as it was. It returns what that cost.
func (l *lane) run(k kind, pods int) (sample, error) {
	queue := make([]*corev1.Pod, pods)
	for n := range queue {
		queue[n] = k.pod(n)
		queue[n].Spec.SchedulerName = l.profile
		if l.adapt != nil && k.ours {
			l.adapt(queue[n])
		}
	}
	l.gate.close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	cost := measure(pods, func() {
		for _, p := range queue {
			l.sched.SchedulingQueue.Add(ctx, p)
		}
		for range queue {
			l.sched.ScheduleOne(ctx)
		}
	})
	err := l.check(k, queue)
	l.gate.release()
	if err := errors.Join(err, l.settle(queue)); err != nil {
		return sample{}, fmt.Errorf("lane %s, %s: %w", l.name, k.name, err)
	}
	return cost, nil
}

// warm runs a few pods, again until they are placed: a plugin may still compare
// with the API server what its stores hold.
func (l *lane) warm(k kind, pods int) (sample, error) {
	limit := time.Now().Add(time.Minute)
	for {
		cost, err := l.run(k, pods)
		if err == nil || time.Now().After(limit) {
			return cost, err
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// check holds every pod to a node, the right one where there is one, and
// siblings apart.
func (l *lane) check(k kind, queue []*corev1.Pod) error {
	for n, p := range queue {
		assumed, err := l.sched.Cache.GetPod(p)
		if err != nil {
			return fmt.Errorf("pod %s was not placed: %w", p.Name, err)
		}
		if home := k.home(l.world, n); home != "" && assumed.Spec.NodeName != home {
			return fmt.Errorf("pod %s is on node %s and its volume on %s", p.Name, assumed.Spec.NodeName, home)
		}
	}
	return nil
}

// settle waits until the scheduler has taken back what it assumed.
func (l *lane) settle(queue []*corev1.Pod) error {
	limit := time.Now().Add(time.Minute)
	for {
		left, err := l.sched.Cache.PodCount()
		if err != nil {
			return fmt.Errorf("count pods of lane %s: %w", l.name, err)
		}
		if left == 0 && len(l.sched.SchedulingQueue.InFlightPods()) == 0 {
			return nil
		}
		if time.Now().After(limit) {
			return fmt.Errorf("lane %s still assumes %d of %d pods", l.name, left, len(queue))
		}
		time.Sleep(time.Millisecond)
	}
}

// stockProfiles is kube-scheduler's default configuration.
func stockProfiles() ([]config.KubeSchedulerProfile, error) {
	c, err := latest.Default()
	if err != nil {
		return nil, fmt.Errorf("read the default configuration: %w", err)
	}
	return c.Profiles, nil
}

// ourProfiles is the configuration in the manifest that is shipped.
func ourProfiles(manifest string) ([]config.KubeSchedulerProfile, error) {
	file, err := os.ReadFile(manifest)
	if err != nil {
		return nil, fmt.Errorf("read the scheduler's manifest: %w", err)
	}
	for document := range strings.SplitSeq(string(file), "\n---\n") {
		var m corev1.ConfigMap
		if err := yaml.Unmarshal([]byte(document), &m); err != nil || m.Kind != "ConfigMap" {
			continue
		}
		c, err := decode(manifest, []byte(m.Data["scheduler.yaml"]))
		if err != nil {
			return nil, err
		}
		return c.Profiles, nil
	}
	return nil, fmt.Errorf("find the scheduler's configuration in %s: no ConfigMap has one", manifest)
}

// withSignatures lets the scheduler batch pods: the default profile spreads every
// pod over zones and hosts, and for such a pod v1.37 makes no signature.
func withSignatures(profiles []config.KubeSchedulerProfile) []config.KubeSchedulerProfile {
	profiles = slices.Clone(profiles)
	for i := range profiles {
		args := slices.Clone(profiles[i].PluginConfig)
		for a := range args {
			if spread, is := args[a].Args.(*config.PodTopologySpreadArgs); is {
				spread = spread.DeepCopy()
				spread.DefaultingType, spread.DefaultConstraints = config.ListDefaulting, nil
				args[a].Args = spread
			}
		}
		profiles[i].PluginConfig = args
	}
	return profiles
}
