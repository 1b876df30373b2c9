package lvmtest

import (
	"slices"

	"github.com/berth-dev/berth/pkg/lvm"
)

// health is what lvm says is wrong with a volume whose extents are laid out. The physical
// volumes that are missing are the last ones; a thin volume lies where its pool does.
func (g *group) health(v *Volume) string {
	parts := v.parts
	if i := slices.IndexFunc(g.volumes, func(p *Volume) bool { return p.ThinPool && p.Name == v.Pool }); i >= 0 {
		parts = g.volumes[i].parts
	}
	for i, extents := range parts {
		if extents > 0 && int64(i) >= g.pvs-int64(g.gone()) {
			return lvm.HealthPartial
		}
	}
	return v.Health
}
