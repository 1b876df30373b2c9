package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"

	"github.com/berth-dev/berth/pkg/lvm/lvmtest"
	"github.com/berth-dev/berth/pkg/provisioner"
	"github.com/berth-dev/berth/pkg/volume"
	"github.com/berth-dev/berth/test/controlplane"
	"github.com/berth-dev/berth/test/figures"
)

const (
	node = "node1"
	// mostSeconds is how long finding mostVolumes again may take.
	mostSeconds, mostVolumes = 15.0, 1000
	// idleInterval and idleIntervals are what the agent is watched for doing nothing.
	idleInterval, idleIntervals = time.Second, 10
)

// onLoop measures how volumes on a loop device are found again.
func (o options) onLoop(ctx context.Context, r *report) error {
	for _, n := range o.volumes {
		fmt.Fprintf(os.Stderr, "finding %d volumes again\n", n)
		if err := o.adopt(ctx, r, n); err != nil {
			return fmt.Errorf("find %d volumes again: %w", n, err)
		}
	}
	return nil
}

// adopt has an agent find so many volumes again, and watches it when it has.
func (o options) adopt(ctx context.Context, r *report, volumes int) (err error) {
	dir, err := os.MkdirTemp("", "bench-volumes-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	disks, err := newGroup(ctx, dir, volumes)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, disks.Close()) }()
	api := filepath.Join(dir, "api")
	if err := os.Mkdir(api, 0o700); err != nil {
		return err
	}
	cp, err := controlplane.Start(ctx, controlplane.Config{Dir: api, Bin: filepath.Join(o.build, "bin"), Controllers: []string{"persistentvolume-binder-controller"}})
	if err != nil {
		return err
	}
	defer cp.Stop()
	admin, err := kubernetes.NewForConfig(cp.Config())
	if err != nil {
		return err
	}
	if err := applyManifests(ctx, admin); err != nil {
		return err
	}

	calls, writes := &lvmtest.Recorder{Next: disks}, &atomic.Int64{}
	config := cp.Config()
	provisioner.Tune(config)
	config.WrapTransport = func(next http.RoundTripper) http.RoundTripper { return counting{next, writes} }
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	agentCtx, stop := context.WithCancel(ctx)
	defer stop()
	service, err := provisioner.New(agentCtx, provisioner.Config{
		Node: node, Interval: idleInterval, Links: provisioner.Links{Dir: filepath.Join(dir, "links")}, Client: client, Runner: calls,
		Metrics: provisioner.NewMetrics(prometheus.NewRegistry()), Clock: clock.RealClock{},
	})
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	begin := time.Now()
	go func() { ended <- service.Run(agentCtx) }()
	defer func() { stop(); err = errors.Join(err, <-ended) }()
	if err := waitForPVs(ctx, admin, volumes); err != nil {
		return err
	}
	seconds := time.Since(begin).Seconds()

	record := calls.Take()
	forbidden := 0
	for _, call := range record {
		if slices.ContainsFunc([]string{"mkfs", "lvcreate", "lvremove", "wipefs", "blkdiscard"}, func(c string) bool { return strings.Contains(call, " "+c) }) {
			forbidden++
		}
	}
	more := []figures.Figure{figures.F("seconds", round3(seconds)), figures.F("volumes", volumes), figures.F("commands", len(record))}
	name := fmt.Sprintf("%d volumes found again, over %.0f s", volumes, mostSeconds)
	if volumes >= mostVolumes {
		r.row(name, seconds/mostSeconds, 1, more...)
	} else {
		r.note(name, append(more, figures.F(figures.Ratio, round3(seconds/mostSeconds)))...)
	}
	r.row(fmt.Sprintf("%d volumes: mkfs, lvcreate, lvremove or wipe run", volumes), float64(forbidden), 0)
	// The PV controller writes to each of them too, which is news for the agent.
	if err := available(ctx, admin); err != nil {
		return err
	}
	return o.idle(ctx, r, volumes, service, calls, writes)
}

// available waits until every PersistentVolume is.
func available(ctx context.Context, client kubernetes.Interface) error {
	for {
		pvs, err := client.CoreV1().PersistentVolumes().List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(pvs.Items, func(pv corev1.PersistentVolume) bool { return pv.Status.Phase != corev1.VolumeAvailable }) {
			return nil
		}
		if err := pause(ctx, idleInterval); err != nil {
			return err
		}
	}
}

// idle counts what the agent does when all is as it should be.
func (o options) idle(ctx context.Context, r *report, volumes int, service *provisioner.Service, calls *lvmtest.Recorder, writes *atomic.Int64) error {
	// Two passes without a write say that the last one has seen its own work.
	for quiet := 0; quiet < 3; quiet++ {
		before := writes.Load()
		if err := pause(ctx, 2*idleInterval); err != nil {
			return err
		}
		if writes.Load() != before || service.Healthy() != nil {
			quiet = -1
		}
	}
	calls.Take()
	before, begin := writes.Load(), time.Now()
	if err := pause(ctx, idleIntervals*idleInterval); err != nil {
		return err
	}
	intervals := time.Since(begin).Seconds() / idleInterval.Seconds()
	record := calls.Take()
	r.row(fmt.Sprintf("idle with %d volumes: commands an interval", volumes), float64(len(record))/(intervals+1), 1, figures.F("commands", len(record)))
	r.row(fmt.Sprintf("idle with %d volumes: API writes", volumes), float64(writes.Load()-before), 0)
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// applyManifests makes what an agent looks for.
func applyManifests(ctx context.Context, client kubernetes.Interface) error {
	if _, err := client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: volume.SystemNamespace}}, metav1.CreateOptions{}); err != nil {
		return err
	}
	if _, err := client.CoreV1().Nodes().Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node}}, metav1.CreateOptions{}); err != nil {
		return err
	}
	class := &storagev1.StorageClass{
		ObjectMeta: metav1.ObjectMeta{Name: "berth"}, Provisioner: volume.Provisioner, Parameters: map[string]string{"volumeGroup": "berth", "fsType": "ext4"},
		ReclaimPolicy: ptr.To(corev1.PersistentVolumeReclaimRetain), VolumeBindingMode: ptr.To(storagev1.VolumeBindingWaitForFirstConsumer),
	}
	_, err := client.StorageV1().StorageClasses().Create(ctx, class, metav1.CreateOptions{})
	return err
}

// waitForPVs returns when so many PersistentVolumes are there.
func waitForPVs(ctx context.Context, client kubernetes.Interface, want int) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	watcher, err := client.CoreV1().PersistentVolumes().Watch(ctx, metav1.ListOptions{ResourceVersion: "0"})
	if err != nil {
		return err
	}
	defer watcher.Stop()
	names := map[string]bool{}
	for event := range watcher.ResultChan() {
		pv, is := event.Object.(*corev1.PersistentVolume)
		if !is || event.Type == watch.Deleted {
			return fmt.Errorf("watch PersistentVolumes: %s %T", event.Type, event.Object)
		}
		if names[pv.Name] = true; len(names) == want {
			return nil
		}
	}
	return fmt.Errorf("%d of %d PersistentVolumes: %w", len(names), want, ctx.Err())
}

// counting counts the requests that change something.
type counting struct {
	next   http.RoundTripper
	writes *atomic.Int64
}

func (c counting) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.Method != http.MethodGet {
		c.writes.Add(1)
	}
	return c.next.RoundTrip(request)
}
