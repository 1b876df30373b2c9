package provisioner

import (
	"context"
	"fmt"

	"k8s.io/klog/v2"

	"github.com/berth-dev/berth/pkg/lvm/filesystem"
	"github.com/berth-dev/berth/pkg/volume"
)

// zeroStep is how much of a volume one pass zeroes: about ten seconds of a slow
// disk, so that other volumes do not wait long.
const zeroStep = 1 << 30

// retire brings a deleted volume further: out of its claim's name, and, after its
// deadline and once no PV stands for it, marked, wiped and removed. A pass that
// marks does not wipe: wiping begins only when a report has shown the mark, so the
// mark is on the disk before the first byte is gone, and a crash at any point ends
// in a volume that can be had back whole, or not at all.
func (a *Agent) retire(ctx context.Context, v Volume, all []Volume) error {
	if v.VG.MissingPVs > 0 || a.safety.refuses() != nil {
		return nil
	}
	if name := volume.TrashName(v.LV.UUID); v.LV.Name != name {
		return a.moveAway(ctx, v, name)
	}
	pvs, err := a.pvsOf(v)
	if err != nil {
		return err
	}
	if len(pvs) > 0 {
		return a.keepRetained(ctx, v, pvs, all)
	}
	if v.Tags.State == volume.Wiping {
		return a.purge(ctx, v)
	}
	if a.clock.Now().Unix() < v.Tags.Retirement.Deadline {
		return nil
	}
	if err := a.lvm.SwapTag(ctx, v.VG, v.LV, volume.StateTag(volume.Trash), volume.StateTag(volume.Wiping)); err != nil {
		return fmt.Errorf("mark %s before it is wiped: %w", v, err)
	}
	klog.FromContext(ctx).Info("A volume's time in the trash is over: it cannot be had back any more", "lv", v.String(), "lvUUID", v.LV.UUID)
	a.Wake()
	return nil
}

// purge does the next step of the wiping of a marked volume, and removes it after
// the last one.
func (a *Agent) purge(ctx context.Context, v Volume) error {
	wiped, err := a.wipe(ctx, v)
	if err != nil {
		return fmt.Errorf("wipe %s (%s): %w", v, v.Tags.Retirement.Wipe, err)
	}
	if !wiped {
		a.Wake()
		return nil
	}
	if err := a.lvm.Remove(ctx, v.VG, v.LV); err != nil {
		return fmt.Errorf("remove %s: %w", v, err)
	}
	delete(a.zeroed, v.LV.UUID)
	klog.FromContext(ctx).Info("Removed a volume whose time in the trash was over", "lv", v.String(), "lvUUID", v.LV.UUID, "wipe", v.Tags.Retirement.Wipe)
	a.Wake()
	return nil
}

// wipe does the next step of the volume's policy and says whether it was the last.
func (a *Agent) wipe(ctx context.Context, v Volume) (done bool, err error) {
	policy := v.Tags.Retirement.Wipe
	if policy == volume.WipeNone || v.VG.Dir != "" { // of a directory no block is seen by the next one
		return true, nil
	}
	if !v.LV.Active {
		if err := a.lvm.Activate(ctx, v.VG, v.LV); err != nil {
			return false, err
		}
	}
	from := a.zeroed[v.LV.UUID]
	length := min(zeroStep, v.LV.Size-from)
	if err := filesystem.Wipe(ctx, a.run, v.LV.Path, policy == volume.WipeDiscard, policy == volume.WipeZero, from, length); err != nil {
		return false, err
	}
	if policy != volume.WipeZero {
		return true, nil
	}
	a.zeroed[v.LV.UUID] = from + length
	return from+length >= v.LV.Size, nil
}
