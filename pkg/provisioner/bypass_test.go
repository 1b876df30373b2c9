package provisioner

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Scenario 30: a pod with nodeName passes the scheduler by. An event on the claim
// says so, once, and no volume is made, here or elsewhere.
func TestPodPassesTheSchedulerBy(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*corev1.Pod, *corev1.PersistentVolumeClaim)
		said   bool
	}{
		"waits in vain":   {func(*corev1.Pod, *corev1.PersistentVolumeClaim) {}, true},
		"on another node": {func(p *corev1.Pod, _ *corev1.PersistentVolumeClaim) { p.Spec.NodeName = "n2" }, false},
		"scheduled": {func(_ *corev1.Pod, c *corev1.PersistentVolumeClaim) {
			c.Annotations = map[string]string{annSelectedNode: nodeName}
		}, false},
		"bound":           {func(_ *corev1.Pod, c *corev1.PersistentVolumeClaim) { c.Spec.VolumeName = "lv-x" }, false},
		"another's class": {func(_ *corev1.Pod, c *corev1.PersistentVolumeClaim) { *c.Spec.StorageClassName = "foreign" }, false},
		"has ended":       {func(p *corev1.Pod, _ *corev1.PersistentVolumeClaim) { p.Status.Phase = corev1.PodFailed }, false},
		"volume of its own": {func(p *corev1.Pod, _ *corev1.PersistentVolumeClaim) {
			p.Spec.Volumes[0].VolumeSource = corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}
		}, false},
		"claim of its own": {func(p *corev1.Pod, c *corev1.PersistentVolumeClaim) {
			p.Name, c.Name = "p", "p-data"
			p.Spec.Volumes[0].VolumeSource = corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{}}
		}, true},
		"claim not there yet": {func(p *corev1.Pod, _ *corev1.PersistentVolumeClaim) {
			p.Spec.Volumes[0].PersistentVolumeClaim.ClaimName = "later"
		}, false},
		"claim of another pod": {func(_ *corev1.Pod, c *corev1.PersistentVolumeClaim) { c.Namespace = "other" }, false},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			claim := f.claim("data-galera-0", "10Mi")
			pod := &corev1.Pod{
				ObjectMeta: metav1.ObjectMeta{Namespace: "db", Name: "galera-0"}, Status: corev1.PodStatus{Phase: corev1.PodPending},
				Spec: corev1.PodSpec{NodeName: nodeName, Volumes: []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{
					PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim.Name}}}}},
			}
			if err := f.client.Tracker().Delete(claimResource, "db", claim.Name); err != nil {
				t.Fatal(err)
			}
			claim.Annotations = nil
			c.change(pod, claim)
			for _, err := range []error{f.client.Tracker().Add(claim), f.client.Tracker().Add(pod)} {
				if err != nil {
					t.Fatal(err)
				}
			}
			f.sync()
			if wakes := f.agent.isBypassing(pod); wakes != c.said {
				t.Errorf("the pod wakes the agent: %t, want %t", wakes, c.said)
			}
			f.pass()
			if c.said {
				f.wantEvent(CodeBypassed, pod.Name, "names node n1 itself (spec.nodeName)", claim.Name, "schedulerName berth-scheduler")
			}
			f.pass()
			if again := f.said(); len(again) != 0 {
				t.Errorf("events: %q", again)
			}
			if n := len(f.disk.Volumes()); n != 0 {
				t.Errorf("%d volumes", n)
			}
		})
	}
}
