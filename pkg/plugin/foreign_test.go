package plugin

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	fwk "k8s.io/kube-scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/framework"
)

// A pod that is none of our business goes through all our steps: what they allocate
// is most of what it would pay for us.
func TestForeignPodsAllocateNothing(t *testing.T) {
	p := &VolumeHome{sleepers: newSleepers(nil)}
	pod := &corev1.Pod{}
	pod.Spec.Volumes = []corev1.Volume{{Name: "scratch", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
	var state fwk.CycleState = framework.NewCycleState()
	allocated := testing.AllocsPerRun(100, func() {
		enqueued := p.PreEnqueue(t.Context(), pod)
		_, signed := p.SignPod(t.Context(), pod)
		_, prefiltered := p.PreFilter(t.Context(), state, pod, nil)
		prescored := p.PreScore(t.Context(), state, pod, nil)
		reserved := p.Reserve(t.Context(), state, pod, "n1")
		permitted, _ := p.Permit(t.Context(), state, pod, "n1")
		for _, s := range []*fwk.Status{enqueued, signed, prefiltered, reserved, permitted} {
			if !s.IsSuccess() {
				t.Fatal(s)
			}
		}
		if !prescored.IsSkip() {
			t.Fatalf("%v: not skipped", prescored)
		}
	})
	if allocated > 0 {
		t.Errorf("%v allocations", allocated)
	}
}
