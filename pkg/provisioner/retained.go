package provisioner

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"

	"github.com/berth-dev/berth/pkg/volume"
)

// keepRetained takes a volume out of the trash whose PersistentVolume a person has set
// back to Retain before the deletion was over: an agent was killed in its middle. Their
// last word is to keep it; and while that object stands, the claim waits for its volume.
func (a *Agent) keepRetained(ctx context.Context, v Volume, pvs []*corev1.PersistentVolume, all []Volume) error {
	if v.Tags.State != volume.Trash || len(pvs) != 1 || !isRetained(pvs[0]) {
		return nil // begun to be wiped, to be deleted, or not released by a claim
	}
	pv, err := a.client.CoreV1().PersistentVolumes().Get(ctx, pvs[0].Name, metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("read PV %s: %w", pvs[0].Name, err)
	}
	if err != nil || pv.UID != pvs[0].UID || !isRetained(pv) {
		return nil
	}
	if o, hidden := hiddenBy(v, all); hidden {
		return retainedInTrash(v, pv.Name, o.String())
	}
	s, err := a.rankOf(v, all)
	if err != nil {
		return err
	}
	if why := s.outranks(v); why != "" {
		return retainedInTrash(v, pv.Name, why)
	}
	if len(s.equal) > 0 {
		return retainedInTrash(v, pv.Name, s.equal[0].name)
	}
	if err := a.noSibling(v.VG, v.Tags); err != nil {
		return retainedInTrash(v, pv.Name, err.Error())
	}
	if v, err = takeOut(ctx, a.lvm, v); err != nil {
		return fmt.Errorf("take %s out of the trash: %w", v, err)
	}
	a.events.Eventf(pv, corev1.EventTypeNormal, "VolumeKept", "Volume %s on node %s is out of the trash: this PersistentVolume's policy is Retain again", v, a.node)
	klog.FromContext(ctx).Info("Took a volume out of the trash, for its PersistentVolume is to be retained", "lv", v.String(), "lvUUID", v.LV.UUID, "pv", pv.Name)
	a.Wake()
	return nil
}

// isRetained tells a volume that a claim has released and that nobody wants deleted.
func isRetained(pv *corev1.PersistentVolume) bool {
	return pv.DeletionTimestamp == nil && pv.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimRetain &&
		pv.Status.Phase == corev1.VolumeReleased && pv.Spec.ClaimRef != nil && pv.Spec.ClaimRef.UID != ""
}
