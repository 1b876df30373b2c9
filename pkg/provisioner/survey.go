package provisioner

import (
	"errors"
	"slices"

	"github.com/berth-dev/berth/pkg/lvm"
	"github.com/berth-dev/berth/pkg/volume"
)

// Volume is a logical volume of Berth as found on this machine.
type Volume struct {
	VG   lvm.VG
	LV   lvm.LV
	Tags volume.Tags
	// Err says why the tags, which are Berth's, cannot be read.
	Err error
}

func (v Volume) String() string { return v.VG.Name + "/" + v.LV.Name }

// Survey returns the volumes of Berth in a report and passes over all others.
func Survey(report *lvm.Report) []Volume {
	var found []Volume
	for _, vg := range report.VGs {
		for _, lv := range vg.LVs {
			tags, err := volume.DecodeTags(lv.Tags)
			if len(lv.Tags) == 0 && lv.Err != nil {
				err = lv.Err // a directory of Berth, by its name, whose record cannot be read
			}
			if errors.Is(err, volume.ErrNotBerth) {
				continue
			}
			found = append(found, Volume{VG: vg, LV: lv, Tags: tags, Err: err})
		}
	}
	return found
}

// ofClaim returns the readable volume of a claim: of several that are ready the
// one of the highest generation. A volume that has the claim's name and cannot be
// read may be the claim's data: that is an error, and so is a tie.
func ofClaim(all []Volume, namespace, claim string) ([]Volume, error) {
	var found []Volume
	for _, v := range all {
		switch {
		case v.Err != nil && v.LV.Name == volume.LVName(namespace, claim):
			return nil, tagsUnreadable(v)
		case v.Err == nil && (v.Tags.State.Deleted() || v.Tags.State == volume.Superseded):
			// Kept for people, no claim's any more.
		case v.Err == nil && v.Tags.Namespace == namespace && v.Tags.Claim == claim:
			found = append(found, v)
		}
	}
	slices.SortFunc(found, func(x, y Volume) int { return y.Tags.Generation - x.Tags.Generation })
	switch {
	case len(found) < 2:
		return found, nil
	case found[0].Tags.Generation > found[1].Tags.Generation && !slices.ContainsFunc(found, func(v Volume) bool { return v.Tags.State != volume.Ready }):
		return found[:1], nil
	}
	return nil, volumeAmbiguous(namespace, claim, found)
}

// view is the volume as the API shows it.
func (v Volume) view() volume.Volume {
	return volume.Volume{
		VGUUID: v.VG.UUID, VGName: v.VG.Name, VGSeqno: v.VG.Seqno,
		LVUUID: v.LV.UUID, LVName: v.LV.Name, Tags: v.Tags,
	}
}

// State is the state in the tags, or "unreadable".
func (v Volume) State() string {
	if v.Err != nil {
		return "unreadable"
	}
	return string(v.Tags.State)
}
