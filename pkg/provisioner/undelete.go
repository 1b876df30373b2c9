package provisioner

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/berth-dev/berth/pkg/lvm"
	"github.com/berth-dev/berth/pkg/volume"
)

// Undelete takes a claim's volume, or the one with this LV UUID, out of the trash
// of this machine; the agent publishes the volume in its next pass. A
// PersistentVolume of policy Delete that still stands for it is set to Retain first:
// it would have the volume deleted once more. A nil client leaves the API out of it.
// The caller holds the lock of the machine's links, so that no agent begins to wipe
// meanwhile.
func Undelete(ctx context.Context, system *lvm.System, client kubernetes.Interface, which string) (Volume, error) {
	report, err := system.Report(ctx)
	if err != nil {
		return Volume{}, err
	}
	all := Survey(report)
	v, err := inTrash(all, which)
	if err != nil {
		return v, fmt.Errorf("undelete %s: %w", which, err)
	}
	if o, hidden := hiddenBy(v, all); hidden {
		return v, fmt.Errorf("undelete %s: claim %s/%s has another volume now, %s, which would be hidden by it: delete that one first", v, v.Tags.Namespace, v.Tags.Claim, o)
	}
	if client != nil {
		if err := retain(ctx, client, v); err != nil {
			return v, fmt.Errorf("undelete %s: it is in the trash as before: %w", v, err)
		}
	}
	if v, err = takeOut(ctx, system, v); err != nil {
		return v, fmt.Errorf("undelete %s: %w", v, err)
	}
	return v, nil
}

// hiddenBy finds the volume that is the claim's by now, if there is one.
func hiddenBy(v Volume, all []Volume) (Volume, bool) {
	i := slices.IndexFunc(all, func(o Volume) bool {
		return o.LV.UUID != v.LV.UUID && !o.Tags.State.Deleted() && o.Tags.State != volume.Superseded &&
			(o.LV.Name == volume.LVName(v.Tags.Namespace, v.Tags.Claim) || o.Tags.Namespace == v.Tags.Namespace && o.Tags.Claim == v.Tags.Claim)
	})
	if i < 0 {
		return Volume{}, false
	}
	return all[i], true
}

// retain takes back the word that a volume is to be deleted.
func retain(ctx context.Context, client kubernetes.Interface, v Volume) error {
	pv, err := client.CoreV1().PersistentVolumes().Get(ctx, volume.PVName(v.LV.UUID), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("ask for its PersistentVolume (--without-api does not): %w", err)
	}
	if pv.Annotations[volume.AnnotationLVUUID] != v.LV.UUID || pv.Spec.PersistentVolumeReclaimPolicy != corev1.PersistentVolumeReclaimDelete {
		return nil
	}
	patch := mustJSON(map[string]any{
		"metadata": map[string]any{"uid": pv.UID}, // this object and no later one
		"spec":     map[string]any{"persistentVolumeReclaimPolicy": corev1.PersistentVolumeReclaimRetain},
	})
	_, err = client.CoreV1().PersistentVolumes().Patch(ctx, pv.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("set PersistentVolume %s, which asks for its deletion, to Retain: %w", pv.Name, err)
	}
	return nil
}

// takeOut makes a volume in the trash its claim's again. An error may leave it out of
// the trash under the name that it had there.
func takeOut(ctx context.Context, system *lvm.System, v Volume) (Volume, error) {
	off := append(v.Tags.Retirement.Encode(), volume.StateTag(volume.Trash))
	if err := system.SwapTags(ctx, v.VG, v.LV, off, []string{volume.StateTag(volume.Ready)}); err != nil {
		return v, err
	}
	v.Tags.State, v.Tags.Retirement = volume.Ready, volume.Retirement{}
	// The tags decide; the name is for people, and no reason to fail.
	err := system.Rename(ctx, v.VG, v.LV, volume.LVName(v.Tags.Namespace, v.Tags.Claim))
	if err != nil && !errors.Is(err, lvm.ErrExists) {
		return v, fmt.Errorf("it is out of the trash and keeps its name %s: %w", strconv.Quote(v.LV.Name), err)
	}
	v.LV.Name = volume.LVName(v.Tags.Namespace, v.Tags.Claim)
	return v, nil
}

// inTrash finds the one volume that can be had back. One of which wiping has begun
// cannot, however much of it is left.
func inTrash(all []Volume, which string) (Volume, error) {
	var found, wiping []Volume
	for _, v := range all {
		if v.Err != nil || v.LV.UUID != which && v.Tags.Namespace+"/"+v.Tags.Claim != which {
			continue
		}
		switch v.Tags.State {
		case volume.Trash:
			found = append(found, v)
		case volume.Wiping:
			wiping = append(wiping, v)
		}
	}
	switch {
	case len(found) > 1:
		return Volume{}, fmt.Errorf("%d volumes in the trash were this claim's: name one by its LV UUID (lvm-provisioner inventory)", len(found))
	case len(found) == 1:
		return found[0], nil
	case len(wiping) > 0:
		return wiping[0], beingWiped(wiping[0])
	}
	return Volume{}, fmt.Errorf("no volume in the trash of this machine has this claim or LV UUID (lvm-provisioner inventory shows them): %w", lvm.ErrNotFound)
}

// beingWiped says why a marked volume is not had back.
func beingWiped(v Volume) error {
	return fmt.Errorf("%s (LV UUID %s) was kept until %s and is being wiped since: its data is gone, at least in part, and the agent removes it; "+
		"make the claim again, and the member gets its data from the others, or restore a backup",
		v, v.LV.UUID, time.Unix(v.Tags.Retirement.Deadline, 0).UTC().Format(time.RFC3339))
}
