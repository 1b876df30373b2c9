package plugin

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	fwk "k8s.io/kube-scheduler/framework"

	"github.com/berth-dev/berth/pkg/inventory"
)

// indexPodKeys finds the pods that an object concerns, see inventory.PodKeys.
const indexPodKeys = "berth.dev/pod-keys"

func podIndexers() cache.Indexers {
	return cache.Indexers{indexPodKeys: func(o any) ([]string, error) {
		pod, is := o.(*corev1.Pod)
		if !is || pod.Spec.NodeName != "" {
			return nil, nil // one that has its node waits for nothing
		}
		return inventory.PodKeys(pod), nil
	}}
}

// prehint adapts a question for the keys of the pods that an event of one kind of
// object concerns. all says that no such list would do.
func prehint[T any](concerns func(old, now *T) audience) fwk.PreQueueingHintFn {
	return func(_ klog.Logger, oldObj, newObj any) (fwk.PreQueueingHintResult, error) {
		old, err := as[T](oldObj)
		if err != nil {
			return fwk.PreQueueingHintResult{AllPods: true}, err
		}
		now, err := as[T](newObj)
		if err != nil {
			return fwk.PreQueueingHintResult{AllPods: true}, err
		}
		a := concerns(old, now)
		if a.all {
			return fwk.PreQueueingHintResult{AllPods: true}, nil
		}
		met := map[types.NamespacedName]bool{}
		for _, name := range a.others {
			met[name] = true
		}
		for _, key := range a.keys {
			found, err := a.pods.ByIndex(indexPodKeys, key)
			if err != nil {
				return fwk.PreQueueingHintResult{AllPods: true}, err
			}
			for _, o := range found {
				if pod, is := o.(*corev1.Pod); is {
					met[types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}] = true
				}
			}
		}
		return fwk.PreQueueingHintResult{Pods: slices.Collect(maps.Keys(met))}, nil
	}
}

// audience is who has to hear of an event.
type audience struct {
	all    bool
	others []types.NamespacedName
	keys   []string      // of pods
	pods   cache.Indexer // in which to find the keys
}

// podsOfVolume are those whom the volume concerns, and those who wait for room.
func (p *VolumeHome) podsOfVolume(old, now *corev1.PersistentVolume) audience {
	waiting, complete := p.waits.forRoom()
	return audience{all: !complete, others: waiting, keys: p.sightings.of(old, now).keys, pods: p.pods}
}

func (p *VolumeHome) podsOfClaim(old, now *corev1.PersistentVolumeClaim) audience {
	a := audience{all: gaveUp(old, now), pods: p.pods}
	for _, pvc := range []*corev1.PersistentVolumeClaim{old, now} {
		if pvc != nil {
			a.keys = append(a.keys, klog.KObj(pvc).String())
		}
	}
	return a
}
