package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	storagevolume "k8s.io/component-helpers/storage/volume"

	"github.com/berth-dev/berth/pkg/volume"
	"github.com/berth-dev/berth/test/played"
)

// workers is how many objects of a kind the fleet works on at once.
const workers = 16

// fleet plays the machines: their kubelets and their agents.
type fleet struct {
	client   kubernetes.Interface
	factory  informers.SharedInformerFactory
	look     time.Duration // the longest that an agent takes to see that a volume was released
	homes    map[string]string
	bindings chan string // pods, as they are seen bound
	blanks   atomic.Int64
}

func newFleet(client kubernetes.Interface, homes map[string]string, look time.Duration) *fleet {
	return &fleet{
		client: client, factory: informers.NewSharedInformerFactory(client, 0),
		look: look, homes: homes, bindings: make(chan string, 4*len(homes)+100),
	}
}

// start works until the context ends.
func (f *fleet) start(ctx context.Context) error {
	core := f.factory.Core().V1()
	for _, kind := range []struct {
		informer cache.SharedIndexInformer
		handle   func(ctx context.Context, key string) error
		delay    func() time.Duration
	}{
		{core.Pods().Informer(), f.runPod, nil},
		{core.PersistentVolumes().Informer(), f.reserve, func() time.Duration { return rand.N(f.look + 1) }},
		{core.PersistentVolumeClaims().Informer(), f.provision, nil},
	} {
		if err := work(ctx, kind.informer, kind.handle, kind.delay); err != nil {
			return err
		}
	}
	f.factory.Start(ctx.Done())
	for _, synced := range f.factory.WaitForCacheSync(ctx.Done()) {
		if !synced {
			return fmt.Errorf("fill the fleet's stores: %w", ctx.Err())
		}
	}
	return nil
}

// work handles each object when it is new or has changed, and again when that failed.
func work(ctx context.Context, informer cache.SharedIndexInformer, handle func(context.Context, string) error, delay func() time.Duration) error {
	queue := workqueue.NewTypedRateLimitingQueue(workqueue.NewTypedItemExponentialFailureRateLimiter[string](50*time.Millisecond, 2*time.Second))
	enqueue := func(o any) {
		key, err := cache.MetaNamespaceKeyFunc(o)
		if err != nil {
			return
		}
		if delay != nil {
			queue.AddAfter(key, delay())
			return
		}
		queue.Add(key)
	}
	if _, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: enqueue, UpdateFunc: func(_, o any) { enqueue(o) }}); err != nil {
		return err
	}
	context.AfterFunc(ctx, queue.ShutDown)
	for range workers {
		go func() {
			for {
				key, ended := queue.Get()
				if ended {
					return
				}
				if err := handle(ctx, key); err != nil {
					queue.AddRateLimited(key)
				} else {
					queue.Forget(key)
				}
				queue.Done(key)
			}
		}()
	}
	return nil
}

// runPod is the kubelet: a pod that is bound runs.
func (f *fleet) runPod(ctx context.Context, key string) error {
	pod, found := stored[*corev1.Pod](f.factory.Core().V1().Pods().Informer(), key)
	if !found || pod.Spec.NodeName == "" || pod.Status.Phase == corev1.PodRunning {
		return nil
	}
	f.bindings <- pod.Name
	patch := `{"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True"}]}}`
	_, err := f.client.CoreV1().Pods(pod.Namespace).Patch(ctx, pod.Name, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{}, "status")
	return ignoreGone(err)
}

// reserve is the agent that looks at a volume that has changed.
func (f *fleet) reserve(ctx context.Context, key string) error {
	pv, found := stored[*corev1.PersistentVolume](f.factory.Core().V1().PersistentVolumes().Informer(), key)
	if !found {
		return nil
	}
	return ignoreGone(played.Reserve(ctx, f.client, pv))
}

// provision is the agent of the node that a scheduler has selected. A volume of
// this claim on its own disks it would have found; it knows of no other disks.
func (f *fleet) provision(ctx context.Context, key string) error {
	claim, found := stored[*corev1.PersistentVolumeClaim](f.factory.Core().V1().PersistentVolumeClaims().Informer(), key)
	if !found || claim.Spec.VolumeName != "" {
		return nil
	}
	node := claim.Annotations[storagevolume.AnnSelectedNode]
	if node == "" || claim.Annotations[storagevolume.AnnStorageProvisioner] != volume.Provisioner || f.homes[claim.Name] == node {
		return nil
	}
	pv := persistentVolume("blank-"+string(claim.UID)+"-"+node, node, claim.Namespace, claim.Name)
	_, err := f.client.CoreV1().PersistentVolumes().Create(ctx, pv, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	if err == nil {
		f.blanks.Add(1)
	}
	return err
}

func stored[T any](informer cache.SharedIndexInformer, key string) (T, bool) {
	o, exists, err := informer.GetIndexer().GetByKey(key)
	t, is := o.(T)
	return t, err == nil && exists && is
}

func ignoreGone(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
