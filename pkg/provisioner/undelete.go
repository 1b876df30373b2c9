package provisioner

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/berth-dev/berth/pkg/lvm"
	"github.com/berth-dev/berth/pkg/volume"
)

// Undelete takes a claim's volume, or the one with this LV UUID, out of the trash
// of this machine. It works on the disks alone; the agent publishes the volume
// in its next pass. The caller holds the lock of the machine's links, so that no
// agent begins to wipe meanwhile.
func Undelete(ctx context.Context, system *lvm.System, which string) (Volume, error) {
	report, err := system.Report(ctx)
	if err != nil {
		return Volume{}, err
	}
	all := Survey(report)
	v, err := inTrash(all, which)
	if err != nil {
		return v, fmt.Errorf("undelete %s: %w", which, err)
	}
	for _, o := range all {
		if o.LV.UUID != v.LV.UUID && !o.Tags.State.Deleted() && o.Tags.State != volume.Superseded &&
			(o.LV.Name == volume.LVName(v.Tags.Namespace, v.Tags.Claim) || o.Tags.Namespace == v.Tags.Namespace && o.Tags.Claim == v.Tags.Claim) {
			return v, fmt.Errorf("undelete %s: claim %s/%s has another volume now, %s, which would be hidden by it: delete that one first", v, v.Tags.Namespace, v.Tags.Claim, o)
		}
	}
	off := append(v.Tags.Retirement.Encode(), volume.StateTag(volume.Trash))
	if err := system.SwapTags(ctx, v.VG, v.LV, off, []string{volume.StateTag(volume.Ready)}); err != nil {
		return v, fmt.Errorf("undelete %s: %w", v, err)
	}
	v.Tags.State, v.Tags.Retirement = volume.Ready, volume.Retirement{}
	// The tags decide; the name is for people, and no reason to fail.
	err = system.Rename(ctx, v.VG, v.LV, volume.LVName(v.Tags.Namespace, v.Tags.Claim))
	if err != nil && !errors.Is(err, lvm.ErrExists) {
		return v, fmt.Errorf("undelete %s: it is out of the trash and keeps its name %s: %w", v, strconv.Quote(v.LV.Name), err)
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
