package plugin

import (
	"maps"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	storagevolume "k8s.io/component-helpers/storage/volume"

	"github.com/berth-dev/berth/pkg/inventory"
	"github.com/berth-dev/berth/pkg/placement"
	"github.com/berth-dev/berth/pkg/volume"
)

// sameKeys says that the two concern the same pods.
func sameKeys(old, now *corev1.PersistentVolume) bool {
	was, is := old.Spec.ClaimRef, now.Spec.ClaimRef
	return was != nil && is != nil && was.Namespace == is.Namespace && was.Name == is.Name &&
		old.Annotations[storagevolume.AnnDynamicallyProvisioned] == now.Annotations[storagevolume.AnnDynamicallyProvisioned] &&
		old.Annotations[volume.AnnotationStatefulSet] == now.Annotations[volume.AnnotationStatefulSet] &&
		old.Annotations[volume.AnnotationOrdinal] == now.Annotations[volume.AnnotationOrdinal]
}

// sameVolume says that nothing but the revision of its group tells the two apart,
// which matters to those only who wait for room.
func sameVolume(old, now *corev1.PersistentVolume) bool {
	return old.UID == now.UID && equality.Semantic.DeepEqual(old.Spec, now.Spec) &&
		maps.Equal(withoutSeqno(old.Annotations), withoutSeqno(now.Annotations))
}

func withoutSeqno(annotations map[string]string) map[string]string {
	rest := maps.Clone(annotations)
	delete(rest, volume.AnnotationVGSeqno)
	return rest
}

// gaveUp says that the claim had a node on which its volume was to be made, and has
// it no longer, or counts another volume as its own. Of one that is gone the node may
// be known to its scheduler only.
func gaveUp(old, now *corev1.PersistentVolumeClaim) bool {
	if old == nil || old.Spec.VolumeName != "" {
		return false
	}
	return now == nil || now.UID != old.UID || selected(old) != "" && selected(now) != selected(old) ||
		volume.Abandoned(now.Annotations) != volume.Abandoned(old.Annotations)
}

func selected(pvc *corev1.PersistentVolumeClaim) string {
	return pvc.Annotations[storagevolume.AnnSelectedNode]
}

// nodeHelps: heartbeats do not.
func nodeHelps(old, now *corev1.Node) bool {
	return old == nil || now == nil ||
		old.Spec.Unschedulable != now.Spec.Unschedulable ||
		isReady(old) != isReady(now) ||
		inventory.OutOfService(old) != inventory.OutOfService(now) ||
		regrouped(old, now)
}

// regrouped says that the node may be the home of others than before.
func regrouped(old, now *corev1.Node) bool {
	return old.UID != now.UID || !maps.Equal(ourLabels(old), ourLabels(now))
}

func isReady(n *corev1.Node) bool {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

func ourLabels(n *corev1.Node) map[string]string {
	ours := map[string]string{}
	for label, value := range n.Labels {
		if label == placement.StorageLabel || strings.HasPrefix(label, volume.NodeLabelPrefix) {
			ours[label] = value
		}
	}
	return ours
}

// published says that the capacity is one of an agent of ours.
func published(c *storagev1.CSIStorageCapacity) bool {
	return c != nil && inventory.Publisher(c) != ""
}

// sameReport says that the two prove the same: which node has which volume group, and
// what its disks know of others.
func sameReport(old, now *storagev1.CSIStorageCapacity) bool {
	return old.UID == now.UID && old.StorageClassName == now.StorageClassName &&
		(old.Capacity == nil) == (now.Capacity == nil) &&
		inventory.Publisher(old) == inventory.Publisher(now) &&
		old.Annotations[volume.AnnotationVGUUID] == now.Annotations[volume.AnnotationVGUUID] &&
		old.Annotations[volume.AnnotationHomes] == now.Annotations[volume.AnnotationHomes]
}

// offersNoMore says that nobody can have got room by the change: what is published
// has not grown, and does not contain more volumes.
func offersNoMore(old, now *storagev1.CSIStorageCapacity) bool {
	return old != nil && now != nil && sameReport(old, now) && free(now) <= free(old) && revision(now) <= revision(old)
}

// revision of the volume group; one that cannot be read is older than all.
func revision(c *storagev1.CSIStorageCapacity) int {
	n, err := strconv.Atoi(c.Annotations[volume.AnnotationVGSeqno])
	if err != nil {
		return 0
	}
	return n
}

func free(c *storagev1.CSIStorageCapacity) int64 {
	if c.Capacity == nil {
		return 0
	}
	return c.Capacity.Value()
}
