package provisioner

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/berth-dev/berth/pkg/lvm"
	"github.com/berth-dev/berth/pkg/volume"
)

// health is what lvm says is wrong with a volume that a claim may be using, and of which
// volume it is said, see lvm.VG.Health; "" is nothing.
func (v Volume) health() (health, of string) {
	if v.Err != nil || v.Tags.State != volume.Ready {
		return "", ""
	}
	return v.VG.Health(v.LV)
}

// sayUnhealthy makes events of missing disks, and of volumes that lvm calls unhealthy. It
// only tells: what is published and offered is not decided here. A volume on a disk that
// is missing is told with the others of its group.
func (a *Agent) sayUnhealthy(node *corev1.Node, vgs []lvm.VG, volumes []Volume) {
	for _, vg := range vgs {
		if vg.MissingPVs > 0 {
			a.notices.say(node, vg.UUID, vgPartial(vg.Name, a.node, vg.MissingPVs))
		}
	}
	for _, v := range volumes {
		health, of := v.health()
		if health == "" || health == lvm.HealthPartial && v.VG.MissingPVs > 0 {
			continue
		}
		a.notices.say(node, v.LV.UUID, degraded(v, a.node, health, of))
	}
}
