package plugin

import (
	corev1 "k8s.io/api/core/v1"
	fwk "k8s.io/kube-scheduler/framework"

	"github.com/berth-dev/berth/pkg/inventory"
	"github.com/berth-dev/berth/pkg/placement"
)

// cycle is what PreFilter leaves for the later steps of one scheduling cycle. It
// is not changed after that, so clones share it.
type cycle struct {
	member   placement.Member
	verdict  placement.Verdict
	narrowed bool // to the best nodes
	// dropped is why nodes will not do for new volumes.
	dropped []string
	// apiServer is the one that the verdict is good for.
	apiServer string
}

// Clone returns the same value.
func (c *cycle) Clone() fwk.StateData { return c }

// read returns the verdict, or nil for a pod that is none of our business: every
// such pod asks, so that it must cost nothing.
func read(state fwk.CycleState, pod *corev1.Pod) *cycle {
	if !inventory.HasClaims(pod) {
		return nil
	}
	data, err := state.Read(Name)
	if err != nil {
		return nil
	}
	c, _ := data.(*cycle)
	return c
}

// foreign says that the pod is none of our business.
func (p *VolumeHome) foreign(pod *corev1.Pod) bool {
	if !inventory.HasClaims(pod) {
		return true
	}
	request, reason := p.inventory.Request(pod)
	return reason == nil && len(request.Claims) == 0
}
