package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/workqueue"

	"github.com/berth-dev/berth/test/controlplane"
)

// size is what is re-created.
type size struct {
	clusters, nodes int
	look            time.Duration // the longest that an agent takes to see that a volume was released
	limit           time.Duration // of one run
	still           time.Duration // without another pod bound, a run is over
}

// outcome is what came of all members.
type outcome struct {
	home, wrong int // members on the node with their data, and on another one
	blank       int // members whose claim is bound to a blank volume
	pending     int
	blanksMade  int
	shared      int           // members that met a sibling on their node
	took        time.Duration // from the first StatefulSet to the last pod bound
}

func (o outcome) bound() int { return o.home + o.wrong }

// homecoming runs one contender against a new control plane.
func homecoming(ctx context.Context, c contender, s size, manifests string) (o outcome, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.limit+3*time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "homecoming-")
	if err != nil {
		return outcome{}, err
	}
	defer os.RemoveAll(dir)
	cp, err := controlplane.Start(ctx, controlplane.Config{
		Dir: dir, Controllers: []string{"statefulset-controller", "persistentvolume-binder-controller"},
		Manager: []string{"--kube-api-qps=2000", "--kube-api-burst=4000", "--concurrent-statefulset-syncs=32"},
		APIServer: []string{
			"--max-requests-inflight=2000", "--max-mutating-requests-inflight=1000", "--enable-priority-and-fairness=false",
		},
	})
	if err != nil {
		return outcome{}, err
	}
	defer cp.Stop()
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w%s", err, cp.Logs())
		}
	}()
	ctx, end := context.WithCancel(ctx) // the fleet ends before its API server
	defer end()
	config := cp.Config()
	config.QPS, config.Burst = 4000, 8000
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return outcome{}, err
	}
	homes, err := seed(ctx, client, s)
	if err != nil {
		return outcome{}, fmt.Errorf("make nodes and released volumes: %w", err)
	}
	if err := c.start(ctx, &harness{cp, dir, manifests}); err != nil {
		return outcome{}, fmt.Errorf("start %s: %w", c.name, err)
	}
	f := newFleet(client, homes, s.look)
	took, err := f.recreate(ctx, c, s)
	if err != nil {
		return outcome{}, err
	}
	return f.count(ctx, took)
}

// seed makes what the disaster has left: nodes that have reported, and volumes
// that were bound to claims which are gone. It returns the home of each claim.
func seed(ctx context.Context, client kubernetes.Interface, s size) (map[string]string, error) {
	for _, name := range []string{namespace, "berth-system"} {
		if _, err := client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
			return nil, err
		}
	}
	if _, err := client.StorageV1().StorageClasses().Create(ctx, storageClass(), metav1.CreateOptions{}); err != nil {
		return nil, err
	}
	homes := map[string]string{}
	var mu sync.Mutex
	var problems []error
	each := func(n int, make func(n int) error) {
		workqueue.ParallelizeUntil(ctx, workers, n, func(n int) {
			if err := make(n); err != nil {
				mu.Lock()
				defer mu.Unlock()
				problems = append(problems, err)
			}
		})
	}
	each(s.nodes, func(n int) error {
		if _, err := client.CoreV1().Nodes().Create(ctx, node(nodeName(n)), metav1.CreateOptions{}); err != nil {
			return err
		}
		_, err := client.StorageV1().CSIStorageCapacities("berth-system").Create(ctx, capacity(nodeName(n)), metav1.CreateOptions{})
		return err
	})
	each(s.clusters*members, func(n int) error {
		claim, home := claimName(n/members, n%members), nodeName(n*7%s.nodes)
		mu.Lock()
		homes[claim] = home
		mu.Unlock()
		pv := persistentVolume("lv-"+claim, home, namespace, claim)
		pv.Spec.ClaimRef.UID = types.UID("of-the-claim-that-is-gone")
		_, err := client.CoreV1().PersistentVolumes().Create(ctx, pv, metav1.CreateOptions{})
		return err
	})
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return homes, awaitReleased(ctx, client, len(homes))
}

// awaitReleased waits for the PV controller to see that all the claims are gone.
func awaitReleased(ctx context.Context, client kubernetes.Interface, want int) error {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		list, err := client.CoreV1().PersistentVolumes().List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		released := 0
		for i := range list.Items {
			if list.Items[i].Status.Phase == corev1.VolumeReleased {
				released++
			}
		}
		if released == want {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("wait for volumes to be Released, which %d of %d are: %w", released, want, ctx.Err())
		}
	}
}

// recreate applies all StatefulSets again, and returns when all pods are bound or
// no more are being bound.
func (f *fleet) recreate(ctx context.Context, c contender, s size) (time.Duration, error) {
	if err := f.start(ctx); err != nil {
		return 0, err
	}
	begun := time.Now()
	last := begun
	made := make(chan error, 1)
	go func() {
		for n := range s.clusters {
			if _, err := f.client.AppsV1().StatefulSets(namespace).Create(ctx, statefulSet(setName(n), c.asks), metav1.CreateOptions{}); err != nil {
				made <- err
				return
			}
		}
		made <- nil
	}()
	limit := time.After(s.limit)
	still := time.NewTimer(s.still)
	defer still.Stop()
	seen := map[string]bool{}
	for len(seen) < s.clusters*members {
		select {
		case err := <-made:
			if err != nil {
				return 0, fmt.Errorf("create StatefulSets: %w", err)
			}
		case pod := <-f.bindings:
			if !seen[pod] {
				seen[pod], last = true, time.Now()
				still.Reset(s.still)
			}
		case <-still.C:
			return last.Sub(begun), nil
		case <-limit:
			return last.Sub(begun), nil
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	return last.Sub(begun), nil
}

// count looks at the API server itself, after the last binding.
func (f *fleet) count(ctx context.Context, took time.Duration) (outcome, error) {
	o := outcome{took: took, blanksMade: int(f.blanks.Load())}
	pods, err := f.client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return o, fmt.Errorf("count pods: %w", err)
	}
	claims, err := f.client.CoreV1().PersistentVolumeClaims(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return o, fmt.Errorf("count claims: %w", err)
	}
	met := map[string]int{}
	for _, pod := range pods.Items {
		met[pod.Labels["app"]+"/"+pod.Spec.NodeName]++
		switch home := f.homes["data-"+pod.Name]; pod.Spec.NodeName {
		case "":
			o.pending++
		case home:
			o.home++
		default:
			o.wrong++
		}
	}
	o.pending += len(f.homes) - len(pods.Items) // never made
	for key, n := range met {
		if n > 1 && key[len(key)-1] != '/' {
			o.shared += n - 1
		}
	}
	for _, claim := range claims.Items {
		if claim.Spec.VolumeName != "" && claim.Spec.VolumeName != "lv-"+claim.Name {
			o.blank++
		}
	}
	return o, nil
}
