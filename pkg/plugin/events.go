package plugin

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	fwk "k8s.io/kube-scheduler/framework"

	"github.com/berth-dev/berth/pkg/placement"
	"github.com/berth-dev/berth/pkg/volume"
)

// EventsToRegister lists what can end a wait: every Reason's Unblock shows up as
// one of these. The framework asks for it when the profile is complete, so a
// profile that cannot work is refused here.
func (p *VolumeHome) EventsToRegister(context.Context) ([]fwk.ClusterEventWithHint, error) {
	if err := checkProfile(p.profile); err != nil {
		return nil, err
	}
	return p.events(), nil
}

// events are the events with their hints. A hint that says Queue in vain costs one
// scheduling cycle, one that says Skip in vain costs an outage of minutes, so hints
// err to Queue.
func (p *VolumeHome) events() []fwk.ClusterEventWithHint {
	on := func(resource fwk.EventResource, actions fwk.ActionType, hint fwk.QueueingHintFn) fwk.ClusterEventWithHint {
		return fwk.ClusterEventWithHint{
			Event:          fwk.ClusterEvent{Resource: resource, ActionType: actions},
			QueueingHintFn: hint,
		}
	}
	narrowed := func(e fwk.ClusterEventWithHint, pre fwk.PreQueueingHintFn) fwk.ClusterEventWithHint {
		e.PreQueueingHintFn = pre // asked only with feature gate SchedulerPreQueueingHints
		return e
	}
	return []fwk.ClusterEventWithHint{
		narrowed(on(fwk.PersistentVolume, fwk.Add|fwk.Update|fwk.Delete, hint(p.volumeHelps)), prehint(p.podsOfVolume)),
		narrowed(on(fwk.PersistentVolumeClaim, fwk.Add|fwk.Update|fwk.Delete, hint(p.claimHelps)), prehint(p.podsOfClaim)),
		on(fwk.Node, fwk.Add|fwk.Delete|fwk.UpdateNodeLabel|fwk.UpdateNodeCondition|fwk.UpdateNodeTaint, hint(nodeHelps)),
		on(fwk.CSIStorageCapacity, fwk.Add|fwk.Update|fwk.Delete, hint(p.capacityHelps)),
		on(fwk.StorageClass, fwk.Add, nil),
		on(fwk.AssignedPod, fwk.Delete, hint(p.departureHelps)),
	}
}

// hint adapts a question about one kind of object. Of an event that adds or
// deletes, the other object is nil.
func hint[T any](helps func(pod *corev1.Pod, old, now *T) bool) fwk.QueueingHintFn {
	return func(logger klog.Logger, pod *corev1.Pod, oldObj, newObj any) (fwk.QueueingHint, error) {
		old, err := as[T](oldObj)
		if err != nil {
			return fwk.Queue, err
		}
		now, err := as[T](newObj)
		if err != nil {
			return fwk.Queue, err
		}
		if helps(pod, old, now) {
			logger.V(5).Info("Queued a pod for an event", "pod", klog.KObj(pod), "plugin", Name)
			return fwk.Queue, nil
		}
		return fwk.QueueSkip, nil
	}
}

func as[T any](o any) (*T, error) {
	if gone, is := o.(cache.DeletedFinalStateUnknown); is {
		o = gone.Obj
	}
	if o == nil {
		return nil, nil
	}
	t, is := o.(*T)
	if !is {
		return nil, fmt.Errorf("read an event about %T: it is about %T", t, o)
	}
	return t, nil
}

// volumeHelps: the pod's own volume, or a sibling's, has changed; or there is room
// now that the volume is counted, or is gone.
func (p *VolumeHome) volumeHelps(pod *corev1.Pod, old, now *corev1.PersistentVolume) bool {
	s := p.sightings.of(old, now)
	if len(s.keys) == 0 {
		return false // none of ours
	}
	w, known := p.waits.of(pod)
	if !known {
		own, sibling := waitOf(pod).matches(s.keys)
		return own || sibling
	}
	own, sibling := w.matches(s.keys)
	c := w.concerns()
	if s.changed && (own || sibling && c.siblings) {
		return true
	}
	if !c.room {
		return false
	}
	return s.changed && now != nil && now.Spec.ClaimRef != nil && p.inventory.MayMove(now) ||
		old != nil && p.roomIn(w, old.Annotations) || now != nil && p.roomIn(w, now.Annotations)
}

// claimHelps: the pod's own claim has changed; or another one gave up a node before
// its volume was made. A promise to a claim in any namespace may be what fills the
// node.
func (p *VolumeHome) claimHelps(pod *corev1.Pod, old, now *corev1.PersistentVolumeClaim) bool {
	w, known := p.waits.of(pod)
	if !known {
		w = waitOf(pod)
	}
	if now != nil {
		if own, _ := w.matches([]string{klog.KObj(now).String()}); own {
			return true
		}
	}
	return gaveUp(old, now) && (!known || w.concerns().room && (selected(old) == "" || p.leftBy(w, selected(old))))
}

// capacityHelps: a node reports, or another volume group; or there is room.
func (p *VolumeHome) capacityHelps(pod *corev1.Pod, old, now *storagev1.CSIStorageCapacity) bool {
	if !published(old) && !published(now) || offersNoMore(old, now) {
		return false
	}
	w, known := p.waits.of(pod)
	if !known {
		return true
	}
	c := w.concerns()
	if c.reports && (old == nil || now == nil || !sameReport(old, now)) {
		return true
	}
	return c.room && (old != nil && p.roomIn(w, old.Annotations) || now != nil && p.roomIn(w, now.Annotations))
}

// departureHelps: a pod that did not start after all gives its promise back.
func (p *VolumeHome) departureHelps(pod *corev1.Pod, old, _ *corev1.Pod) bool {
	if old == nil || !hasClaims(old) {
		return false
	}
	w, known := p.waits.of(pod)
	return !known || w.concerns().room && p.leftBy(w, old.Spec.NodeName)
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
