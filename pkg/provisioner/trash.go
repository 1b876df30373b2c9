package provisioner

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"

	"github.com/berth-dev/berth/pkg/volume"
)

// TrashPolicy says how deleted volumes are kept.
type TrashPolicy struct {
	// Keep is how long a volume stays in the trash; zero means DefaultTrashKeep.
	Keep time.Duration
	// PerHour is how many volumes of a volume group may be deleted in an hour;
	// zero means DefaultTrashPerHour. It stops whatever deletes by mistake and fast.
	PerHour int
}

// Defaults of TrashPolicy.
const (
	DefaultTrashKeep    = 7 * 24 * time.Hour
	DefaultTrashPerHour = 5
)

func (p TrashPolicy) orDefault() TrashPolicy {
	if p.Keep == 0 {
		p.Keep = DefaultTrashKeep
	}
	if p.PerHour == 0 {
		p.PerHour = DefaultTrashPerHour
	}
	return p
}

// ShouldDelete implements controller.DeletionGuard: only the agent that has the
// volume group acts, or says anything.
func (a *Agent) ShouldDelete(_ context.Context, pv *corev1.PersistentVolume) bool {
	return a.isOwnPV(pv)
}

// Delete implements controller.Provisioner. It removes nothing: with every proof
// that the volume is not wanted any more it puts it into the trash, where it can
// be had back until its deadline. It may be repeated from any point.
func (a *Agent) Delete(ctx context.Context, pv *corev1.PersistentVolume) error {
	end, err := a.begin()
	if err != nil {
		return err
	}
	defer end()
	if err := a.safety.refuses(); err != nil {
		return err
	}
	wipe, err := a.deletable(ctx, pv)
	if err != nil {
		return err
	}
	report, err := a.lvm.Report(ctx)
	if err != nil {
		return err
	}
	all := Survey(report)
	i := slices.IndexFunc(all, func(v Volume) bool { return v.LV.UUID == pv.Annotations[volume.AnnotationLVUUID] })
	if i < 0 {
		return deleteRefused(pv.Name, "no logical volume here has its UUID, which does not prove that it is gone: bring the disks back")
	}
	v := all[i]
	if v.Err == nil && v.Tags.State.Deleted() {
		return a.moveAway(ctx, v, volume.TrashName(v.LV.UUID))
	}
	if err := a.mayTrash(ctx, v, pv, all); err != nil {
		return err
	}
	return a.trash(ctx, v, wipe)
}

// deletable asks the API server itself, not a cache: this very PV, released, of
// policy Delete, its claim gone. Anything that cannot be read is no proof.
func (a *Agent) deletable(ctx context.Context, pv *corev1.PersistentVolume) (volume.Wipe, error) {
	live, err := a.client.CoreV1().PersistentVolumes().Get(ctx, pv.Name, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("read PV %s: %w", pv.Name, err)
	}
	ref := live.Spec.ClaimRef
	switch {
	case live.UID != pv.UID:
		return "", deleteRefused(pv.Name, "it is another object than the one that was to be deleted")
	case live.Annotations[annProvisionedBy] != volume.Provisioner || live.Annotations[volume.AnnotationLVUUID] != pv.Annotations[volume.AnnotationLVUUID]:
		return "", deleteRefused(pv.Name, "it does not say that it is ours, or stands for another volume now")
	case live.Spec.PersistentVolumeReclaimPolicy != corev1.PersistentVolumeReclaimDelete:
		return "", deleteRefused(pv.Name, "its policy is not Delete")
	case live.Status.Phase != corev1.VolumeReleased || ref == nil || ref.UID == "":
		return "", deleteRefused(pv.Name, "it was not released by a claim")
	}
	gone, err := a.claimIsGone(ctx, ref.Namespace, ref.Name, ref.UID)
	if err != nil {
		return "", err
	}
	if !gone {
		return "", deleteRefused(pv.Name, fmt.Sprintf("claim %s/%s still exists", ref.Namespace, ref.Name))
	}
	sc, err := a.client.StorageV1().StorageClasses().Get(ctx, live.Spec.StorageClassName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return "", deleteRefused(pv.Name, fmt.Sprintf("StorageClass %s, which says how to wipe, is not there: make it again", live.Spec.StorageClassName))
	}
	if err != nil {
		return "", fmt.Errorf("read StorageClass %s: %w", live.Spec.StorageClassName, err)
	}
	c, err := parseClass(sc)
	return c.Wipe, err
}

// mayTrash compares the disk with the PV, and holds the ceiling.
func (a *Agent) mayTrash(ctx context.Context, v Volume, pv *corev1.PersistentVolume, all []Volume) error {
	ref := pv.Spec.ClaimRef
	switch {
	case v.Err != nil:
		return tagsUnreadable(v)
	case v.VG.MissingPVs > 0:
		return vgPartial(v.VG.Name, a.node, v.VG.MissingPVs)
	case v.Tags.State == volume.Creating:
		return deleteRefused(pv.Name, v.String()+" is in state creating")
	case v.VG.UUID != pv.Annotations[volume.AnnotationVGUUID] || v.Tags.FSUUID != pv.Annotations[volume.AnnotationFSUUID]:
		return deleteRefused(pv.Name, v.String()+" has another volume group or file system than it says")
	case ref == nil || v.Tags.Namespace != ref.Namespace || v.Tags.Claim != ref.Name:
		return deleteRefused(pv.Name, fmt.Sprintf("%s belongs to claim %s/%s", v, v.Tags.Namespace, v.Tags.Claim))
	}
	life, err := a.apiServer(ctx)
	if err != nil {
		return err
	}
	if v.Tags.APIServer != life && pv.Annotations[volume.AnnotationConfirmDelete] != v.LV.UUID {
		return deleteRefused(pv.Name, fmt.Sprintf("%s was made for another API server and has outlived its memory: "+
			"to delete it all the same annotate the PersistentVolume with %s=%s", v, volume.AnnotationConfirmDelete, v.LV.UUID))
	}
	recent, since := 0, a.clock.Now().Add(-time.Hour).Unix()
	for _, o := range all {
		if o.Err == nil && o.VG.UUID == v.VG.UUID && o.Tags.State.Deleted() && o.Tags.Retirement.At > since {
			recent++
		}
	}
	if recent >= a.trashPolicy.PerHour {
		return trashCeiling(v, recent)
	}
	return nil
}

// trash takes the volume out of use. That the device can be taken away proves
// that nobody has it open; one change of the metadata then decides.
func (a *Agent) trash(ctx context.Context, v Volume, wipe volume.Wipe) error {
	delete(a.verified, v.LV.UUID)
	if err := a.links.Remove(v.LV.UUID); err != nil {
		return err
	}
	if v.LV.Active {
		if err := a.lvm.Deactivate(ctx, v.VG, v.LV); err != nil {
			return fmt.Errorf("delete %s: it is in use, or cannot be taken out of use: %w", v, err)
		}
	}
	now := a.clock.Now()
	r := volume.Retirement{At: now.Unix(), Deadline: now.Add(a.trashPolicy.Keep).Unix(), Wipe: wipe}
	on := append(r.Encode(), volume.StateTag(volume.Trash))
	if err := a.lvm.SwapTags(ctx, v.VG, v.LV, []string{volume.StateTag(v.Tags.State)}, on); err != nil {
		return fmt.Errorf("put %s into the trash: %w", v, err)
	}
	klog.FromContext(ctx).Info("Put a volume into the trash", "lv", v.String(), "lvUUID", v.LV.UUID, "claim", klog.KRef(v.Tags.Namespace, v.Tags.Claim), "keptFor", a.trashPolicy.Keep)
	a.Wake()
	return a.moveAway(ctx, v, volume.TrashName(v.LV.UUID))
}

// moveAway renames a volume out of its claim's name.
func (a *Agent) moveAway(ctx context.Context, v Volume, name string) error {
	if v.LV.Name == name {
		return nil
	}
	if err := a.lvm.Rename(ctx, v.VG, v.LV, name); err != nil {
		return fmt.Errorf("rename %s to %s: %w", v, name, err)
	}
	a.Wake()
	return nil
}
