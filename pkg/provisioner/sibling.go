package provisioner

import (
	"github.com/berth-dev/berth/pkg/lvm"
	"github.com/berth-dev/berth/pkg/volume"
)

// noSibling holds invariant I4 on the disks themselves: whoever sent the claim here
// knows the group by a report that may be older than the disks that are in it now.
func (a *Agent) noSibling(vg lvm.VG, t volume.Tags) error {
	for _, o := range Survey(&lvm.Report{VGs: []lvm.VG{vg}}) {
		if o.Err == nil && o.Tags.State == volume.Ready && !t.Member.IsZero() && o.Tags.Claim != t.Claim &&
			o.Tags.Namespace == t.Namespace && o.Tags.Member.StatefulSet == t.Member.StatefulSet {
			return siblingHere(t, o, a.node)
		}
	}
	return nil
}
