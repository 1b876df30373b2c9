package plugin

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
	storagevolume "k8s.io/component-helpers/storage/volume"
	"k8s.io/klog/v2"
	fwk "k8s.io/kube-scheduler/framework"
	"k8s.io/utils/ptr"

	"github.com/berth-dev/berth/pkg/placement"
	"github.com/berth-dev/berth/pkg/volume"
)

func TestHints(t *testing.T) {
	pv := func(namespace, provisioner string) *corev1.PersistentVolume {
		return &corev1.PersistentVolume{
			ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{storagevolume.AnnDynamicallyProvisioned: provisioner}},
			Spec:       corev1.PersistentVolumeSpec{ClaimRef: &corev1.ObjectReference{Namespace: namespace, Name: "data-db-0"}},
		}
	}
	named := func(v *corev1.PersistentVolume, claim string) *corev1.PersistentVolume {
		v.Spec.ClaimRef.Name = claim
		return v
	}
	pvc := func(namespace, name, node string) *corev1.PersistentVolumeClaim {
		return &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: name, Annotations: map[string]string{storagevolume.AnnSelectedNode: node},
		}}
	}
	node := func(ready corev1.ConditionStatus, cordoned bool, labels map[string]string) *corev1.Node {
		return &corev1.Node{
			ObjectMeta: metav1.ObjectMeta{Labels: labels},
			Spec:       corev1.NodeSpec{Unschedulable: cordoned},
			Status:     corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: ready}}},
		}
	}
	up := node(corev1.ConditionTrue, false, nil)
	capacity := func(namespace, free, seqno string) *storagev1.CSIStorageCapacity {
		return &storagev1.CSIStorageCapacity{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Annotations: map[string]string{volume.AnnotationNode: "n1", volume.AnnotationVGSeqno: seqno}},
			Capacity:   ptr.To(resource.MustParse(free)),
		}
	}
	const system = volume.SystemNamespace
	withClaim := &corev1.Pod{Spec: corev1.PodSpec{Volumes: []corev1.Volume{{VolumeSource: corev1.VolumeSource{
		PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data-db-0"},
	}}}}}
	waiting := withClaim.DeepCopy()
	waiting.Namespace = "shop"

	for _, x := range []struct {
		name     string
		resource fwk.EventResource
		old, now any
		want     fwk.QueueingHint
	}{
		{"volume published", fwk.PersistentVolume, nil, pv("shop", volume.Provisioner), fwk.Queue},
		{"volume gone", fwk.PersistentVolume, cache.DeletedFinalStateUnknown{Obj: pv("shop", volume.Provisioner)}, nil, fwk.Queue},
		{"volume of another namespace", fwk.PersistentVolume, nil, pv("else", volume.Provisioner), fwk.QueueSkip},
		{"volume of another provisioner", fwk.PersistentVolume, nil, pv("shop", "other"), fwk.QueueSkip},
		{"a sibling's volume", fwk.PersistentVolume, nil, named(pv("shop", volume.Provisioner), "data-db-2"), fwk.Queue},
		{"volume of another cluster", fwk.PersistentVolume, nil, named(pv("shop", volume.Provisioner), "data-web-0"), fwk.QueueSkip},
		{"own claim made", fwk.PersistentVolumeClaim, nil, pvc("shop", "data-db-0", ""), fwk.Queue},
		{"another claim made", fwk.PersistentVolumeClaim, nil, pvc("shop", "data-db-1", ""), fwk.QueueSkip},
		{"another claim gave up its node", fwk.PersistentVolumeClaim, pvc("else", "x", "n1"), pvc("else", "x", ""), fwk.Queue},
		{"claim in the making is gone", fwk.PersistentVolumeClaim, pvc("else", "x", "n1"), nil, fwk.Queue},
		{"node joined", fwk.Node, nil, up, fwk.Queue},
		{"node left", fwk.Node, up, nil, fwk.Queue},
		{"node is Ready", fwk.Node, node(corev1.ConditionUnknown, false, nil), up, fwk.Queue},
		{"node uncordoned", fwk.Node, node(corev1.ConditionTrue, true, nil), up, fwk.Queue},
		{"volume group found", fwk.Node, up, node(corev1.ConditionTrue, false, map[string]string{volume.NodeLabel("g1"): "true"}), fwk.Queue},
		{"node declared storageless", fwk.Node, up,
			node(corev1.ConditionTrue, false, map[string]string{placement.StorageLabel: placement.StorageNone}), fwk.Queue},
		{"other label", fwk.Node, up, node(corev1.ConditionTrue, false, map[string]string{"x": "y"}), fwk.QueueSkip},
		{"declared dead no longer", fwk.Node, &corev1.Node{Spec: corev1.NodeSpec{Taints: []corev1.Taint{{Key: placement.OutOfServiceTaint}}},
			Status: up.Status}, up, fwk.Queue},
		{"heartbeat", fwk.Node, up, up.DeepCopy(), fwk.QueueSkip},
		{"node reported", fwk.CSIStorageCapacity, nil, capacity(system, "1Gi", "1"), fwk.Queue},
		{"more room", fwk.CSIStorageCapacity, capacity(system, "1Gi", "1"), capacity(system, "2Gi", "1"), fwk.Queue},
		{"caught up", fwk.CSIStorageCapacity, capacity(system, "2Gi", "1"), capacity(system, "1Gi", "2"), fwk.Queue},
		{"less room", fwk.CSIStorageCapacity, capacity(system, "2Gi", "1"), capacity(system, "1Gi", "1"), fwk.QueueSkip},
		{"another driver's room", fwk.CSIStorageCapacity, nil, capacity("else", "1Gi", "1"), fwk.QueueSkip},
		{"pod with a claim left", fwk.AssignedPod, withClaim, nil, fwk.Queue},
		{"pod without a claim left", fwk.AssignedPod, &corev1.Pod{}, nil, fwk.QueueSkip},
		{"not what it says", fwk.Node, nil, &corev1.Pod{}, fwk.Queue},
	} {
		t.Run(x.name, func(t *testing.T) {
			for _, e := range (&VolumeHome{}).events() {
				if e.Event.Resource != x.resource {
					continue
				}
				if got, _ := e.QueueingHintFn(klog.Background(), waiting, x.old, x.now); got != x.want {
					t.Errorf("hint %v, want %v", got, x.want)
				}
				return
			}
			t.Errorf("no event of %s is registered", x.resource)
		})
	}
}

// TestPreHints holds an event to the pods that it can help, found by index.
func TestPreHints(t *testing.T) {
	pods := cache.NewIndexer(cache.MetaNamespaceKeyFunc, podIndexers())
	add := func(name, claim, node string) {
		if err := pods.Add(&corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name},
			Spec: corev1.PodSpec{NodeName: node, Volumes: []corev1.Volume{{VolumeSource: corev1.VolumeSource{
				PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim},
			}}}},
		}); err != nil {
			t.Fatal(err)
		}
	}
	add("db-0", "data-db-0", "")
	add("db-1", "data-db-1", "")
	add("db-2", "data-db-2", "n1") // has its node
	add("web-0", "data-web-0", "")
	volumeOf := func(claim string) *corev1.PersistentVolume {
		return &corev1.PersistentVolume{
			ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{storagevolume.AnnDynamicallyProvisioned: volume.Provisioner}},
			Spec:       corev1.PersistentVolumeSpec{ClaimRef: &corev1.ObjectReference{Namespace: "shop", Name: claim}},
		}
	}
	p := &VolumeHome{pods: pods}
	roomless := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "else", Name: "roomless", UID: "roomless"}}
	p.waits.enter(roomless, placement.Verdict{Action: placement.Allow})
	making := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{
		Namespace: "shop", Name: "data-web-0", Annotations: map[string]string{storagevolume.AnnSelectedNode: "n1"},
	}}
	given := making.DeepCopy()
	given.Annotations = nil
	for _, x := range []struct {
		name     string
		resource fwk.EventResource
		old, now any
		all      bool
		want     []string
	}{
		{"volume of a member: its cluster, and who waits for room", fwk.PersistentVolume, nil, volumeOf("data-db-0"), false, []string{"db-0", "db-1", "roomless"}},
		{"volume of nobody here: who waits for room", fwk.PersistentVolume, nil, volumeOf("data-x-0"), false, []string{"roomless"}},
		{"claim: its pod", fwk.PersistentVolumeClaim, nil, making, false, []string{"web-0"}},
		{"claim that gave up its node: everybody", fwk.PersistentVolumeClaim, making, given, true, nil},
	} {
		t.Run(x.name, func(t *testing.T) {
			for _, e := range p.events() {
				if e.Event.Resource != x.resource {
					continue
				}
				got, err := e.PreQueueingHintFn(klog.Background(), x.old, x.now)
				if err != nil || got.AllPods != x.all {
					t.Fatalf("error %v, all pods %v, want %v", err, got.AllPods, x.all)
				}
				var names []string
				for _, p := range got.Pods {
					names = append(names, p.Name)
				}
				slices.Sort(names)
				if !slices.Equal(names, x.want) {
					t.Errorf("pods %v, want %v", names, x.want)
				}
			}
		})
	}
}
