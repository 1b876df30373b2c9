package plugin

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/client-go/tools/cache"
	storagevolume "k8s.io/component-helpers/storage/volume"
	"k8s.io/klog/v2"
	fwk "k8s.io/kube-scheduler/framework"

	"github.com/berth-dev/berth/pkg/inventory"
	"github.com/berth-dev/berth/pkg/placement"
	"github.com/berth-dev/berth/pkg/volume"
)

// EventsToRegister lists what can end a wait: every Reason's Unblock shows up as
// one of these. A hint that says Queue in vain costs one scheduling cycle, one
// that says Skip in vain costs an outage of minutes, so hints err to Queue.
func (p *VolumeHome) EventsToRegister(context.Context) ([]fwk.ClusterEventWithHint, error) {
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
		narrowed(on(fwk.PersistentVolume, fwk.Add|fwk.Update|fwk.Delete, hint(volumeMatters)), prehint(p.podsOfVolume)),
		narrowed(on(fwk.PersistentVolumeClaim, fwk.Add|fwk.Update|fwk.Delete, hint(claimMatters)), prehint(p.podsOfClaim)),
		on(fwk.Node, fwk.Add|fwk.Delete|fwk.UpdateNodeLabel|fwk.UpdateNodeCondition|fwk.UpdateNodeTaint, hint(nodeMatters)),
		on(fwk.CSIStorageCapacity, fwk.Add|fwk.Update, hint(capacityMatters)),
		on(fwk.StorageClass, fwk.Add, nil),
		on(fwk.AssignedPod, fwk.Delete, hint(podMatters)),
	}, nil
}

// hint adapts a question about one kind of object. Of an event that adds or
// deletes, the other object is nil.
func hint[T any](matters func(pod *corev1.Pod, old, now *T) bool) fwk.QueueingHintFn {
	return func(logger klog.Logger, pod *corev1.Pod, oldObj, newObj any) (fwk.QueueingHint, error) {
		old, err := as[T](oldObj)
		if err != nil {
			return fwk.Queue, err
		}
		now, err := as[T](newObj)
		if err != nil {
			return fwk.Queue, err
		}
		if matters(pod, old, now) {
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

// volumeMatters: the pod's own volume, or a sibling's.
func volumeMatters(pod *corev1.Pod, old, now *corev1.PersistentVolume) bool {
	keys := inventory.PodKeys(pod)
	for _, pv := range []*corev1.PersistentVolume{old, now} {
		if pv == nil {
			continue
		}
		for _, key := range inventory.VolumeKeys(pv) {
			if slices.Contains(keys, key) {
				return true
			}
		}
	}
	return false
}

// claimMatters: the pod's own claim, or one that gave up a node before its volume
// was made. A promise to a claim in any namespace may be what fills the node.
func claimMatters(pod *corev1.Pod, old, now *corev1.PersistentVolumeClaim) bool {
	if gaveUp(old, now) {
		return true
	}
	return now != nil && slices.Contains(inventory.PodKeys(pod), klog.KObj(now).String())
}

func gaveUp(old, now *corev1.PersistentVolumeClaim) bool {
	return old != nil && old.Spec.VolumeName == "" && selected(old) != "" && (now == nil || selected(now) != selected(old))
}

func selected(pvc *corev1.PersistentVolumeClaim) string {
	return pvc.Annotations[storagevolume.AnnSelectedNode]
}

// nodeMatters: heartbeats do not.
func nodeMatters(_ *corev1.Pod, old, now *corev1.Node) bool {
	return old == nil || now == nil ||
		old.Spec.Unschedulable != now.Spec.Unschedulable ||
		isReady(old) != isReady(now) ||
		inventory.OutOfService(old) != inventory.OutOfService(now) ||
		!maps.Equal(ourLabels(old), ourLabels(now))
}

func isReady(n *corev1.Node) bool {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

func ourLabels(n *corev1.Node) map[string]string {
	ours := map[string]string{}
	for label, value := range n.Labels {
		if label == placement.StorageLabel || strings.HasPrefix(label, volume.NodeLabelPrefix) {
			ours[label] = value
		}
	}
	return ours
}

// capacityMatters: a node that reports, more room, or a volume group that has
// caught up with what was promised.
func capacityMatters(_ *corev1.Pod, old, now *storagev1.CSIStorageCapacity) bool {
	if now == nil || now.Namespace != volume.SystemNamespace {
		return false
	}
	return old == nil || free(now) > free(old) || !maps.Equal(old.Annotations, now.Annotations)
}

func free(c *storagev1.CSIStorageCapacity) int64 {
	if c.Capacity == nil {
		return 0
	}
	return c.Capacity.Value()
}

// podMatters: a pod that did not start after all gives its promise back.
func podMatters(_ *corev1.Pod, old, _ *corev1.Pod) bool {
	return old != nil && len(inventory.ClaimsOf(old)) > 0
}
