package plugin

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
	storagevolume "k8s.io/component-helpers/storage/volume"
	fwk "k8s.io/kube-scheduler/framework"
	"k8s.io/utils/ptr"

	"github.com/berth-dev/berth/pkg/placement"
	"github.com/berth-dev/berth/pkg/volume"
)

// TestChanges has a pod wait for whatever there is, and a change of each kind.
func TestChanges(t *testing.T) {
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
			ObjectMeta: metav1.ObjectMeta{Name: "n1", Labels: labels},
			Spec:       corev1.NodeSpec{Unschedulable: cordoned},
			Status:     corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: ready}}},
		}
	}
	up := node(corev1.ConditionTrue, false, nil)
	dead := up.DeepCopy()
	dead.Spec.Taints = []corev1.Taint{{Key: placement.OutOfServiceTaint}}
	capacity := func(namespace, free, seqno string) *storagev1.CSIStorageCapacity {
		return &storagev1.CSIStorageCapacity{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Annotations: map[string]string{volume.AnnotationNode: "n1", volume.AnnotationVGSeqno: seqno}},
			Capacity:   ptr.To(resource.MustParse(free)),
		}
	}
	const system = volume.SystemNamespace
	d := emptyDormitory(t)
	assumed := d.pods[1].DeepCopy()
	assumed.Spec.NodeName = "n1"
	d.enter(d.pods[0], placement.Verdict{Action: placement.Refuse, Reason: placement.Reason{Code: "Anything", Node: "n1"}})
	anything, _ := d.plugin.sleepers.of(d.pods[0].UID)

	for _, x := range []struct {
		name     string
		resource fwk.EventResource
		old, now any
		want     bool
	}{
		{"volume published", fwk.PersistentVolume, nil, pv("shop", volume.Provisioner), true},
		{"volume gone", fwk.PersistentVolume, cache.DeletedFinalStateUnknown{Obj: pv("shop", volume.Provisioner)}, nil, true},
		{"volume of another namespace", fwk.PersistentVolume, nil, pv("else", volume.Provisioner), false},
		{"volume of another provisioner", fwk.PersistentVolume, nil, pv("shop", "other"), false},
		{"a sibling's volume", fwk.PersistentVolume, nil, named(pv("shop", volume.Provisioner), "data-db-2"), true},
		{"volume of another cluster", fwk.PersistentVolume, nil, named(pv("shop", volume.Provisioner), "data-web-0"), false},
		{"own claim made", fwk.PersistentVolumeClaim, nil, pvc("shop", "data-db-0", ""), true},
		{"another claim made", fwk.PersistentVolumeClaim, nil, pvc("shop", "data-db-1", ""), false},
		{"another claim gave up its node", fwk.PersistentVolumeClaim, pvc("else", "x", "n1"), pvc("else", "x", ""), true},
		{"claim in the making is gone", fwk.PersistentVolumeClaim, pvc("else", "x", "n1"), nil, true},
		{"node joined", fwk.Node, nil, up, true},
		{"node left", fwk.Node, up, nil, true},
		{"node is Ready", fwk.Node, node(corev1.ConditionUnknown, false, nil), up, true},
		{"node uncordoned", fwk.Node, node(corev1.ConditionTrue, true, nil), up, true},
		{"volume group found", fwk.Node, up, node(corev1.ConditionTrue, false, map[string]string{volume.NodeLabel("g1"): "true"}), true},
		{"node declared storageless", fwk.Node, up,
			node(corev1.ConditionTrue, false, map[string]string{placement.StorageLabel: placement.StorageNone}), true},
		{"other label", fwk.Node, up, node(corev1.ConditionTrue, false, map[string]string{"x": "y"}), false},
		{"declared dead no longer", fwk.Node, dead, up, true},
		{"heartbeat", fwk.Node, up, up.DeepCopy(), false},
		{"node reported", fwk.CSIStorageCapacity, nil, capacity(system, "1Gi", "1"), true},
		{"more room", fwk.CSIStorageCapacity, capacity(system, "1Gi", "1"), capacity(system, "2Gi", "1"), true},
		{"caught up", fwk.CSIStorageCapacity, capacity(system, "2Gi", "1"), capacity(system, "1Gi", "2"), true},
		{"less room", fwk.CSIStorageCapacity, capacity(system, "2Gi", "1"), capacity(system, "1Gi", "1"), false},
		{"another driver's room", fwk.CSIStorageCapacity, nil, capacity("else", "1Gi", "1"), false},
		{"pod gave its promise back", fwk.AssignedPod, assumed, nil, true},
		{"class made", fwk.StorageClass, nil, &storagev1.StorageClass{}, true},
		{"class gone", fwk.StorageClass, &storagev1.StorageClass{}, nil, false},
	} {
		t.Run(x.name, func(t *testing.T) {
			c, matters := d.changeOf(x.resource, x.old, x.now)
			found := matters && len(d.plugin.sleepers.concerned(c)) > 0 && c.help(anything)
			if found != x.want {
				t.Errorf("it wakes: %v, want %v", found, x.want)
			}
		})
	}
}

// TestChangesAreNarrow has pods wait for different things, and a change of each kind:
// it wakes those whom it can help, and nobody else.
func TestChangesAreNarrow(t *testing.T) {
	d := emptyDormitory(t)
	capacity := func(free int64, seqno string) *storagev1.CSIStorageCapacity {
		c := d.capacity("n1", "g1")
		c.UID, c.Capacity = "n1", resource.NewQuantity(free<<30, resource.BinarySI)
		c.Annotations[volume.AnnotationVGSeqno] = seqno
		return c
	}
	revised := func(pod *corev1.Pod, seqno string) *corev1.PersistentVolume {
		pv := d.volume(pod, "g1")
		pv.UID, pv.Spec.ClaimRef.UID = "pv", ""
		pv.Annotations[volume.AnnotationAPIServer], pv.Annotations[volume.AnnotationVGSeqno] = "now", seqno
		return pv
	}
	node := func(name string, ready corev1.ConditionStatus) *corev1.Node {
		return &corev1.Node{
			ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name)},
			Status:     corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: ready}}},
		}
	}
	away, full := d.pods[0], d.pods[2] // db-0 waits for its node, web-0 for room
	d.enter(away, placement.Verdict{Action: placement.Refuse, Reason: placement.Reason{Code: placement.CodeHomeNotReady, Node: "n1"}})
	d.enter(full, placement.Verdict{Action: placement.Allow, Blank: []placement.Claim{{
		ClaimName: placement.ClaimName{Namespace: "shop", Name: "data-web-0"}, Class: "berth", Bytes: 10 << 30,
	}}})
	for _, x := range []struct {
		name     string
		resource fwk.EventResource
		old, now any
		stored   any // what the store has by then
		woken    []string
	}{
		{"room for the one that waits for it", fwk.CSIStorageCapacity, capacity(1, "1"), capacity(20, "1"), capacity(20, "1"), []string{"web-0"}},
		{"more room, and not enough", fwk.CSIStorageCapacity, capacity(1, "1"), capacity(2, "1"), capacity(2, "1"), nil},
		{"less room", fwk.CSIStorageCapacity, capacity(30, "1"), capacity(20, "1"), capacity(20, "1"), nil},
		{"a revision without room", fwk.CSIStorageCapacity, capacity(1, "1"), capacity(1, "2"), capacity(1, "2"), nil},
		{"the own volume", fwk.PersistentVolume, nil, revised(away, "1"), nil, []string{"db-0"}},
		{"a revision of the own volume", fwk.PersistentVolume, revised(away, "1"), revised(away, "2"), nil, nil},
		{"the node", fwk.Node, node("n1", corev1.ConditionUnknown), node("n1", corev1.ConditionTrue), nil, []string{"db-0"}},
		{"another node", fwk.Node, node("n2", corev1.ConditionUnknown), node("n2", corev1.ConditionTrue), nil, nil},
		{"a heartbeat", fwk.Node, node("n1", corev1.ConditionTrue), node("n1", corev1.ConditionTrue), nil, nil},
		{"a sibling's volume, for the one that waits for its node", fwk.PersistentVolume, nil, revised(d.pods[1], "1"), nil, nil},
		{"a sibling's volume, for the one that keeps away from it", fwk.PersistentVolume, nil, revised(d.pods[3], "1"), nil, []string{"web-0"}},
	} {
		t.Run(x.name, func(t *testing.T) {
			if x.stored != nil {
				if err := d.stores[fwk.CSIStorageCapacity].Update(x.stored); err != nil {
					t.Fatal(err)
				}
			} else if err := d.stores[fwk.CSIStorageCapacity].Replace(nil, ""); err != nil {
				t.Fatal(err)
			}
			var woken []string
			if c, matters := d.changeOf(x.resource, x.old, x.now); matters {
				for uid, w := range d.plugin.sleepers.concerned(c) {
					if c.help(w) {
						woken = append(woken, string(uid))
					}
				}
			}
			slices.Sort(woken)
			if !slices.Equal(woken, x.woken) {
				t.Errorf("%v are woken, want %v", woken, x.woken)
			}
		})
	}
}

// emptyDormitory has nothing in its stores, and nobody sleeps.
func emptyDormitory(t *testing.T) *dormitory {
	t.Helper()
	d := newDormitory(t, 0)
	for _, store := range d.stores {
		if err := store.Replace(nil, ""); err != nil {
			t.Fatal(err)
		}
	}
	for _, pod := range d.pods {
		d.plugin.sleepers.leave(pod.UID)
	}
	return d
}

// enter puts a pod to sleep with a verdict.
func (d *dormitory) enter(pod *corev1.Pod, v placement.Verdict) {
	d.plugin.sleepers.begin(pod)
	d.plugin.sleepers.enter(pod, waitOf(pod, v, placement.Request{}, placement.Facts{}))
}
