//go:build controlplane

package provisioner

import (
	"context"
	"fmt"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/berth-dev/berth/pkg/lvm"
	"github.com/berth-dev/berth/pkg/volume"
)

// agentOf is the API as the agent of a node sees it: with the token that kubelet
// asks for its pod, which the API server binds to the pod and its node.
func (cp *controlPlane) agentOf(node string) kubernetes.Interface {
	cp.t.Helper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: volume.SystemNamespace, Name: "agent-" + node},
		Spec: corev1.PodSpec{
			NodeName: node, ServiceAccountName: "lvm-provisioner",
			Containers: []corev1.Container{{Name: "agent", Image: "berth.local/lvm-provisioner:dev"}},
		},
	}
	pods := cp.client.CoreV1().Pods(volume.SystemNamespace)
	made, err := pods.Create(cp.t.Context(), pod, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		made, err = pods.Get(cp.t.Context(), pod.Name, metav1.GetOptions{})
	}
	if err != nil {
		cp.t.Fatal(err)
	}
	token, err := cp.client.CoreV1().ServiceAccounts(volume.SystemNamespace).CreateToken(cp.t.Context(), "lvm-provisioner", &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{BoundObjectRef: &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: made.Name, UID: made.UID}},
	}, metav1.CreateOptions{})
	if err != nil {
		cp.t.Fatal(err)
	}
	config := cp.Config()
	config.BearerToken = token.Status.Token
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		cp.t.Fatal(err)
	}
	return client
}

// TestControlPlaneHoldsAgents uses the tokens of two nodes' agents by hand: each
// may write what is its own node's, and nothing of the other's, of each kind.
func TestControlPlaneHoldsAgents(t *testing.T) {
	cp := startControlPlane(t)
	for _, name := range []string{"n2", "n3"} {
		if _, err := cp.client.CoreV1().Nodes().Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	ready := corev1.NodeCondition{Type: corev1.NodeReady, Status: corev1.ConditionTrue}
	for _, name := range []string{nodeName, "n2"} {
		node, err := cp.client.CoreV1().Nodes().Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		node.Status.Conditions = []corev1.NodeCondition{ready}
		if _, err := cp.client.CoreV1().Nodes().UpdateStatus(t.Context(), node, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	first, second := cp.agentOf(nodeName), cp.agentOf("n2")
	label := func(client kubernetes.Interface, node, vg string) error {
		return patchNode(t.Context(), client, node, fmt.Sprintf(`{"metadata":{"labels":{%q:"true"}}}`, volume.NodeLabel(vg)))
	}
	allowed := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v, want it allowed", what, err)
		}
	}
	refused := func(what, why string, err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v, want a refusal that says %q", what, err, why)
		}
	}
	// The policy is in force some moments after it was made.
	cp.until("policies in force", func(context.Context) bool { return label(first, "n2", "VG-probe") != nil })

	allowed("label of the own node", label(first, nodeName, "VG-1"))
	allowed("label of the own node", label(second, "n2", "VG-2"))
	refused("label of another node", "own node only", label(first, "n2", "VG-3"))
	refused("label of a Ready node's group", "node n2, which is Ready, has this volume group", label(first, nodeName, "VG-2"))
	if err := patchNode(t.Context(), cp.client, "n3", fmt.Sprintf(`{"metadata":{"labels":{%q:"true"}}}`, volume.NodeLabel("VG-moved"))); err != nil {
		t.Fatal(err)
	}
	allowed("label of a group whose former node is not Ready", label(first, nodeName, "VG-moved"))
	refused("another label", "nothing else", patchNode(t.Context(), first, nodeName, `{"metadata":{"labels":{"x":"y"}}}`))
	refused("a taint", "nothing else", patchNode(t.Context(), first, nodeName, `{"spec":{"unschedulable":true}}`))
	refused("a label taken off", "nothing else", patchNode(t.Context(), first, nodeName, fmt.Sprintf(`{"metadata":{"labels":{%q:null}}}`, volume.NodeLabel("VG-1"))))

	pvOf := func(vg string) *corev1.PersistentVolume {
		a := &Agent{links: Links{Dir: "/dev/disk/by-berth"}}
		return a.persistentVolume(Volume{VG: lvm.VG{UUID: vg, Name: "berth", Seqno: 1}, LV: lvm.LV{UUID: "LV-" + vg, Name: "x", Size: 4 << 20},
			Tags: volume.Tags{Namespace: "db", Claim: "c-" + strings.ToLower(vg), Class: "berth", FSType: "none", FSUUID: "fs", State: volume.Ready, Generation: 1, APIServer: "api"}})
	}
	create := func(client kubernetes.Interface, pv *corev1.PersistentVolume) error {
		_, err := client.CoreV1().PersistentVolumes().Create(t.Context(), pv, metav1.CreateOptions{})
		return err
	}
	annotate := func(client kubernetes.Interface, pv, patch string) error {
		_, err := client.CoreV1().PersistentVolumes().Patch(t.Context(), pv, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
		return err
	}
	const note = `{"metadata":{"annotations":{"x":"y"}}}`
	// The API server's own view of the label lags for a moment.
	cp.until("PV of the own node", func(context.Context) bool { return create(first, pvOf("VG-1")) == nil })
	cp.until("PV of the own node", func(context.Context) bool { return create(second, pvOf("VG-2")) == nil })
	refused("PV in another node's group", "own node only", create(first, pvOf("VG-2")))
	free := pvOf("VG-9")
	free.Spec.NodeAffinity = nil
	free.Spec.PersistentVolumeSource = corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/etc"}}
	refused("PV of no node", "own node only", create(first, free))
	one, two := volume.PVName("LV-VG-1"), volume.PVName("LV-VG-2")
	allowed("change of an own PV", annotate(first, one, note))
	refused("change of another's PV", "own node only", annotate(first, two, note))
	refused("deletion of another's PV", "own node only", first.CoreV1().PersistentVolumes().Delete(t.Context(), two, metav1.DeleteOptions{}))
	allowed("deletion of an own PV", first.CoreV1().PersistentVolumes().Delete(t.Context(), one, metav1.DeleteOptions{}))

	capacities := func(client kubernetes.Interface) interface {
		Create(context.Context, *storagev1.CSIStorageCapacity, metav1.CreateOptions) (*storagev1.CSIStorageCapacity, error)
		Update(context.Context, *storagev1.CSIStorageCapacity, metav1.UpdateOptions) (*storagev1.CSIStorageCapacity, error)
		Delete(context.Context, string, metav1.DeleteOptions) error
	} {
		return client.StorageV1().CSIStorageCapacities(volume.SystemNamespace)
	}
	capacityOf := func(node, vg string) *storagev1.CSIStorageCapacity {
		a := &Agent{node: node, safety: newSafety(nil)}
		return a.capacity(class{Name: "berth"}, lvm.VG{UUID: vg, Name: "berth", ExtentSize: 4 << 20}, nil)
	}
	of1, err := capacities(first).Create(t.Context(), capacityOf(nodeName, "VG-1"), metav1.CreateOptions{})
	allowed("capacity of the own node", err)
	of2, err := capacities(second).Create(t.Context(), capacityOf("n2", "VG-2"), metav1.CreateOptions{})
	allowed("capacity of the own node", err)
	if t.Failed() {
		return
	}
	_, err = capacities(first).Create(t.Context(), capacityOf("n3", "VG-1"), metav1.CreateOptions{})
	refused("capacity in another node's name", "own node only", err)
	other := capacityOf(nodeName, "VG-2")
	other.Name = "another"
	_, err = capacities(first).Create(t.Context(), other, metav1.CreateOptions{})
	refused("capacity of another node's group", "own node only", err)
	of2.Capacity = resource.NewQuantity(1<<40, resource.BinarySI)
	_, err = capacities(first).Update(t.Context(), of2, metav1.UpdateOptions{})
	refused("change of another's capacity", "own node only", err)
	of1.Capacity = of2.Capacity
	_, err = capacities(first).Update(t.Context(), of1, metav1.UpdateOptions{})
	allowed("change of the own capacity", err)
	refused("deletion of another's capacity", "own node only", capacities(first).Delete(t.Context(), of2.Name, metav1.DeleteOptions{}))
	allowed("deletion of the own capacity", capacities(first).Delete(t.Context(), of1.Name, metav1.DeleteOptions{}))

	// A token of the same account that is bound to no node writes nothing.
	config := cp.Config()
	config.Impersonate.UserName = "system:serviceaccount:" + volume.SystemNamespace + ":lvm-provisioner"
	unbound, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	refused("an unbound token labels", "own node only", label(unbound, "n3", "VG-3"))
	refused("an unbound token publishes", "not bound to a node", create(unbound, pvOf("VG-1")))
	// And a person is not held by this.
	allowed("an administrator", annotate(cp.client, two, note))
}

func patchNode(ctx context.Context, client kubernetes.Interface, node, patch string) error {
	_, err := client.CoreV1().Nodes().Patch(ctx, node, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	return err
}
