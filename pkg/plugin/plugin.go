package plugin

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/events"
	"k8s.io/klog/v2"
	fwk "k8s.io/kube-scheduler/framework"
	"k8s.io/utils/lru"

	"github.com/berth-dev/berth/pkg/inventory"
	"github.com/berth-dev/berth/pkg/placement"
)

// Name is the plugin's name in a KubeSchedulerConfiguration.
const Name = "VolumeHome"

// VolumeHome has no PreBind on purpose: VolumeBinding writes what there is to
// write, and one more PreBind would cost every pod a PATCH. Nor has it a Filter: it
// names the nodes in PreFilter, and a Filter, even one that is skipped, would be looked
// up for every pod on every node.
type VolumeHome struct {
	life      context.Context // ends with the scheduler
	args      VolumeHomeArgs
	inventory *inventory.Inventory
	handle    handle
	profile   profile
	pods      cache.Indexer
	recorder  events.EventRecorder
	measures  measures
	sleepers  *sleepers
	asking    asking
	lookedAt  *lru.Cache    // by UID of pods: how many looks at the best nodes were in vain
	next      atomic.Uint64 // node at which the search for the best begins
}

// handle is what the plugin needs of the scheduler after its start.
type handle interface {
	Activate(logger klog.Logger, pods map[string]*corev1.Pod)
	GetWaitingPod(uid types.UID) fwk.WaitingPod
}

var (
	_ fwk.PreEnqueuePlugin  = &VolumeHome{}
	_ fwk.PreFilterPlugin   = &VolumeHome{}
	_ fwk.PostFilterPlugin  = &VolumeHome{}
	_ fwk.PreScorePlugin    = &VolumeHome{}
	_ fwk.ScorePlugin       = &VolumeHome{}
	_ fwk.ReservePlugin     = &VolumeHome{}
	_ fwk.PermitPlugin      = &VolumeHome{}
	_ fwk.EnqueueExtensions = &VolumeHome{}
	_ fwk.SignPlugin        = &VolumeHome{}
)

// New makes the plugin on the scheduler's own informers. Promises are kept in
// one place, so only one profile of a scheduler may enable the plugin.
func New(ctx context.Context, configuration runtime.Object, h fwk.Handle) (fwk.Plugin, error) {
	args, err := readArgs(configuration)
	if err != nil {
		return nil, fmt.Errorf("read the args of %s: %w", Name, err)
	}
	i, err := inventory.New(h.ClientSet(), h.SharedInformerFactory())
	if err != nil {
		return nil, fmt.Errorf("start %s for profile %s (one profile may enable it): %w", Name, h.ProfileName(), err)
	}
	p := &VolumeHome{
		life: ctx, args: args, inventory: i, handle: h, profile: profileOf(h),
		pods:     h.SharedInformerFactory().Core().V1().Pods().Informer().GetIndexer(),
		recorder: h.EventRecorder(),
		measures: newMeasures(),
		lookedAt: lru.New(lookedMost),
	}
	p.sleepers = newSleepers(func(pod *corev1.Pod) {
		p.measures.wakes.Inc()
		p.handle.Activate(klog.FromContext(ctx), map[string]*corev1.Pod{pod.Name: pod})
	})
	if err := p.follow(h.SharedInformerFactory()); err != nil {
		return nil, err
	}
	p.measures.register(i)
	go i.Run(ctx, func() { p.sleepers.hear(proof()) })
	return p, nil
}

// Name returns Name.
func (p *VolumeHome) Name() string { return Name }

// PreFilter pins the pod to the node with its data, leaves the nodes where new volumes
// may be, or refuses it with the reason. It has nothing to say of a pod that is none of
// our business, not even Skip: there is no Filter to skip, and the framework would note it
// for each such pod.
func (p *VolumeHome) PreFilter(ctx context.Context, state fwk.CycleState, pod *corev1.Pod, nodes []fwk.NodeInfo) (*fwk.PreFilterResult, *fwk.Status) {
	if p.foreign(pod) {
		p.sleepers.leave(pod.UID) // it may have been one of ours, in another class
		return nil, nil
	}
	p.sleepers.begin(pod)
	request, reason := p.inventory.Request(pod)
	if reason == nil && len(request.Claims) == 0 {
		p.sleepers.leave(pod.UID)
		return nil, nil
	}
	logger := klog.FromContext(ctx).WithValues("pod", klog.KObj(pod))
	began := time.Now()
	if reason != nil {
		verdict := placement.Verdict{Action: placement.Refuse, Reason: *reason}
		p.enter(pod, waitOf(pod, verdict, request, placement.Facts{}))
		p.measures.decided(began, verdict)
		return nil, p.refuse(logger, pod, *reason)
	}
	facts := p.inventory.Facts(request)
	verdict := placement.Decide(request, facts)
	p.enter(pod, waitOf(pod, verdict, request, facts))
	p.measures.decided(began, verdict)
	c := &cycle{member: request.Member, verdict: verdict, apiServer: facts.APIServer}
	state.Write(Name, c)
	switch verdict.Action {
	case placement.Pin:
		logger.V(2).Info("Pinned", "member", request.Member, "node", verdict.Node, "beside", verdict.Beside)
		return &fwk.PreFilterResult{NodeNames: sets.New(verdict.Node)}, nil
	case placement.Allow:
		logger.V(4).Info("Looks for a node for new volumes", "member", request.Member, "claims", len(verdict.Blank))
		if result := p.narrow(ctx, state, pod, verdict, nodes); result != nil {
			c.narrowed = true
			return result, nil
		}
		found, dropped := p.fitting(verdict, nodes)
		switch len(found) {
		case 0:
			p.sleepers.alone(pod.UID)
			return nil, fwk.NewStatus(fwk.UnschedulableAndUnresolvable, dropped...)
		case len(nodes):
			return nil, nil
		}
		logger.V(4).Info("Dropped nodes", "reasons", dropped)
		c.dropped = dropped
		return &fwk.PreFilterResult{NodeNames: found}, nil
	}
	return nil, p.refuse(logger, pod, verdict.Reason)
}

// enter notes what the pod waits for, unless it is gone already: then nobody would
// ever say that it is.
func (p *VolumeHome) enter(pod *corev1.Pod, w wait) {
	p.sleepers.enter(pod, w)
	o, exists, err := p.pods.GetByKey(klog.KObj(pod).String())
	if now, is := o.(*corev1.Pod); err != nil || !exists || !is || now.UID != pod.UID {
		p.sleepers.leave(pod.UID)
	}
}

// refuse is the status of a pod that has to wait, behind the gate, if it may: being
// activated now, it is shown to the gate when it comes back to the queue. An empty
// cache wakes nobody when it fills, so that wait is an error, which the scheduler
// retries.
func (p *VolumeHome) refuse(logger klog.Logger, pod *corev1.Pod, r placement.Reason) *fwk.Status {
	logger.V(2).Info("Refused", "code", r.Code, "reason", r.Text, "unblock", r.Unblock)
	if r.Code == placement.CodeCacheNotSynced {
		return fwk.AsStatus(errors.New(r.String()))
	}
	if p.sleepers.shut(pod.UID) {
		p.handle.Activate(logger, map[string]*corev1.Pod{pod.Name: pod})
	}
	return unresolvable(r)
}

// unresolvable keeps preemption away: no pod that it could evict holds the data.
func unresolvable(r placement.Reason) *fwk.Status {
	return fwk.NewStatus(fwk.UnschedulableAndUnresolvable, r.String())
}

// PreFilterExtensions is nil: other pods on a node do not change the verdict.
func (p *VolumeHome) PreFilterExtensions() fwk.PreFilterExtensions { return nil }

// Reserve holds the pod to the verdict, whoever chose the node: the scheduler tries a
// node that somebody has nominated (status.nominatedNodeName) whatever PreFilter says.
// After an error it forgets the nomination, and tries the pod again.
//
// It promises the room on the chosen node, so that the next pod's verdict counts it. A
// node that was taken since the verdict is an error, too: no event may come of what has
// happened already.
func (p *VolumeHome) Reserve(ctx context.Context, state fwk.CycleState, pod *corev1.Pod, node string) *fwk.Status {
	c := read(state, pod)
	if c == nil {
		return nil
	}
	if v := c.verdict; v.Action == placement.Pin && node != v.Node {
		return fwk.AsStatus(fmt.Errorf("keep pod %s off node %s, for which it was nominated: %s", klog.KObj(pod), node, placement.DataElsewhere(v.Node)))
	}
	p.sleepers.leave(pod.UID)
	if len(c.verdict.Blank) == 0 {
		return nil
	}
	logger := klog.FromContext(ctx)
	if reason := p.inventory.Promise(c.member, node, c.verdict); reason != nil {
		return fwk.AsStatus(fmt.Errorf("promise room on node %s, which was there a moment ago: %s", node, reason))
	}
	logger.V(2).Info("Promised room for new volumes", "pod", klog.KObj(pod), "node", node, "claims", len(c.verdict.Blank))
	return nil
}

// Unreserve takes the promise back.
func (p *VolumeHome) Unreserve(_ context.Context, state fwk.CycleState, pod *corev1.Pod, node string) {
	if c := read(state, pod); c != nil && len(c.verdict.Blank) > 0 {
		p.asking.end(pod, c)
		p.inventory.Release(c.verdict.Blank)
		p.sleepers.hear(p.departure(node))
	}
}

// SignPod lets the scheduler batch foreign pods, and none with claims of ours:
// where one member may go is never where the next one may.
func (p *VolumeHome) SignPod(_ context.Context, pod *corev1.Pod) ([]fwk.SignFragment, *fwk.Status) {
	if p.foreign(pod) {
		return nil, nil
	}
	return nil, fwk.NewStatus(fwk.Unschedulable, "a member's place is its own")
}
