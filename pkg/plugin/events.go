package plugin

import (
	"fmt"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"github.com/berth-dev/berth/pkg/inventory"
	"github.com/berth-dev/berth/pkg/placement"
	"github.com/berth-dev/berth/pkg/volume"
)

// follow wakes pods for what the informers see: every Reason's Unblock shows up as
// one of these. A change that wakes in vain costs one scheduling cycle, one that
// does not wake costs an outage of minutes, so doubts wake.
func (p *VolumeHome) follow(factory informers.SharedInformerFactory) error {
	core, storage := factory.Core().V1(), factory.Storage().V1()
	for _, x := range []struct {
		what     string
		informer cache.SharedIndexInformer
		handler  cache.ResourceEventHandler
	}{
		{"volumes", core.PersistentVolumes().Informer(), handler(p.sleepers, p.volumeChange)},
		{"claims", core.PersistentVolumeClaims().Informer(), handler(p.sleepers, p.claimChange)},
		{"nodes", core.Nodes().Informer(), handler(p.sleepers, p.nodeChange)},
		{"capacities", storage.CSIStorageCapacities().Informer(), handler(p.sleepers, p.capacityChange)},
		{"classes", storage.StorageClasses().Informer(), handler(p.sleepers, classChange)},
		{"pods", core.Pods().Informer(), p.podHandler()},
	} {
		if _, err := x.informer.AddEventHandler(x.handler); err != nil {
			return fmt.Errorf("follow %s: %w", x.what, err)
		}
	}
	return nil
}

// handler adapts a question about one kind of object: what kind of change it is,
// and whether it matters to anybody. Of one that is added or deleted, the other
// object is nil.
func handler[T any](s *sleepers, changeOf func(old, now *T) (change, bool)) cache.ResourceEventHandler {
	hear := func(oldObj, newObj any) {
		if s.none() {
			return
		}
		old, oldErr := as[T](oldObj)
		now, newErr := as[T](newObj)
		if oldErr != nil || newErr != nil {
			return // of an informer of T
		}
		if c, matters := changeOf(old, now); matters {
			s.hear(c)
		}
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { hear(nil, o) },
		UpdateFunc: hear,
		DeleteFunc: func(o any) { hear(o, nil) },
	}
}

// podHandler forgets pods that are gone, or that have their node.
func (p *VolumeHome) podHandler() cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		UpdateFunc: func(oldObj, newObj any) {
			old, _ := oldObj.(*corev1.Pod)
			now, _ := newObj.(*corev1.Pod)
			if p.sleepers.none() || old == nil || now == nil {
				return
			}
			if old.UID != now.UID || old.Spec.NodeName == "" && now.Spec.NodeName != "" {
				p.sleepers.leave(old.UID)
			}
		},
		DeleteFunc: func(o any) {
			if pod, err := as[corev1.Pod](o); err == nil && !p.sleepers.none() {
				p.sleepers.leave(pod.UID)
			}
		},
	}
}

// volumeChange: the pod's own volume, or a sibling's, has changed; or there is room
// now that the volume is counted, or is gone.
func (p *VolumeHome) volumeChange(old, now *corev1.PersistentVolume) (change, bool) {
	var keys []string
	if now != nil {
		keys = inventory.VolumeKeys(now)
	}
	if old != nil && (now == nil || !sameKeys(old, now)) {
		keys = append(keys, inventory.VolumeKeys(old)...)
	}
	if len(keys) == 0 {
		return change{}, false // none of ours
	}
	changed := sync.OnceValue(func() bool { return old == nil || now == nil || !sameVolume(old, now) })
	return change{keys: append(slices.Clip(keys), roomKey), help: func(w wait) bool {
		own, sibling := w.matches(keys)
		c := w.concerns()
		if (own || sibling && c.siblings) && changed() {
			return true
		}
		return c.room &&
			(now != nil && now.Spec.ClaimRef != nil && changed() && p.inventory.MayMove(now) ||
				old != nil && p.roomIn(w, old.Annotations) || now != nil && p.roomIn(w, now.Annotations))
	}}, true
}

// claimChange: the pod's own claim has changed; or another one gave up a node before
// its volume was made. A promise to a claim in any namespace may be what fills the
// node.
func (p *VolumeHome) claimChange(old, now *corev1.PersistentVolumeClaim) (change, bool) {
	var keys []string
	if now != nil {
		keys = []string{klog.KObj(now).String()}
	}
	given := gaveUp(old, now)
	c := change{keys: keys, help: func(w wait) bool {
		own, _ := w.matches(keys)
		return own || given && w.concerns().room && (selected(old) == "" || p.leftBy(w, selected(old)))
	}}
	if given {
		c.keys = append(slices.Clip(keys), roomKey)
	}
	return c, len(c.keys) > 0
}

// nodeChange: a node at which the verdict has looked; or one that has come or gone,
// or has other volume groups than before, and may be anybody's home.
func (p *VolumeHome) nodeChange(old, now *corev1.Node) (change, bool) {
	switch {
	case old == nil && now == nil, !nodeHelps(old, now):
		return change{}, false
	case old == nil || now == nil || regrouped(old, now):
		return change{all: true, help: func(wait) bool { return true }}, true
	}
	return change{keys: []string{nodeKey(now.Name)}, help: func(w wait) bool { return slices.Contains(w.nodes, now.Name) }}, true
}

// capacityChange: a node reports, or another volume group; or there is room.
func (p *VolumeHome) capacityChange(old, now *storagev1.CSIStorageCapacity) (change, bool) {
	if !published(old) && !published(now) || offersNoMore(old, now) {
		return change{}, false
	}
	another := old == nil || now == nil || !sameReport(old, now)
	c := change{keys: []string{roomKey}, help: func(w wait) bool {
		c := w.concerns()
		return c.reports && another ||
			c.room && (old != nil && p.roomIn(w, old.Annotations) || now != nil && p.roomIn(w, now.Annotations))
	}}
	if another {
		c.keys = append(c.keys, reportsKey)
	}
	return c, true
}

// classChange: the claims of a class are known to be ours, or not, when it is there.
func classChange(old, now *storagev1.StorageClass) (change, bool) {
	return change{all: true, help: func(wait) bool { return true }}, old == nil && now != nil
}

// proof: all reports are compared with the API server.
func proof() change {
	return change{keys: []string{proofKey}, help: func(w wait) bool { return w.concerns().proof }}
}

// departure: a pod that did not start after all gives its promise back.
func (p *VolumeHome) departure(node string) change {
	return change{keys: []string{roomKey}, help: func(w wait) bool { return w.concerns().room && p.leftBy(w, node) }}
}

// roomIn says that there is room now on a node that publishes the volume group of
// an object with these annotations, or on the node itself that published it.
func (p *VolumeHome) roomIn(w wait, annotations map[string]string) bool {
	if node := annotations[volume.AnnotationNode]; node != "" && p.roomOn(w, node) {
		return true
	}
	return p.roomInGroup(w, annotations[volume.AnnotationVGUUID])
}

func (p *VolumeHome) roomInGroup(w wait, vg string) bool {
	return slices.ContainsFunc(p.inventory.Publishers(vg), func(node string) bool { return p.roomOn(w, node) })
}

// roomOn says that the node would do now, or that this cannot be told from the
// pod's verdict.
func (p *VolumeHome) roomOn(w wait, node string) bool {
	if w.verdict.Action == placement.Allow {
		return w.verdict.Holds(node) || w.verdict.Judge(p.inventory.LatestRoom(node)).Fits
	}
	return w.verdict.Reason.Node == "" || w.verdict.Reason.Node == node
}

// leftBy says that there is room now in the volume groups of a node that somebody has
// given up, or that the node was shunned for a sibling, of which the pod's verdict
// does not know that it has left.
func (p *VolumeHome) leftBy(w wait, node string) bool {
	return w.verdict.Shuns(node) || p.roomOn(w, node) ||
		slices.ContainsFunc(p.inventory.LatestRoom(node).Pools, func(pool placement.Pool) bool { return p.roomInGroup(w, pool.VG) })
}
