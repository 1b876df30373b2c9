package scheduling

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	storagevolume "k8s.io/component-helpers/storage/volume"
	"k8s.io/utils/ptr"
)

// foreign is the class of somebody else's provisioner.
const foreign = "foreign"

// TestMixedPods has pods with a claim of ours and one of somebody else's. Where the
// data is decides for both; where the other volume is decides for a new one; where
// the two contradict each other the pod waits, and gets nothing new.
func TestMixedPods(t *testing.T) {
	y := newYard(t)
	for _, name := range []string{"n1", "n2", "n3"} {
		y.machine(name, 100*gibi)
	}
	y.must(y.agent.extend(t.Context(), "n3", 400*gibi)) // where a new volume would rather go
	_, err := y.client.StorageV1().StorageClasses().Create(t.Context(), &storagev1.StorageClass{
		ObjectMeta: metav1.ObjectMeta{Name: foreign}, Provisioner: "foreign.example.com",
		VolumeBindingMode: ptr.To(storagev1.VolumeBindingWaitForFirstConsumer),
	}, metav1.CreateOptions{})
	y.must(err)
	y.must(y.agent.retain(t.Context(), "data-home-0", "n2"))
	y.must(y.agent.retain(t.Context(), "data-torn-0", "n2"))
	for _, name := range []string{"scratch", "net-a", "net-b", "alone"} {
		y.claim(name, foreign)
	}
	y.foreignVolume("net-a", "n1")
	y.foreignVolume("net-b", "n1")
	y.awaitClaim("net-a", bound)
	y.awaitClaim("net-b", bound)
	y.must(y.agent.run(t.Context()))
	y.start("scheduler")

	y.member("home", 0, "scratch") // has data on n2, and a claim for which the other provisioner waits
	y.member("new", 0, "net-a")    // has none, and a network volume that only n1 reaches
	y.member("torn", 0, "net-b")   // has data on n2, and a network volume that only n1 reaches
	y.foreignPod("alone")

	for claim, want := range map[string]string{"scratch": "n2", "alone": ""} {
		selected := y.awaitClaim(claim, func(c *corev1.PersistentVolumeClaim) bool { return selectedNode(c) != "" })
		if node := selectedNode(selected); want != "" && node != want {
			t.Errorf("the other provisioner is to make %s on %s, and the data is on %s", claim, node, want)
		} else {
			y.foreignVolume(claim, node)
		}
	}
	y.await("three placed and one told", time.Minute, func(nodes, told map[string]string) bool {
		return placed(nodes) == 3 && told["torn-0"] != ""
	})
	nodes, told := y.pods(t.Context())
	for pod, want := range map[string]string{"home-0": "n2", "new-0": "n1", "torn-0": ""} {
		if nodes[pod] != want {
			t.Errorf("%s is on node %q, want %q", pod, nodes[pod], want)
		}
	}
	if !strings.Contains(told["torn-0"], "node(s) didn't match PersistentVolume's node affinity") && !strings.Contains(told["torn-0"], "volume node affinity conflict") {
		t.Errorf("torn-0 is told %q, and not that its volumes are on different nodes", told["torn-0"])
	}
	if made := y.agent.homes(); y.agent.made != 1 || made["new-0"] != "n1" {
		t.Errorf("%d volumes were made, want one, for new-0 on n1: %v", y.agent.made, made)
	}
	y.must(y.agent.truth())
}

// foreignVolume is what the other provisioner makes for the claim, on one node or
// reached from one node only.
func (y *yard) foreignVolume(claim, node string) {
	y.Helper()
	_, err := y.client.CoreV1().PersistentVolumes().Create(y.Context(), &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: "foreign-" + claim, Annotations: map[string]string{storagevolume.AnnDynamicallyProvisioned: "foreign.example.com"}},
		Spec: corev1.PersistentVolumeSpec{
			StorageClassName: foreign, AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Capacity: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("10Gi")},
			ClaimRef: &corev1.ObjectReference{Kind: "PersistentVolumeClaim", APIVersion: "v1", Namespace: namespace, Name: claim},
			PersistentVolumeSource: corev1.PersistentVolumeSource{
				CSI: &corev1.CSIPersistentVolumeSource{Driver: "foreign.example.com", VolumeHandle: claim},
			},
			NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{
				NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{{
					Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{node},
				}}}},
			}},
		},
	}, metav1.CreateOptions{})
	y.must(err)
}

// foreignPod has nothing of ours.
func (y *yard) foreignPod(claim string) {
	y.Helper()
	_, err := y.client.CoreV1().Pods(namespace).Create(y.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "with-" + claim, Namespace: namespace},
		Spec: corev1.PodSpec{
			SchedulerName: "berth-scheduler", Containers: []corev1.Container{{Name: "c", Image: "i"}},
			Volumes: []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{
				PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim},
			}}},
		},
	}, metav1.CreateOptions{})
	y.must(err)
}

// awaitClaim watches a claim until it is as wanted.
func (y *yard) awaitClaim(name string, wanted func(*corev1.PersistentVolumeClaim) bool) *corev1.PersistentVolumeClaim {
	y.Helper()
	api := y.client.CoreV1().PersistentVolumeClaims(namespace)
	events, err := api.Watch(y.Context(), metav1.ListOptions{FieldSelector: "metadata.name=" + name})
	y.must(err)
	defer events.Stop()
	limit := time.After(time.Minute)
	for {
		claim, err := api.Get(y.Context(), name, metav1.GetOptions{})
		y.must(err)
		if wanted(claim) {
			return claim
		}
		select {
		case <-events.ResultChan():
		case <-limit:
			y.Fatal(fmt.Sprintf("claim %s is not as wanted within a minute: %+v", name, claim))
		}
	}
}

func bound(c *corev1.PersistentVolumeClaim) bool { return c.Status.Phase == corev1.ClaimBound }

func selectedNode(c *corev1.PersistentVolumeClaim) string {
	return c.Annotations[storagevolume.AnnSelectedNode]
}
