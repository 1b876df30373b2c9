package main

import (
	"fmt"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	storagevolume "k8s.io/component-helpers/storage/volume"
	"k8s.io/utils/ptr"

	"github.com/berth-dev/berth/pkg/volume"
)

const (
	namespace = "shop"
	class     = "berth"
	members   = 3
	homeAsk   = "berth.dev/home" // what a pod requests to be shown to the extender
)

func nodeName(n int) string     { return fmt.Sprintf("node-%03d", n) }
func setName(c int) string      { return fmt.Sprintf("db%03d", c) }
func claimName(c, m int) string { return fmt.Sprintf("data-%s-%d", setName(c), m) }

func node(name string) *corev1.Node {
	room := corev1.ResourceList{
		corev1.ResourcePods: resource.MustParse("250"), corev1.ResourceCPU: resource.MustParse("64"), corev1.ResourceMemory: resource.MustParse("512Gi"),
	}
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{
			volume.NodeLabel(vgOf(name)): "true", corev1.LabelHostname: "host-of-" + name, // as after a rename
		}},
		Status: corev1.NodeStatus{
			Capacity: room, Allocatable: room,
			Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "KubeletReady"}},
		},
	}
}

func capacity(node string) *storagev1.CSIStorageCapacity {
	return &storagev1.CSIStorageCapacity{
		ObjectMeta: metav1.ObjectMeta{Namespace: volume.SystemNamespace, Name: "berth-" + node, Annotations: map[string]string{
			volume.AnnotationNode: node, volume.AnnotationVGUUID: vgOf(node), volume.AnnotationVGSeqno: "9",
		}},
		StorageClassName: class,
		NodeTopology:     &metav1.LabelSelector{MatchLabels: map[string]string{volume.NodeLabel(vgOf(node)): "true"}},
		Capacity:         ptr.To(resource.MustParse("1Ti")),
	}
}

func storageClass() *storagev1.StorageClass {
	return &storagev1.StorageClass{
		ObjectMeta: metav1.ObjectMeta{Name: class}, Provisioner: volume.Provisioner,
		ReclaimPolicy:     ptr.To(corev1.PersistentVolumeReclaimRetain),
		VolumeBindingMode: ptr.To(storagev1.VolumeBindingWaitForFirstConsumer),
	}
}

// persistentVolume is a volume as its agent publishes it, reserved for the claim.
func persistentVolume(name, node, namespace, claim string) *corev1.PersistentVolume {
	v := volume.Volume{
		VGUUID: vgOf(node), VGName: "berth", VGSeqno: 8, LVUUID: name, LVName: volume.LVName(namespace, claim),
		Tags: volume.Tags{FSUUID: "fs", Generation: 1, APIServer: "api-server"},
	}
	pv := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: v.Annotations()},
		Spec: corev1.PersistentVolumeSpec{
			StorageClassName:              class,
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
			AccessModes:                   []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("10Gi")},
			ClaimRef:                      &corev1.ObjectReference{Kind: "PersistentVolumeClaim", APIVersion: "v1", Namespace: namespace, Name: claim},
			PersistentVolumeSource: corev1.PersistentVolumeSource{
				Local: &corev1.LocalVolumeSource{Path: "/dev/disk/by-berth/" + name, FSType: ptr.To("ext4")},
			},
			NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{
				NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{{
					Key: volume.NodeLabel(vgOf(node)), Operator: corev1.NodeSelectorOpIn, Values: []string{"true"},
				}}}},
			}},
		},
	}
	pv.Annotations[storagevolume.AnnDynamicallyProvisioned] = volume.Provisioner
	return pv
}

// statefulSet is a Galera cluster as far as a scheduler sees it.
func statefulSet(name string, asks bool) *appsv1.StatefulSet {
	labels := map[string]string{"app": name}
	pod := corev1.PodSpec{
		SchedulerName: volume.SchedulerName,
		Containers: []corev1.Container{{Name: "mariadb", Image: "mariadb", Resources: corev1.ResourceRequirements{
			Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m"), corev1.ResourceMemory: resource.MustParse("256Mi")},
		}}},
	}
	if asks {
		pod.Containers[0].Resources.Limits = corev1.ResourceList{homeAsk: resource.MustParse("1")}
	}
	return &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace},
		Spec: appsv1.StatefulSetSpec{
			Replicas: ptr.To[int32](members), ServiceName: name, PodManagementPolicy: appsv1.ParallelPodManagement,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: pod},
			VolumeClaimTemplates: []corev1.PersistentVolumeClaim{{
				ObjectMeta: metav1.ObjectMeta{Name: "data"},
				Spec: corev1.PersistentVolumeClaimSpec{
					StorageClassName: ptr.To(class), AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
					Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("10Gi")}},
				},
			}},
		},
	}
}

// vgOf is a UUID as LVM writes one, made of the node's name.
func vgOf(node string) string { return strings.ReplaceAll(node, "node-", "vg0000-") }
