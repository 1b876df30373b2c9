package provisioner

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/berth-dev/berth/pkg/lvm"
	"github.com/berth-dev/berth/pkg/lvm/lvmtest"
	"github.com/berth-dev/berth/pkg/volume"
)

// unhealthy are the agent's counts of volumes that are not healthy.
func (f *fixture) unhealthy(health string) (of float64, others int) {
	all := f.agent.metrics.unhealthy
	others = testutil.CollectAndCount(all)
	if health == "" {
		return 0, others
	}
	return testutil.ToFloat64(all.WithLabelValues("berth", health)), others
}

// A raid1 volume that lost a copy is told once, counted, and served as before: after the
// API was wiped as well, when everything about it is decided anew.
func TestDegradedVolumeIsTold(t *testing.T) {
	f := newFixture(t)
	f.mustProvision("data-galera-0")
	f.pass()
	if said := f.said(); len(said) != 0 {
		t.Errorf("of a healthy volume: %q", said)
	}
	before := f.capacities()[0].Capacity.Value()
	lv := f.oneLV()
	lv.Health = lvm.HealthRefresh
	name := "berth/" + lv.Name
	f.writes()
	f.calls.Take()
	f.pass()
	f.wantEvent(CodeDegraded, name+" (db/data-galera-0) on node "+nodeName, `"refresh needed"`, "lvchange --refresh "+name)
	f.pass()
	if said := f.said(); len(said) != 0 {
		t.Errorf("said again: %q", said)
	}
	if calls, writes := f.calls.Take(), f.writes(); len(calls) != 2 || len(writes) != 0 {
		t.Errorf("two passes ran %q and wrote %q", calls, writes)
	}
	if n, _ := f.unhealthy(lvm.HealthRefresh); n != 1 {
		t.Errorf("%v volumes counted", n)
	}

	f.wipeAPI()
	f.start(f.calls)
	f.pass()
	f.wantEvent(CodeDegraded)
	if pv := f.onePV(); pv.Annotations[volume.AnnotationLVUUID] != lv.UUID || !f.links.Points(lv.UUID, lvm.DevicePath("berth", lv.Name)) {
		t.Errorf("the volume is not served: %+v", pv)
	}
	if after := f.capacities(); len(after) != 1 || after[0].Capacity.Value() != before {
		t.Errorf("capacity %+v, before %d", after, before)
	}

	lv.Health = ""
	f.pass()
	if said := f.said(); len(said) != 0 {
		t.Errorf("when it was well again: %q", said)
	}
	if _, n := f.unhealthy(""); n != 0 {
		t.Errorf("%d counts are left", n)
	}
	lv.Health = lvm.HealthMismatches
	f.pass()
	f.wantEvent(CodeDegraded, `"mismatches exist"`, "lvchange --syncaction repair "+name)
}

// A thin volume is as well as its pool; what no claim uses is not told.
func TestDegradedPoolIsToldOfItsVolumes(t *testing.T) {
	f := newFixture(t)
	pool := f.disk.Add("berth", lvmtest.Volume{Name: "pool", Extents: 8, ThinPool: true, Health: lvm.HealthOutOfData})
	tags := volume.Tags{Namespace: "db", Claim: "data-galera-0", Class: "berth", FSType: "ext4", FSUUID: "fs", State: volume.Ready, Generation: 1, APIServer: "api"}
	f.disk.Add("berth", lvmtest.Volume{Name: "thin", Extents: 3, Pool: pool.Name, Layout: lvm.Layout{Type: lvm.Thin}, FSExtents: 3, FSType: "ext4", FSUUID: "fs", Tags: tags.Encode()})
	tags.Claim, tags.State = "data-galera-1", volume.Superseded
	old := f.disk.Add("berth", lvmtest.Volume{Extents: 3, Health: lvm.HealthRefresh, Tags: tags.Encode()})
	old.Name = volume.SupersededName(old.UUID)
	f.pass()
	f.wantEvent(CodeDegraded, "berth/thin (db/data-galera-0)", `lvm calls berth/pool, in which it lives, "out_of_data"`, "lvextend -L +SIZE berth/pool")
	if n, others := f.unhealthy(lvm.HealthOutOfData); n != 1 || others != 1 {
		t.Errorf("%v volumes counted, %d counts", n, others)
	}
}

// A missing disk is one event, however many volumes lie on it and whatever is not done for it.
func TestMissingDiskIsToldOnce(t *testing.T) {
	f := newFixture(t)
	claim := f.mustProvision("data-galera-0")
	f.mustProvision("data-other-0")
	f.elsewhere("far", 7, claim.UID) // the first one would be fenced
	f.disk.LosePV("berth", 1)
	f.pass()
	var partial int
	for _, e := range f.said() {
		if strings.Contains(e, CodeDegraded) {
			t.Errorf("said beside the missing disk: %s", e)
		}
		if strings.Contains(e, CodeVGPartial) {
			partial++
		}
	}
	if partial != 1 {
		t.Errorf("%d events of a missing disk, want 1", partial)
	}
	if n, _ := f.unhealthy(lvm.HealthPartial); n != 2 {
		t.Errorf("%v volumes counted, want 2", n)
	}
	f.pass()
	if said := f.said(); len(said) != 0 {
		t.Errorf("said again: %q", said)
	}
	f.disk.LosePV("berth", 0)
}
