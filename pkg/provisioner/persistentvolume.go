package provisioner

import (
	"context"
	"fmt"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
	"k8s.io/utils/ptr"

	"github.com/berth-dev/berth/pkg/lvm/filesystem"
	"github.com/berth-dev/berth/pkg/volume"
)

const (
	annProvisionedBy = "pv.kubernetes.io/provisioned-by"
	annBoundByCtrl   = "pv.kubernetes.io/bound-by-controller"
	// byLVUUID is the informer index that holds invariant I1: one LV, at most one PV.
	byLVUUID = "berth.dev/lv-uuid"
)

// indexByLVUUID finds PVs by the logical volume they stand for.
func indexByLVUUID(obj any) ([]string, error) {
	pv, ok := obj.(*corev1.PersistentVolume)
	if !ok || pv.Annotations[volume.AnnotationLVUUID] == "" {
		return nil, nil
	}
	return []string{pv.Annotations[volume.AnnotationLVUUID]}, nil
}

// persistentVolume is the one PV of a volume: reserved for its claim by name, so
// that the claim finds it whenever it is made again, and tied to whichever node
// holds the volume group.
func (a *Agent) persistentVolume(v Volume) *corev1.PersistentVolume {
	pv := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{
			Name:        volume.PVName(v.LV.UUID),
			Labels:      map[string]string{volume.LabelClaim: volume.LVName(v.Tags.Namespace, v.Tags.Claim)},
			Annotations: v.view().Annotations(),
		},
		Spec: corev1.PersistentVolumeSpec{
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: *resource.NewQuantity(v.LV.Size, resource.BinarySI)},
			AccessModes:                   []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
			StorageClassName:              v.Tags.Class,
			VolumeMode:                    ptr.To(corev1.PersistentVolumeFilesystem),
			ClaimRef:                      reservation(v),
			PersistentVolumeSource: corev1.PersistentVolumeSource{
				Local: &corev1.LocalVolumeSource{Path: a.links.Path(v.LV.UUID), FSType: ptr.To(v.Tags.FSType)},
			},
			NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{
				NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{{
					Key: volume.NodeLabel(v.VG.UUID), Operator: corev1.NodeSelectorOpIn, Values: []string{"true"},
				}}}},
			}},
		},
	}
	pv.Annotations[annProvisionedBy] = volume.Provisioner
	if v.VG.Dir != "" {
		pv.Spec.Local.FSType = nil // kubelet mounts the directory as it is
	} else if v.Tags.FSType == filesystem.None {
		pv.Spec.VolumeMode, pv.Spec.Local.FSType = ptr.To(corev1.PersistentVolumeBlock), nil
	} else if sc, err := a.classes.Get(v.Tags.Class); err == nil {
		// Without the class, data is still better served than not.
		pv.Spec.MountOptions = sc.MountOptions
	}
	return pv
}

// reservation names the claim without a UID: any claim of this name, whenever
// made, may bind, and no other.
func reservation(v Volume) *corev1.ObjectReference {
	return &corev1.ObjectReference{
		Kind: "PersistentVolumeClaim", APIVersion: "v1", Namespace: v.Tags.Namespace, Name: v.Tags.Claim,
	}
}

// step is what a verified volume needs on the API.
type step int

const (
	stepNone    step = iota
	stepPublish      // no PV: make it
	stepGrow         // as it should be, if it is large enough
	stepReserve      // tied to a claim that is gone, or to none: reserve it by name
)

// decide compares a volume with the PVs that carry its LV UUID.
func decide(v Volume, pvs []*corev1.PersistentVolume) (step, error) {
	switch len(pvs) {
	case 0:
		return stepPublish, nil
	case 1:
	default:
		var names []string
		for _, pv := range pvs {
			names = append(names, pv.Name)
		}
		return stepNone, pvAmbiguous(v, names)
	}
	pv := pvs[0]
	ref := pv.Spec.ClaimRef
	switch {
	case pv.DeletionTimestamp != nil:
		return stepNone, nil // published again when it is gone
	case pv.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimDelete && pv.Status.Phase == corev1.VolumeReleased:
		return stepNone, nil // a person wants it deleted: Delete looks whether it may be
	case ref == nil:
		return stepReserve, nil // else any claim of the class could take the data
	case ref.Namespace != v.Tags.Namespace || ref.Name != v.Tags.Claim:
		return stepNone, pvReservedElsewhere(v, pv.Name, ref.Namespace+"/"+ref.Name)
	case ref.UID == withheld, ref.UID != "" && pv.Status.Phase == corev1.VolumeReleased:
		return stepReserve, nil
	default:
		return stepGrow, nil
	}
}

// publish creates the PV of a verified volume. That somebody else has just
// created it is success; that the name stands for another volume is not.
func (a *Agent) publish(ctx context.Context, v Volume) error {
	want := a.persistentVolume(v)
	_, err := a.client.CoreV1().PersistentVolumes().Create(ctx, want, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		got, err := a.client.CoreV1().PersistentVolumes().Get(ctx, want.Name, metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("read PV %s: %w", want.Name, err)
		}
		if got.Annotations[volume.AnnotationLVUUID] != v.LV.UUID {
			return pvNameTaken(v, want.Name)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("create PV %s: %w", want.Name, err)
	}
	a.adopted(v, "published")
	klog.FromContext(ctx).Info("Published a volume found on disk", "pv", want.Name, "lv", v.String(), "claim", klog.KRef(v.Tags.Namespace, v.Tags.Claim))
	return nil
}

// reserve ties a PV to its claim's name again. The claim that it was bound to
// must be gone by the API server's own word, not by that of a cache.
func (a *Agent) reserve(ctx context.Context, v Volume, pv *corev1.PersistentVolume) error {
	if ref := pv.Spec.ClaimRef; ref != nil {
		gone, err := a.claimIsGone(ctx, ref.Namespace, ref.Name, ref.UID)
		if err != nil {
			return err
		}
		if !gone {
			return nil
		}
	}
	next := pv.DeepCopy()
	next.Spec.ClaimRef = reservation(v)
	// With this annotation the PV controller would clear the whole reference
	// when it lets go of a claim, and the data would be free for any claim.
	delete(next.Annotations, annBoundByCtrl)
	next.Annotations[volume.AnnotationGeneration] = strconv.Itoa(v.Tags.Generation)
	_, err := a.client.CoreV1().PersistentVolumes().Update(ctx, next, metav1.UpdateOptions{})
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		a.Wake() // decided on an old copy: look again
		return nil
	}
	if err != nil {
		return fmt.Errorf("reserve PV %s: %w", pv.Name, err)
	}
	a.adopted(v, "reserved")
	klog.FromContext(ctx).Info("Reserved a released volume for its claim again", "pv", pv.Name, "lv", v.String(), "claim", klog.KRef(v.Tags.Namespace, v.Tags.Claim))
	return nil
}

// unshown is what a PV does not say of its volume, as a patch of its metadata: a
// generation that a person has raised, and the claim where an older agent made it.
func unshown(v Volume, pv *corev1.PersistentVolume) map[string]any {
	patch := map[string]any{}
	if want, is := strconv.Itoa(v.Tags.Generation), pv.Annotations[volume.AnnotationGeneration]; is != want && is != "" {
		patch["annotations"] = map[string]string{volume.AnnotationGeneration: want}
	}
	if want := volume.LVName(v.Tags.Namespace, v.Tags.Claim); pv.Labels[volume.LabelClaim] != want {
		patch["labels"] = map[string]string{volume.LabelClaim: want}
	}
	return patch
}

// show brings a PV up to what its volume says.
func (a *Agent) show(ctx context.Context, pv *corev1.PersistentVolume, patch map[string]any) error {
	patch["uid"] = pv.UID // this object and no later one
	_, err := a.client.CoreV1().PersistentVolumes().Patch(ctx, pv.Name, types.MergePatchType, mustJSON(map[string]any{"metadata": patch}), metav1.PatchOptions{})
	if err != nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
		return fmt.Errorf("show what PV %s stands for: %w", pv.Name, err)
	}
	a.Wake() // to go on from there
	return nil
}

func (a *Agent) claimIsGone(ctx context.Context, namespace, name string, uid types.UID) (bool, error) {
	claim, err := a.client.CoreV1().PersistentVolumeClaims(namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("read claim %s/%s: %w", namespace, name, err)
	}
	return claim.UID != uid, nil
}

// pvsOf returns the PVs that stand for the volume.
func (a *Agent) pvsOf(v Volume) ([]*corev1.PersistentVolume, error) {
	objs, err := a.pvs.ByIndex(byLVUUID, v.LV.UUID)
	if err != nil {
		return nil, fmt.Errorf("look up PVs of %s: %w", v, err)
	}
	var pvs []*corev1.PersistentVolume
	for _, obj := range objs {
		if pv, ok := obj.(*corev1.PersistentVolume); ok {
			pvs = append(pvs, pv)
		}
	}
	return pvs, nil
}
