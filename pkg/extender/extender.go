package extender

import (
	"context"
	"errors"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"
	extenderv1 "k8s.io/kube-scheduler/extender/v1"

	"github.com/berth-dev/berth/pkg/placement"
)

// Inventory gathers facts and keeps promises. inventory.Inventory is one.
type Inventory interface {
	Request(*corev1.Pod) (placement.Request, *placement.Reason)
	LiveFacts(context.Context, placement.Request) (placement.Facts, error)
	Room(node string) placement.Room
	Promise(member placement.Member, node string, v placement.Verdict) *placement.Reason
	Release(claims []placement.Claim)
}

// Extender answers the verbs filter and prioritize. It is safe for concurrent use.
type Extender struct {
	inventory Inventory
	advise    bool

	// mu makes deciding and promising one step.
	mu   sync.Mutex
	held map[placement.ClaimName]holding
}

// Config says how an Extender works.
type Config struct {
	Inventory Inventory
	// Advise lets Filter leave all nodes with room, for kube-scheduler to choose
	// from, and promises nothing: two pods in quick succession may then be given
	// the same room, or two members of a cluster the same node.
	Advise bool
}

// New makes an Extender.
func New(c Config) *Extender {
	return &Extender{inventory: c.Inventory, advise: c.Advise, held: map[placement.ClaimName]holding{}}
}

// errNames is the answer to a kube-scheduler that sends whole Node objects.
var errNames = errors.New("the request has no pod or no node names: set nodeCacheCapable: true for this extender")

// Filter answers which of the nodes may run the pod. An error in the answer fails
// the scheduling cycle, and the pod is tried again.
func (e *Extender) Filter(ctx context.Context, args extenderv1.ExtenderArgs) extenderv1.ExtenderFilterResult {
	if args.Pod == nil || args.NodeNames == nil {
		return extenderv1.ExtenderFilterResult{Error: errNames.Error()}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	names := *args.NodeNames
	request, verdict, err := e.decide(ctx, args.Pod)
	switch {
	case err != nil:
		return extenderv1.ExtenderFilterResult{Error: err.Error()}
	case verdict == nil:
		return extenderv1.ExtenderFilterResult{NodeNames: &names}
	case verdict.Action == placement.Refuse && verdict.Reason.Code == placement.CodeCacheNotSynced:
		return extenderv1.ExtenderFilterResult{Error: verdict.Reason.String()}
	}
	left, failed := e.sift(*verdict, names)
	if len(verdict.Blank) > 0 && !e.advise {
		left = e.choose(args.Pod, request.Member, *verdict, left, failed)
	}
	klog.FromContext(ctx).V(2).Info("Filtered", "pod", klog.KObj(args.Pod), "action", verdict.Action, "asked", len(names), "left", left, "code", verdict.Reason.Code)
	return extenderv1.ExtenderFilterResult{NodeNames: &left, FailedAndUnresolvableNodes: failed}
}

// Prioritize scores the nodes, 10 for the best. It is asked only when Filter has
// left more than one. kube-scheduler takes no error here, only equal scores.
func (e *Extender) Prioritize(ctx context.Context, args extenderv1.ExtenderArgs) (extenderv1.HostPriorityList, error) {
	if args.Pod == nil || args.NodeNames == nil {
		return nil, errNames
	}
	_, verdict, err := e.decide(ctx, args.Pod)
	if err != nil {
		return nil, err
	}
	list := make(extenderv1.HostPriorityList, len(*args.NodeNames))
	for i, name := range *args.NodeNames {
		list[i].Host = name
	}
	if verdict != nil && verdict.Action == placement.Allow {
		for i, score := range e.scores(*verdict, *args.NodeNames) {
			list[i].Score = score * extenderv1.MaxExtenderPriority / 100
		}
	}
	return list, nil
}

// decide returns no verdict for a pod that has no claims of ours.
func (e *Extender) decide(ctx context.Context, pod *corev1.Pod) (placement.Request, *placement.Verdict, error) {
	request, reason := e.inventory.Request(pod)
	if reason != nil {
		return request, &placement.Verdict{Action: placement.Refuse, Reason: *reason}, nil
	}
	if len(request.Claims) == 0 {
		return request, nil, nil
	}
	facts, err := e.inventory.LiveFacts(ctx, request)
	if err != nil {
		return request, nil, fmt.Errorf("gather facts for pod %s: %w", klog.KObj(pod), err)
	}
	verdict := placement.Decide(request, facts)
	return request, &verdict, nil
}

// sift holds each node to the verdict. No pod that could be evicted holds the
// data, so whatever fails is nothing for preemption.
func (e *Extender) sift(v placement.Verdict, names []string) (left []string, failed extenderv1.FailedNodesMap) {
	left, failed = []string{}, extenderv1.FailedNodesMap{}
	for _, name := range names {
		if reason := e.judge(v, name); reason != nil {
			failed[name] = reason.String()
		} else {
			left = append(left, name)
		}
	}
	return left, failed
}

// judge returns why the node will not do, or nil.
func (e *Extender) judge(v placement.Verdict, node string) *placement.Reason {
	switch v.Action {
	case placement.Refuse:
		return &v.Reason
	case placement.Pin:
		if node != v.Node {
			reason := placement.DataElsewhere(v.Node)
			return &reason
		}
		return nil
	}
	if j := v.Judge(e.inventory.Room(node)); !j.Fits {
		return &j.Reason
	}
	return nil
}

// scores ranks the nodes as the plugin does, 100 for the best.
func (e *Extender) scores(v placement.Verdict, names []string) []int64 {
	judgements := make([]placement.Judgement, len(names))
	for i, name := range names {
		judgements[i] = v.Judge(e.inventory.Room(name))
	}
	return placement.Scores(judgements)
}
