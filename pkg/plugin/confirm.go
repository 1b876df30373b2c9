package plugin

import (
	"context"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
	fwk "k8s.io/kube-scheduler/framework"
)

// Permit keeps a pod with new volumes from writing anything until the API server
// itself has said that it is the one to which the nodes have reported. The
// question is asked after the verdict and beside the scheduling cycle, so that no
// other pod waits for its answer.
func (p *VolumeHome) Permit(ctx context.Context, state fwk.CycleState, pod *corev1.Pod, node string) (*fwk.Status, time.Duration) {
	c := read(state, pod)
	if c == nil || len(c.verdict.Blank) == 0 {
		return nil, 0
	}
	p.asking.begin(pod, c)
	go p.confirm(klog.FromContext(ctx), pod, c, node)
	return fwk.NewStatus(fwk.Wait), p.args.ConfirmTimeout.Duration + confirmGrace
}

// confirmGrace is how much longer the framework waits for the answer than we do: it
// is up to us to give up, and to have the pod tried again.
const confirmGrace = 5 * time.Second

// confirm lets the pod go on, or sends it back to be decided anew.
func (p *VolumeHome) confirm(logger klog.Logger, pod *corev1.Pod, c *cycle, node string) {
	ctx, cancel := context.WithTimeout(p.life, p.args.ConfirmTimeout.Duration)
	defer cancel()
	err := p.inventory.Confirm(ctx, c.apiServer)
	waiting := p.waitingPod(pod, c)
	switch {
	case waiting == nil: // it was rejected by somebody else
	case err == nil:
		p.asking.end(pod, c)
		p.announce(pod, c, node)
		waiting.Allow(Name)
	default:
		p.asking.end(pod, c)
		logger.Error(err, "Took a node back from a pod with new volumes", "pod", klog.KObj(pod), "retry", p.args.RetryDelay.Duration)
		waiting.Reject(Name, err.Error())
		select {
		case <-time.After(p.args.RetryDelay.Duration):
			p.handle.Activate(logger, map[string]*corev1.Pod{pod.Name: pod})
		case <-p.life.Done():
		}
	}
}

// announce says on the pod that it gets new volumes. That nobody had data for
// these claims is worth a line when somebody looks for data.
func (p *VolumeHome) announce(pod *corev1.Pod, c *cycle, node string) {
	if !*p.args.NewVolumeEvents {
		return
	}
	names := make([]string, len(c.verdict.Blank))
	for i, claim := range c.verdict.Blank {
		names[i] = claim.Name
	}
	p.recorder.Eventf(pod, nil, corev1.EventTypeNormal, "NewVolume", "Scheduling",
		"no volume holds data of claim %s: it gets a new one on node %s", strings.Join(names, ", "), node)
}

// waitingPod returns the pod's entry, which the framework makes a moment after
// Permit has returned and of which it tells nobody.
func (p *VolumeHome) waitingPod(pod *corev1.Pod, c *cycle) fwk.WaitingPod {
	for p.asking.still(pod, c) {
		if w := p.handle.GetWaitingPod(pod.UID); w != nil {
			return w
		}
		select {
		case <-time.After(200 * time.Microsecond):
		case <-p.life.Done():
			return nil
		}
	}
	return nil
}

// asking are the pods for which the API server is being asked, each with the
// cycle that asked: an answer is good for no later one.
type asking struct {
	mu     sync.Mutex
	cycles map[types.UID]*cycle
}

func (a *asking) begin(pod *corev1.Pod, c *cycle) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.cycles == nil {
		a.cycles = map[types.UID]*cycle{}
	}
	a.cycles[pod.UID] = c
}

func (a *asking) still(pod *corev1.Pod, c *cycle) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.cycles[pod.UID] == c
}

func (a *asking) end(pod *corev1.Pod, c *cycle) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.cycles[pod.UID] == c {
		delete(a.cycles, pod.UID)
	}
}
