package main

import (
	"strings"
	"testing"

	"github.com/berth-dev/berth/pkg/lvm"
)

func TestDoctor(t *testing.T) {
	good := lvm.VG{UUID: "1", Name: "berth", MetadataSize: 1044480, MetadataFree: 519680, PVs: []lvm.PV{{UUID: "p", Name: "/dev/a"}}}
	for name, c := range map[string]struct {
		change func(vg *lvm.VG)
		want   string
	}{
		"healthy":   {func(*lvm.VG) {}, ""},
		"missing":   {func(vg *lvm.VG) { vg.MissingPVs = 1 }, "1 physical volumes are missing"},
		"system ID": {func(vg *lvm.VG) { vg.SystemID = "old" }, "system ID old"},
		"metadata":  {func(vg *lvm.VG) { vg.MetadataFree = 1000 }, "1000 of 1044480 bytes"},
		"duplicate": {func(vg *lvm.VG) { vg.PVs = append(vg.PVs, lvm.PV{UUID: "p", Name: "/dev/b"}) }, "has UUID p, as has /dev/a"},
		"lost copy": {func(vg *lvm.VG) { vg.LVs = []lvm.LV{{Name: "a", Health: lvm.HealthRefresh}} }, `lvm calls it "refresh needed"`},
		"lost disk": {func(vg *lvm.VG) {
			vg.MissingPVs, vg.LVs = 1, []lvm.LV{{Name: "a", Health: lvm.HealthPartial}} // said once, of the group
		}, "1 physical volumes are missing"},
		"thin pool": {func(vg *lvm.VG) { vg.LVs = []lvm.LV{{Name: "pool", Attr: "twi-a-tz--", DataPercent: 91}} }, "data 91%"},
	} {
		vg := good
		c.change(&vg)
		found := examine(&lvm.Report{VGs: []lvm.VG{vg}})
		if c.want == "" && len(found) != 0 || c.want != "" && (len(found) != 1 || !strings.Contains(found[0].Problem, c.want)) {
			t.Errorf("%s: %+v, want %q", name, found, c.want)
		}
	}
	if found := examine(&lvm.Report{VGs: []lvm.VG{good, {UUID: "2", Name: "berth", MetadataFree: 519680}}}); len(found) != 2 {
		t.Errorf("two groups of one name: %+v", found)
	}
}
