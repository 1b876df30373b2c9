package plugin

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	fwk "k8s.io/kube-scheduler/framework"
)

// PreEnqueue keeps a pod that PreFilter has refused out of the queue until
// something has happened that may help it. The queue asks nobody about a pod behind
// a gate, whereas it would ask for each event about each pod that was refused.
func (p *VolumeHome) PreEnqueue(_ context.Context, pod *corev1.Pod) *fwk.Status {
	if p.sleepers.shut(pod.UID) {
		return fwk.NewStatus(fwk.UnschedulableAndUnresolvable, "waits for what its last refusal names")
	}
	return nil
}

// EventsToRegister has the queue ask about nodes only: the scheduler's cache of
// nodes may be behind the store that a verdict is read from, and a pod that was
// tried between the two is helped by what the queue says when the cache has
// followed. All other changes come through follow. The framework asks for the
// events when the profile is complete, so a profile that cannot work is refused
// here.
func (p *VolumeHome) EventsToRegister(context.Context) ([]fwk.ClusterEventWithHint, error) {
	if err := checkProfile(p.profile); err != nil {
		return nil, err
	}
	return []fwk.ClusterEventWithHint{{
		Event: fwk.ClusterEvent{
			Resource: fwk.Node, ActionType: fwk.Add | fwk.Delete | fwk.UpdateNodeLabel | fwk.UpdateNodeCondition | fwk.UpdateNodeTaint,
		},
		QueueingHintFn: p.nodeHint,
	}}, nil
}

// nodeHint says Queue when it does not know. The queue holds its lock, so that the
// wake has to come later, and by then the pod may be in its back-off.
func (p *VolumeHome) nodeHint(logger klog.Logger, pod *corev1.Pod, oldObj, newObj any) (fwk.QueueingHint, error) {
	old, err := as[corev1.Node](oldObj)
	if err != nil {
		return fwk.Queue, err
	}
	now, err := as[corev1.Node](newObj)
	if err != nil {
		return fwk.Queue, err
	}
	c, matters := p.nodeChange(old, now)
	if !matters {
		return fwk.QueueSkip, nil
	}
	if w, known := p.sleepers.of(pod.UID); known && !c.help(w) {
		return fwk.QueueSkip, nil
	}
	p.sleepers.wake(pod.UID)
	logger.V(5).Info("Queued a pod for an event", "pod", klog.KObj(pod), "plugin", Name)
	return fwk.Queue, nil
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
