package plugin

import (
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
func prehint[T any](concerns func(old, now *T) (keys []string, pods cache.Indexer, all bool)) fwk.PreQueueingHintFn {
	return func(_ klog.Logger, oldObj, newObj any) (fwk.PreQueueingHintResult, error) {
		old, err := as[T](oldObj)
		if err != nil {
			return fwk.PreQueueingHintResult{AllPods: true}, err
		}
		now, err := as[T](newObj)
		if err != nil {
			return fwk.PreQueueingHintResult{AllPods: true}, err
		}
		keys, pods, all := concerns(old, now)
		if all {
			return fwk.PreQueueingHintResult{AllPods: true}, nil
		}
		var result fwk.PreQueueingHintResult
		met := map[types.NamespacedName]bool{}
		for _, key := range keys {
			found, err := pods.ByIndex(indexPodKeys, key)
			if err != nil {
				return fwk.PreQueueingHintResult{AllPods: true}, err
			}
			for _, o := range found {
				pod, is := o.(*corev1.Pod)
				if !is {
					continue
				}
				name := types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}
				if !met[name] {
					met[name] = true
					result.Pods = append(result.Pods, name)
				}
			}
		}
		return result, nil
	}
}

func (p *VolumeHome) podsOfVolume(old, now *corev1.PersistentVolume) ([]string, cache.Indexer, bool) {
	var keys []string
	for _, pv := range []*corev1.PersistentVolume{old, now} {
		if pv != nil {
			keys = append(keys, inventory.VolumeKeys(pv)...)
		}
	}
	return keys, p.pods, false
}

func (p *VolumeHome) podsOfClaim(old, now *corev1.PersistentVolumeClaim) ([]string, cache.Indexer, bool) {
	var keys []string
	for _, pvc := range []*corev1.PersistentVolumeClaim{old, now} {
		if pvc != nil {
			keys = append(keys, klog.KObj(pvc).String())
		}
	}
	return keys, p.pods, gaveUp(old, now)
}
