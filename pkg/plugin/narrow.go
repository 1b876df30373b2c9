package plugin

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/component-helpers/resource"
	corev1helpers "k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
	"k8s.io/klog/v2"
	fwk "k8s.io/kube-scheduler/framework"

	"github.com/berth-dev/berth/pkg/placement"
)

// looks are on how many nodes a pod with new volumes is tried, look after look;
// then on all. VolumeBinding compares every node with every volume of the class:
// with 20,000 volumes that is 0.4 to 2 ms of processor time a node, most of what
// such a pod costs, and the scheduler would look at 500 of 5,000.
var looks = []int{1, 16}

const (
	// small is how many nodes are not worth the trouble.
	small = 32
	// ranked is of how many nodes with room those that are tried are the best. The
	// scheduler itself looks at no more in a large cluster.
	ranked = 512
	// lookedMost is of how many pods it is remembered that they need a wider look.
	// One that is forgotten is tried on the best nodes once more, and remembered again.
	lookedMost = 4096
)

// narrow returns the best nodes for new volumes, of those that the pod's other
// wishes leave as far as they can be told without the other plugins. It returns
// nil, for all nodes, where there are not many, or when the best did not do.
func (p *VolumeHome) narrow(ctx context.Context, state fwk.CycleState, pod *corev1.Pod, v placement.Verdict, nodes []fwk.NodeInfo) *fwk.PreFilterResult {
	if len(nodes) <= small || state.IsPodGroupSchedulingCycle() {
		return nil // in the cycle of a group nobody would ask for a wider look
	}
	look := p.look(pod)
	if look == len(looks) {
		return nil
	}
	s := newScreen(klog.FromContext(ctx), pod)
	found := sets.New[string]()
	for _, rank := range p.ranks(v, nodes) {
		for _, info := range rank {
			if s.admits(info) {
				found.Insert(info.Node().Name)
			}
			if len(found) == looks[look] {
				return &fwk.PreFilterResult{NodeNames: found}
			}
		}
	}
	return nil // so few that the others' reasons are worth more
}

// fitting returns all nodes where the new volumes may be, and why the others will not
// do, as the scheduler adds up what filters say of nodes.
func (p *VolumeHome) fitting(v placement.Verdict, nodes []fwk.NodeInfo) (found sets.Set[string], dropped []string) {
	found = sets.New[string]()
	reasons := map[string]int{}
	for _, info := range nodes {
		name := info.Node().Name
		if j := v.Judge(p.inventory.Room(name)); j.Fits {
			found.Insert(name)
		} else {
			reasons[j.Reason.String()]++
		}
	}
	for reason, n := range reasons {
		dropped = append(dropped, fmt.Sprintf("%d %s", n, reason))
	}
	slices.Sort(dropped)
	return found, dropped
}

// ranks are nodes with room by their score, the best first. Where there are many,
// the next pod's begin where these end.
func (p *VolumeHome) ranks(v placement.Verdict, nodes []fwk.NodeInfo) [][]fwk.NodeInfo {
	fitting := make([]fwk.NodeInfo, 0, min(ranked, len(nodes)))
	judgements := make([]placement.Judgement, 0, min(ranked, len(nodes)))
	for range nodes {
		info := nodes[p.next.Add(1)%uint64(len(nodes))]
		if j := v.Judge(p.inventory.Room(info.Node().Name)); j.Fits {
			fitting, judgements = append(fitting, info), append(judgements, j)
		}
		if len(fitting) == ranked {
			break
		}
	}
	ranks := make([][]fwk.NodeInfo, fwk.MaxNodeScore+1)
	for i, score := range placement.Scores(judgements) {
		rank := fwk.MaxNodeScore - score
		ranks[rank] = append(ranks[rank], fitting[i])
	}
	return ranks
}

// choosy says that the pod wishes what no node tells by itself, or weighs nodes
// against each other: the first look would be in vain too often, or leave nothing to
// weigh. Siblings keep to nodes of their own anyway.
func choosy(pod *corev1.Pod) bool {
	if len(pod.Spec.TopologySpreadConstraints) > 0 {
		return true
	}
	a := pod.Spec.Affinity
	if a == nil {
		return false
	}
	if a.PodAffinity != nil || a.NodeAffinity != nil && len(a.NodeAffinity.PreferredDuringSchedulingIgnoredDuringExecution) > 0 {
		return true
	}
	if a.PodAntiAffinity == nil {
		return false
	}
	return slices.ContainsFunc(a.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution, func(t corev1.PodAffinityTerm) bool {
		return t.TopologyKey != corev1.LabelHostname
	}) || slices.ContainsFunc(a.PodAntiAffinity.PreferredDuringSchedulingIgnoredDuringExecution, func(t corev1.WeightedPodAffinityTerm) bool {
		return t.PodAffinityTerm.TopologyKey != corev1.LabelHostname
	})
}

// look is which of looks is the pod's next: as many were in vain.
func (p *VolumeHome) look(pod *corev1.Pod) int {
	n, _ := p.lookedAt.Get(pod.UID)
	look, _ := n.(int)
	if look == 0 && choosy(pod) {
		return 1
	}
	return look
}

// PostFilter says why the nodes that PreFilter did not name will not do, when other
// plugins have refused those that it named: of the rest the scheduler tells no more than
// that they did not satisfy VolumeHome.
//
// It has a pod that found no place among the best nodes tried on more, at once. Until
// it was tried on all, nobody may be evicted for it.
func (p *VolumeHome) PostFilter(ctx context.Context, state fwk.CycleState, pod *corev1.Pod, _ fwk.NodeToStatusReader) (*fwk.PostFilterResult, *fwk.Status) {
	c := read(state, pod)
	switch {
	case c == nil:
		return nil, fwk.NewStatus(fwk.Unschedulable)
	case c.verdict.Action == placement.Pin:
		return nil, fwk.NewStatus(fwk.Unschedulable, placement.DataElsewhere(c.verdict.Node).String())
	case !c.narrowed:
		return nil, fwk.NewStatus(fwk.Unschedulable, c.dropped...)
	}
	look := p.look(pod)
	p.lookedAt.Add(pod.UID, look+1)
	logger := klog.FromContext(ctx)
	logger.V(2).Info("Looks at more nodes next", "pod", klog.KObj(pod), "tried", looks[look])
	p.handle.Activate(logger, map[string]*corev1.Pod{pod.Name: pod})
	return nil, fwk.NewStatus(fwk.UnschedulableAndUnresolvable, "the nodes with the most room will not do, more are looked at next")
}

// screen is what a pod wishes of a node that can be told from the node alone. It
// may let a node pass that a plugin then refuses. It refuses none that all
// plugins would let pass.
type screen struct {
	logger      klog.Logger
	affinity    nodeaffinity.RequiredNodeAffinity
	tolerations []corev1.Toleration
	milliCPU    int64
	memory      int64
}

func newScreen(logger klog.Logger, pod *corev1.Pod) screen {
	requests := resource.PodRequests(pod, resource.PodResourcesOptions{})
	return screen{
		logger:      logger,
		affinity:    nodeaffinity.GetRequiredNodeAffinity(pod),
		tolerations: pod.Spec.Tolerations,
		milliCPU:    requests.Cpu().MilliValue(),
		memory:      requests.Memory().Value(),
	}
}

func (s screen) admits(info fwk.NodeInfo) bool {
	allocatable, requested := info.GetAllocatable(), info.GetRequested()
	if len(info.GetPods()) >= allocatable.GetAllowedPodNumber() ||
		s.milliCPU > allocatable.GetMilliCPU()-requested.GetMilliCPU() ||
		s.memory > allocatable.GetMemory()-requested.GetMemory() {
		return false
	}
	node := info.Node()
	if node.Spec.Unschedulable {
		return false // tolerated or not: it is not among the best
	}
	_, repelled := corev1helpers.FindMatchingUntoleratedTaint(s.logger, node.Spec.Taints, s.tolerations, func(t *corev1.Taint) bool {
		return t.Effect == corev1.TaintEffectNoSchedule || t.Effect == corev1.TaintEffectNoExecute
	}, false)
	if repelled {
		return false
	}
	matches, err := s.affinity.Match(node)
	return err == nil && matches
}
