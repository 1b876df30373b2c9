package plugin_test

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	storagevolume "k8s.io/component-helpers/storage/volume"
	"k8s.io/utils/ptr"
)

// TestWiderLook has a member that keeps away from web pods, which run on all the
// nodes with the most room. That cannot be told from the nodes alone, so they are
// tried first, look after look; the member must not stay without a node for that.
func TestWiderLook(t *testing.T) {
	const nodes, busy = 40, 35
	w := newWorld(t)
	for n := range nodes {
		name := fmt.Sprintf("n%02d", n)
		if n < busy {
			w.storageNode(name, "900Gi")
			w.addRunning("web-"+name, name)
		} else {
			w.storageNode(name, "20Gi")
		}
	}
	w.addClaim("data-db-0")
	pod := podOf("db-0", "data-db-0")
	pod.Spec.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{
		RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{{
			LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}, TopologyKey: corev1.LabelHostname,
		}},
	}}
	_, err := w.client.CoreV1().Pods(namespace).Create(w.ctx, pod, metav1.CreateOptions{})
	must(w, err)
	if node := w.nodeOf("db-0"); node < fmt.Sprintf("n%02d", busy) {
		t.Errorf("the member is on %s, with a web pod", node)
	}
	left, err := w.client.CoreV1().Pods(namespace).List(w.ctx, metav1.ListOptions{LabelSelector: "app=web"})
	must(w, err)
	if len(left.Items) != busy {
		t.Errorf("%d of %d web pods are left: the others were evicted", len(left.Items), busy)
	}
}

// TestBestNodesThatCannotRunThePod has the most room where the pod may not run,
// for reasons that can be told from the nodes alone: the first look finds the rest.
func TestBestNodesThatCannotRunThePod(t *testing.T) {
	w := newWorld(t)
	for n := range 40 {
		name := fmt.Sprintf("n%02d", n)
		if n == 0 {
			w.storageNode(name, "20Gi")
			continue
		}
		w.storageNode(name, "900Gi")
		node, err := w.client.CoreV1().Nodes().Get(w.ctx, name, metav1.GetOptions{})
		must(w, err)
		node.Spec.Taints = []corev1.Taint{{Key: "dedicated", Value: "others", Effect: corev1.TaintEffectNoSchedule}}
		_, err = w.client.CoreV1().Nodes().Update(w.ctx, node, metav1.UpdateOptions{})
		must(w, err)
	}
	w.addMember("db-0")
	w.expectNode("db-0", "n00")
}

// addRunning adds a web pod that runs on the node.
func (w *world) addRunning(name, node string) {
	pod := podOf(name)
	pod.OwnerReferences = nil
	pod.Labels = map[string]string{"app": "web"}
	pod.Spec.NodeName = node
	pod.Status.Phase = corev1.PodRunning
	_, err := w.client.CoreV1().Pods(namespace).Create(w.ctx, pod, metav1.CreateOptions{})
	must(w, err)
}

// TestMixedPodLooksWider has a member with a network volume that only the node with
// the least room reaches. The nodes with the most room do not tell, and are tried
// first; then all are.
func TestMixedPodLooksWider(t *testing.T) {
	w := newWorld(t)
	for n := range 40 {
		w.storageNode(fmt.Sprintf("n%02d", n), []string{"20Gi", "900Gi"}[min(n, 1)])
	}
	must(w, w.client.Tracker().Add(&storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "network"}, Provisioner: "network.example.com"}))
	w.addVolume("net", "n00", func(pv *corev1.PersistentVolume) {
		pv.Annotations = nil
		pv.Spec.StorageClassName = "network"
	})
	claim := pvcOf("net")
	claim.Spec.StorageClassName = ptr.To("network")
	_, err := w.client.CoreV1().PersistentVolumeClaims(namespace).Create(w.ctx, claim, metav1.CreateOptions{})
	must(w, err)
	w.awaitBound("net")
	w.addClaim("data-db-0")
	w.addPod("db-0", "data-db-0", "net")
	w.expectNode("db-0", "n00")
	if n := w.volumesMade(); n != 1 {
		t.Errorf("agents made %d volumes, want one", n)
	}
}

// TestMixedPodGoesHome has a member with data, and a claim of another provisioner
// for which a node is yet to be chosen: it is chosen with the data.
func TestMixedPodGoesHome(t *testing.T) {
	w := newWorld(t)
	w.storageNode("n1", "900Gi")
	w.storageNode("n2", "20Gi")
	must(w, w.client.Tracker().Add(&storagev1.StorageClass{
		ObjectMeta: metav1.ObjectMeta{Name: "other"}, Provisioner: "other.example.com",
		VolumeBindingMode: ptr.To(storagev1.VolumeBindingWaitForFirstConsumer),
	}))
	w.addVolume("data-db-0", "n2", nil)
	other := pvcOf("scratch")
	other.Spec.StorageClassName = ptr.To("other")
	_, err := w.client.CoreV1().PersistentVolumeClaims(namespace).Create(w.ctx, other, metav1.CreateOptions{})
	must(w, err)
	w.addClaim("data-db-0")
	w.awaitBound("data-db-0")
	w.addPod("db-0", "data-db-0", "scratch")
	w.expectNode("db-0", "n2")
	chosen, err := w.client.CoreV1().PersistentVolumeClaims(namespace).Get(w.ctx, "scratch", metav1.GetOptions{})
	must(w, err)
	if node := chosen.Annotations[storagevolume.AnnSelectedNode]; node != "n2" {
		t.Errorf("the other volume is to be made on %q, and the data is on n2", node)
	}
}
