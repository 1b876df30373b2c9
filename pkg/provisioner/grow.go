package provisioner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"

	"github.com/berth-dev/berth/pkg/lvm"
	"github.com/berth-dev/berth/pkg/lvm/filesystem"
	"github.com/berth-dev/berth/pkg/volume"
)

// grow makes a verified volume, and the file system in it, at least size bytes
// large, whether it is mounted or not, and returns it as it is then. The tag
// that says growing goes on before the first step and off after the last: what
// a crash leaves is finished by the next call.
func (a *Agent) grow(ctx context.Context, v Volume, size int64) (Volume, error) {
	size = (size + v.VG.ExtentSize - 1) / v.VG.ExtentSize * v.VG.ExtentSize
	if size <= v.LV.Size && !v.Tags.Growing {
		return v, nil
	}
	if err := a.safety.refuses(); err != nil {
		return v, err
	}
	if v.VG.MissingPVs > 0 {
		return v, vgPartial(v.VG.Name, a.node, v.VG.MissingPVs)
	}
	if more := size - v.LV.Size; more > 0 {
		room := v.VG.Free
		if v.LV.Pool != "" {
			room = lvm.Layout{Type: lvm.Thin}.Room(v.VG)
		}
		if more > room {
			return v, volumeTooSmall(v, size, room)
		}
		if err := a.lvm.SwapTags(ctx, v.VG, v.LV, nil, []string{volume.GrowingTag}); err != nil {
			return v, fmt.Errorf("grow %s: %w", v, err)
		}
		v.Tags.Growing = true
		klog.FromContext(ctx).Info("Growing a volume", "lv", v.String(), "claim", klog.KRef(v.Tags.Namespace, v.Tags.Claim), "from", v.LV.Size, "to", size)
		err := a.lvm.Extend(ctx, v.VG, v.LV, size)
		if errors.Is(err, lvm.ErrNoSpace) {
			return v, volumeTooSmall(v, size, 0)
		}
		if err != nil {
			return v, fmt.Errorf("grow %s: %w", v, err)
		}
		v.LV.Size = size
		a.Wake() // to publish the space that is left
	}
	if v.Tags.FSType != filesystem.None && v.VG.Dir == "" {
		if err := filesystem.Grow(ctx, a.run, v.LV.Path, v.Tags.FSType, filepath.Join(a.links.Dir, ".grow-"+v.LV.UUID)); err != nil {
			return v, fmt.Errorf("grow %s: %w", v, err)
		}
	}
	if err := a.lvm.SwapTags(ctx, v.VG, v.LV, []string{volume.GrowingTag}, nil); err != nil {
		return v, fmt.Errorf("grow %s: %w", v, err)
	}
	v.Tags.Growing = false
	return v, nil
}

// growForClaim follows a bound claim that asks for more: volume, file system,
// PV, and at last the claim's status. Each step looks first whether it is needed.
func (a *Agent) growForClaim(ctx context.Context, v Volume, pv *corev1.PersistentVolume) error {
	claim, err := a.boundClaim(v, pv)
	if err != nil {
		return err
	}
	var want int64
	if claim != nil {
		want = requested(claim)
	}
	grown, err := a.grow(ctx, v, want)
	if r, ok := isReason(err); ok && claim != nil {
		a.notices.say(claim, v.LV.UUID, r)
		return nil
	}
	if err != nil {
		return err
	}
	if err := a.showSize(ctx, grown, pv); err != nil {
		return err
	}
	status := claim != nil && claim.Status.Capacity.Storage().Value() < grown.LV.Size && claim.Status.Phase == corev1.ClaimBound
	if !status {
		return nil
	}
	patch, err := json.Marshal(map[string]any{"status": map[string]any{
		"capacity": map[string]string{"storage": resource.NewQuantity(grown.LV.Size, resource.BinarySI).String()}, "conditions": nil,
	}})
	if err != nil {
		return fmt.Errorf("grow %s: %w", v, err)
	}
	_, err = a.client.CoreV1().PersistentVolumeClaims(claim.Namespace).Patch(ctx, claim.Name, types.MergePatchType, patch, metav1.PatchOptions{}, "status")
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("show the size of claim %s/%s: %w", claim.Namespace, claim.Name, err)
	}
	return nil
}

// boundClaim returns the claim that the PV is bound to, or nil.
func (a *Agent) boundClaim(v Volume, pv *corev1.PersistentVolume) (*corev1.PersistentVolumeClaim, error) {
	ref := pv.Spec.ClaimRef
	if ref == nil || ref.UID == "" {
		return nil, nil
	}
	claim, err := a.claims.PersistentVolumeClaims(ref.Namespace).Get(ref.Name)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read claim %s/%s: %w", ref.Namespace, ref.Name, err)
	}
	if claim.UID != ref.UID || claim.DeletionTimestamp != nil || claim.Spec.VolumeName != pv.Name || v.Tags.Claim != claim.Name {
		return nil, nil
	}
	return claim, nil
}

// showSize raises the PV's capacity to the volume's size.
func (a *Agent) showSize(ctx context.Context, v Volume, pv *corev1.PersistentVolume) error {
	if v.Tags.Growing || pv.Spec.Capacity.Storage().Value() >= v.LV.Size {
		return nil
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": pv.UID}, // this object and no later one
		"spec":     map[string]any{"capacity": map[string]string{"storage": resource.NewQuantity(v.LV.Size, resource.BinarySI).String()}},
	})
	if err != nil {
		return fmt.Errorf("show the size of PV %s: %w", pv.Name, err)
	}
	_, err = a.client.CoreV1().PersistentVolumes().Patch(ctx, pv.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		a.Wake()
		return nil
	}
	if err != nil {
		return fmt.Errorf("show the size of PV %s: %w", pv.Name, err)
	}
	return nil
}
