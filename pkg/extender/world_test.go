package extender

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	storagevolume "k8s.io/component-helpers/storage/volume"
	"k8s.io/utils/ptr"

	"github.com/berth-dev/berth/pkg/inventory"
	"github.com/berth-dev/berth/pkg/placement"
	"github.com/berth-dev/berth/pkg/volume"
)

const (
	namespace = "shop"
	class     = "berth"
)

// world is a cluster as the API server tells of it.
type world struct {
	nodes   []*corev1.Node
	pods    []*corev1.Pod
	objects []runtime.Object
}

func (w world) names() []string {
	var names []string
	for _, n := range w.nodes {
		names = append(names, n.Name)
	}
	return names
}

func (w world) client() *fake.Clientset { return fake.NewClientset(w.objects...) }

// newInventory is an inventory with full stores, of its own informers.
func newInventory(t *testing.T, client *fake.Clientset) *inventory.Inventory {
	t.Helper()
	factory := informers.NewSharedInformerFactory(client, 0)
	i, err := inventory.New(client, factory)
	if err != nil {
		t.Fatal(err)
	}
	start(t, factory)
	return i
}

func start(t *testing.T, factory informers.SharedInformerFactory) {
	t.Helper()
	factory.Start(t.Context().Done())
	for kind, synced := range factory.WaitForCacheSync(t.Context().Done()) {
		if !synced {
			t.Fatalf("the store of %s is not full", kind)
		}
	}
}

// probe is a pod whose claim has no volume, in every world.
func (w *world) probe() *corev1.Pod {
	w.addMember("probe", 0, nil)
	pod := w.pods[len(w.pods)-1]
	w.pods = w.pods[:len(w.pods)-1]
	return pod
}

// quiet is a cluster of ready nodes with room, all reported, and pods of one
// cluster of three whose claims have no volumes.
func quiet(nodes int) world {
	w := world{objects: []runtime.Object{kubeSystem(), storageClass(class, volume.Provisioner)}}
	for n := range nodes {
		w.addNode(n, true, false, nil)
		w.report(n, int64(100*(n+1))<<30)
	}
	for m := range 3 {
		w.addMember("db", m, nil)
	}
	return w
}

// chance builds a cluster in which anything may be the case: nodes away, cordoned,
// silent, without storage or full, volumes bound, reserved, released, of an API
// server that is gone, on nodes that are gone, claims missing, in the making or
// of somebody else's class.
func chance(r *rand.Rand) world {
	w := world{objects: []runtime.Object{
		kubeSystem(), storageClass(class, volume.Provisioner), storageClass("network", "network.example.com"),
	}}
	oneIn := func(n int) bool { return r.IntN(n) == 0 }
	calm := oneIn(2) // or no new volume would ever be allowed
	nodes := 1 + r.IntN(6)
	for n := range nodes {
		labels := map[string]string{}
		silent := !calm && oneIn(8)
		if silent && oneIn(2) {
			labels[placement.StorageLabel] = placement.StorageNone
		}
		w.addNode(n, !oneIn(8), oneIn(8), labels)
		if !silent {
			w.report(n, int64(r.IntN(60))<<30)
		}
	}
	for set := range 1 + r.IntN(3) {
		for m := range 1 + r.IntN(4) {
			w.addMember(fmt.Sprintf("db%d", set), m, r)
			if oneIn(2) {
				w.addVolume(fmt.Sprintf("db%d", set), m, r.IntN(nodes+1), r, calm)
			}
		}
	}
	return w
}

func (w *world) addNode(n int, ready, cordoned bool, labels map[string]string) {
	name := nodeName(n)
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{volume.NodeLabel("vg-" + name): "true", corev1.LabelHostname: "host-" + name}},
		Spec:       corev1.NodeSpec{Unschedulable: cordoned},
		Status:     corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionFalse}}},
	}
	for k, v := range labels {
		node.Labels[k] = v
	}
	if ready {
		node.Status.Conditions[0].Status = corev1.ConditionTrue
	}
	w.nodes, w.objects = append(w.nodes, node), append(w.objects, node)
}

func (w *world) report(n int, free int64) {
	name := nodeName(n)
	w.objects = append(w.objects, &storagev1.CSIStorageCapacity{
		ObjectMeta: metav1.ObjectMeta{Name: "c-" + name, Namespace: volume.SystemNamespace, UID: types.UID("c-" + name), Annotations: map[string]string{
			volume.AnnotationNode: name, volume.AnnotationVGUUID: "vg-" + name, volume.AnnotationVGSeqno: "5",
		}},
		StorageClassName: class, Capacity: resource.NewQuantity(free, resource.BinarySI),
	})
}

// addMember adds the pod and the claim of a member, as chance has it.
func (w *world) addMember(set string, ordinal int, r *rand.Rand) {
	oneIn := func(n int) bool { return r != nil && r.IntN(n) == 0 }
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: fmt.Sprintf("%s-%d", set, ordinal), Namespace: namespace, UID: types.UID(fmt.Sprintf("pod-%s-%d", set, ordinal)),
			OwnerReferences: []metav1.OwnerReference{{Kind: "StatefulSet", Name: set, Controller: ptr.To(true)}},
		},
	}
	for _, template := range []string{"data", "log"} {
		if template == "log" && !oneIn(6) {
			continue
		}
		claim := fmt.Sprintf("%s-%s", template, pod.Name)
		pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: template, VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim},
		}})
		if oneIn(12) {
			continue // the claim is missing
		}
		pvc := &corev1.PersistentVolumeClaim{
			ObjectMeta: metav1.ObjectMeta{Name: claim, Namespace: namespace, UID: types.UID("now-" + claim)},
			Spec: corev1.PersistentVolumeClaimSpec{StorageClassName: ptr.To(class), Resources: corev1.VolumeResourceRequirements{
				Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("10Gi")},
			}},
		}
		switch {
		case oneIn(10):
			pvc.Spec.StorageClassName = ptr.To("network")
		case oneIn(10):
			metav1.SetMetaDataAnnotation(&pvc.ObjectMeta, storagevolume.AnnSelectedNode, nodeName(r.IntN(len(w.nodes)+1)))
		}
		w.objects = append(w.objects, pvc)
	}
	w.pods = append(w.pods, pod)
}

func (w *world) addVolume(set string, ordinal, node int, r *rand.Rand, calm bool) {
	claim := fmt.Sprintf("data-%s-%d", set, ordinal)
	v := volume.Volume{
		VGUUID: "vg-" + nodeName(node), VGName: "berth", VGSeqno: r.IntN(8), LVUUID: "lv-" + claim, LVName: "berth-x",
		Tags: volume.Tags{FSUUID: "fs", Generation: 1, APIServer: "now", Member: volume.Member{StatefulSet: set, Ordinal: ordinal, Replicas: 3}},
	}
	if !calm && r.IntN(3) == 0 {
		v.Tags.APIServer = "former"
	}
	pv := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: "pv-" + claim, UID: types.UID("pv-" + claim), Annotations: v.Annotations()},
		Spec: corev1.PersistentVolumeSpec{
			StorageClassName: class,
			ClaimRef: &corev1.ObjectReference{Namespace: namespace, Name: claim,
				UID: []types.UID{"", "", types.UID("now-" + claim), "former"}[r.IntN(4)]},
			NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
				MatchExpressions: []corev1.NodeSelectorRequirement{{Key: volume.NodeLabel(v.VGUUID), Operator: corev1.NodeSelectorOpIn, Values: []string{"true"}}},
			}}}},
		},
	}
	pv.Annotations[storagevolume.AnnDynamicallyProvisioned] = volume.Provisioner
	w.objects = append(w.objects, pv)
}

func kubeSystem() *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: metav1.NamespaceSystem, UID: "now"}}
}

func storageClass(name, provisioner string) *storagev1.StorageClass {
	return &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: name}, Provisioner: provisioner}
}

func nodeName(n int) string { return fmt.Sprintf("n%d", n) }

func shuffled(r *rand.Rand, names []string) []string {
	names = slices.Clone(names)
	r.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	return names
}
