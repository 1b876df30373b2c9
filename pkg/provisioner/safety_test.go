package provisioner

import (
	"context"
	"strings"
	"testing"

	"github.com/berth-dev/berth/pkg/lvm"
	"github.com/berth-dev/berth/pkg/lvm/lvmtest"
	"github.com/berth-dev/berth/pkg/volume"
)

// An agent that does not share lvm's locks with its machine writes nothing, and
// serves what is there; it goes on when that is mended.
func TestUnsharedLVM(t *testing.T) {
	f := newFixture(t)
	f.pass()
	first := f.mustProvision("data-galera-0")
	half := volume.Tags{Namespace: "db", Claim: "data-galera-1", Class: "berth", FSType: "ext4", FSUUID: "u", State: volume.Creating, Generation: 1, APIServer: "api"}
	f.disk.Add("berth", lvmtest.Volume{Name: volume.LVName("db", "data-galera-1"), Extents: 3, Tags: half.Encode()})
	gone := volume.Tags{Namespace: "db", Claim: "old", Class: "berth", FSType: "ext4", FSUUID: "u", State: volume.Trash, Generation: 1, APIServer: "api",
		Retirement: volume.Retirement{At: 1, Deadline: 2, Wipe: volume.WipeSignatures}}
	f.disk.Add("berth", lvmtest.Volume{Name: "old", Extents: 3, Tags: gone.Encode()})
	f.disk.PowerCycle()
	f.wipeAPI()

	private := []lvm.Finding{{Subject: "/run/lock/lvm", Problem: "belongs to this container alone", Fix: "mount it"}}
	f.unshared = func(context.Context) []lvm.Finding { return private }
	f.start(f.calls)
	if _, err := f.provision(f.claim("early", "10Mi")); err == nil || !strings.Contains(err.Error(), "not looked at yet") {
		t.Errorf("provision before the first look: %v", err)
	}
	f.calls.Take()
	f.pass()
	f.pass()
	f.wantEvent(CodeLVMNotShared, "/run/lock/lvm belongs to this container alone; mount it", "node n1")
	if pv := f.onePV(); pv.Spec.ClaimRef.Name != first.Name {
		t.Errorf("published %+v", pv.Spec.ClaimRef)
	}
	if lv := f.disk.Volumes()[0]; !lv.Active || !f.links.Points(lv.UUID, "/dev/mapper/berth-"+strings.ReplaceAll(lv.Name, "-", "--")) {
		t.Errorf("the volume is not served: %+v", lv)
	}
	if all := f.capacities(); len(all) != 1 || all[0].Capacity.Value() != 0 {
		t.Errorf("capacity %+v, want a report that has no room", all)
	}
	if _, err := f.provision(f.claim("data-galera-1", "10Mi")); err == nil || !strings.Contains(err.Error(), "nothing is written") {
		t.Errorf("provision of a half-made volume: %v", err)
	}
	claim := f.claim("new", "10Mi")
	state, err := f.provision(claim)
	if r, _ := isReason(err); r.Code != CodeLVMNotShared || state != "Reschedule" {
		t.Errorf("provision: %v, %v", state, err)
	}
	for _, call := range f.calls.Take() {
		if !strings.HasPrefix(call, "report: ") && !strings.HasPrefix(call, "activate: ") && !strings.HasPrefix(call, "probe: ") && !strings.HasPrefix(call, "read: ") {
			t.Errorf("a command that writes: %s", call)
		}
	}

	private = nil
	f.pass()
	if _, err := f.provision(claim); err != nil {
		t.Errorf("after it was mended: %v", err)
	}
	f.pass() // renames and removes what was in the trash
	f.pass()
	if n := len(f.disk.Volumes()); n != 3 {
		t.Errorf("%d volumes, want those of three claims", n)
	}
	f.calls.Take()
	private = []lvm.Finding{{Subject: "lvm", Problem: "was asked again", Fix: "not"}}
	f.pass()
	f.pass()
	if calls := f.calls.Take(); len(calls) != 2 {
		t.Errorf("two idle passes ran %q", calls)
	}
}
