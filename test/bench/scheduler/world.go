package main

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	storagevolume "k8s.io/component-helpers/storage/volume"
	"k8s.io/utils/ptr"

	"github.com/berth-dev/berth/pkg/volume"
)

const (
	namespace    = "shop"
	class        = "berth"
	networkClass = "network"
	identity     = "api-server" // UID of namespace kube-system

	members        = 3   // of a cluster
	volumesPerNode = 4   // retained, bound to the claims of clusters that exist
	standing       = 100 // claims whose volume is being made: reservations that every verdict has to count
)

// world is what the API server holds: nodes with a volume group each, all with
// room, the volumes on them, and the claims of the pods to come.
type world struct {
	nodes, volumes int
	pods           int // for which there are claims of each kind
	// absent is how many nodes, the first ones, are away, and how many members
	// with their data there wait for them, under the name of a scheduler.
	absent  int
	profile string
	// csiDriver makes the stock scheduler look at capacity. Berth does without.
	csiDriver bool
}

func (w world) objects() []runtime.Object {
	all := []runtime.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: metav1.NamespaceSystem, UID: identity}},
		storageClass(class, volume.Provisioner),
		storageClass(networkClass, "network.example.com"),
	}
	if w.csiDriver {
		all = append(all, &storagev1.CSIDriver{
			ObjectMeta: metav1.ObjectMeta{Name: volume.Provisioner},
			Spec:       storagev1.CSIDriverSpec{StorageCapacity: ptr.To(true), AttachRequired: ptr.To(false)},
		})
	}
	for n := range w.nodes {
		if n < w.absent {
			waiting := memberPod(member{"db", n})
			waiting.Spec.SchedulerName = w.profile
			all = append(all, away(node(n)), capacity(n), waiting)
			continue
		}
		all = append(all, node(n), capacity(n))
	}
	for v := range w.volumes {
		m := member{"db", v}
		all = append(all, w.retained(m), claim(m.claim(), class, func(c *corev1.PersistentVolumeClaim) { bind(c, m.volume()) }))
	}
	for p := range w.pods {
		all = append(all, claim(member{"new", p}.claim(), class, nil))
		network := fmt.Sprintf("network-%d", p)
		all = append(all, networkVolume(network), claim(network, networkClass, func(c *corev1.PersistentVolumeClaim) { bind(c, network) }))
	}
	for s := range min(standing, w.nodes) {
		all = append(all, claim(member{"making", s}.claim(), class, func(c *corev1.PersistentVolumeClaim) {
			metav1.SetMetaDataAnnotation(&c.ObjectMeta, storagevolume.AnnSelectedNode, nodeName(s))
		}))
	}
	return all
}

// member is the n-th member of all clusters whose names begin with prefix.
type member struct {
	prefix string
	n      int
}

func (m member) set() string    { return fmt.Sprintf("%s%d", m.prefix, m.n/members) }
func (m member) pod() string    { return fmt.Sprintf("%s-%d", m.set(), m.n%members) }
func (m member) claim() string  { return "data-" + m.pod() }
func (m member) volume() string { return "lv-" + m.pod() }

// home is the node with the member's volume: siblings on neighbouring nodes.
func (w world) home(m member) string { return nodeName(m.n % w.nodes) }

func nodeName(n int) string { return fmt.Sprintf("node-%05d", n) }
func vgOf(node string) string {
	return "vg-of-" + node
}

func node(n int) *corev1.Node {
	name := nodeName(n)
	room := corev1.ResourceList{
		corev1.ResourcePods:   resource.MustParse("110"),
		corev1.ResourceCPU:    resource.MustParse("32"),
		corev1.ResourceMemory: resource.MustParse("256Gi"),
	}
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name), Labels: map[string]string{
			volume.NodeLabel(vgOf(name)):   "true",
			corev1.LabelHostname:           name,
			corev1.LabelTopologyZone:       fmt.Sprintf("zone-%d", n%3),
			corev1.LabelOSStable:           "linux",
			corev1.LabelArchStable:         "amd64",
			corev1.LabelInstanceTypeStable: "metal",
		}},
		Status: corev1.NodeStatus{
			Allocatable: room, Capacity: room,
			Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}},
		},
	}
}

// away makes a node one that its machine has left.
func away(n *corev1.Node) *corev1.Node {
	n.Status.Conditions[0].Status = corev1.ConditionUnknown
	n.Spec.Taints = []corev1.Taint{{Key: corev1.TaintNodeUnreachable, Effect: corev1.TaintEffectNoSchedule}}
	return n
}

func capacity(n int) *storagev1.CSIStorageCapacity {
	name := nodeName(n)
	return &storagev1.CSIStorageCapacity{
		ObjectMeta: metav1.ObjectMeta{
			Name: "berth-" + name, Namespace: volume.SystemNamespace, UID: types.UID("capacity-" + name),
			Annotations: map[string]string{
				volume.AnnotationNode:    name,
				volume.AnnotationVGUUID:  vgOf(name),
				volume.AnnotationVGSeqno: "9",
			},
		},
		StorageClassName: class,
		NodeTopology:     &metav1.LabelSelector{MatchLabels: map[string]string{volume.NodeLabel(vgOf(name)): "true"}},
		Capacity:         ptr.To(resource.MustParse("1Ti")),
	}
}

func storageClass(name, provisioner string) *storagev1.StorageClass {
	return &storagev1.StorageClass{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Provisioner: provisioner,
		VolumeBindingMode: ptr.To(storagev1.VolumeBindingWaitForFirstConsumer),
	}
}

// retained is the volume of a member as its agent publishes it and the PV
// controller binds it.
func (w world) retained(m member) *corev1.PersistentVolume {
	vg := vgOf(w.home(m))
	v := volume.Volume{
		VGUUID: vg, VGName: "berth", VGSeqno: 8, LVUUID: m.volume(), LVName: volume.LVName(namespace, m.claim()),
		Tags: volume.Tags{
			FSUUID: "fs-" + m.pod(), Generation: 1, APIServer: identity,
			Member: volume.Member{StatefulSet: m.set(), Ordinal: m.n % members, Replicas: members},
		},
	}
	pv := persistentVolume(m.volume(), class, corev1.PersistentVolumeSource{
		Local: &corev1.LocalVolumeSource{Path: "/dev/disk/by-berth/" + m.volume(), FSType: ptr.To("ext4")},
	})
	pv.Annotations = v.Annotations()
	pv.Annotations[storagevolume.AnnDynamicallyProvisioned] = volume.Provisioner
	pv.Spec.ClaimRef = &corev1.ObjectReference{Namespace: namespace, Name: m.claim(), UID: types.UID(m.claim())}
	pv.Spec.NodeAffinity = &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{
		NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{{
			Key: volume.NodeLabel(vg), Operator: corev1.NodeSelectorOpIn, Values: []string{"true"},
		}}}},
	}}
	return pv
}

func networkVolume(name string) *corev1.PersistentVolume {
	pv := persistentVolume(name, networkClass, corev1.PersistentVolumeSource{
		CSI: &corev1.CSIPersistentVolumeSource{Driver: "network.example.com", VolumeHandle: name},
	})
	pv.Spec.ClaimRef = &corev1.ObjectReference{Namespace: namespace, Name: name, UID: types.UID(name)}
	return pv
}

func persistentVolume(name, class string, source corev1.PersistentVolumeSource) *corev1.PersistentVolume {
	return &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name)},
		Spec: corev1.PersistentVolumeSpec{
			StorageClassName:       class,
			AccessModes:            []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Capacity:               corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("10Gi")},
			PersistentVolumeSource: source,
		},
		Status: corev1.PersistentVolumeStatus{Phase: corev1.VolumeBound},
	}
}

func claim(name, class string, change func(*corev1.PersistentVolumeClaim)) *corev1.PersistentVolumeClaim {
	c := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace, UID: types.UID(name)},
		Spec: corev1.PersistentVolumeClaimSpec{
			StorageClassName: ptr.To(class),
			AccessModes:      []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:        corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("10Gi")}},
		},
		Status: corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimPending},
	}
	if change != nil {
		change(c)
	}
	return c
}

func bind(c *corev1.PersistentVolumeClaim, volumeName string) {
	c.Spec.VolumeName = volumeName
	c.Status.Phase = corev1.ClaimBound
	metav1.SetMetaDataAnnotation(&c.ObjectMeta, storagevolume.AnnBindCompleted, "yes")
}
