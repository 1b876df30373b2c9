package provisioner

import (
	"context"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/berth-dev/berth/pkg/lvm/lvmtest"
	"github.com/berth-dev/berth/pkg/volume"
)

// What users of other provisioners have reported (test/provisioning has the list),
// played in the world of the random sequences: with scheduler, PV controller and
// several machines.

// fleet is a world in which each member is bound, on a machine of its own, and has
// written. It returns the LV UUID of each claim's volume.
func fleet(t *testing.T) (*world, map[string]string) {
	t.Helper()
	w := newWorld(t, fake.NewClientset(), 1)
	t.Cleanup(w.end)
	homes := map[string]string{}
	for _, name := range claimNames[:3] {
		w.makeClaimOf(name, 2)
	}
	w.work()
	for _, m := range w.machines {
		for _, v := range m.survey(w) {
			homes[v.Tags.Claim] = v.LV.UUID
		}
		for _, v := range m.disk.Volumes() {
			v.Data = true
		}
	}
	w.wantHomes(homes)
	return w, homes
}

// work lets everybody work in turn until nothing is left to do.
func (w *world) work() {
	w.t.Helper()
	for range 6 {
		w.round()
		if w.judge(); w.problem != "" {
			w.t.Fatal(w.problem)
		}
	}
}

// round lets everybody work once, in turn.
func (w *world) round() {
	w.controlPVs()
	for _, name := range claimNames {
		w.schedule(name, nil)
	}
	for _, m := range w.machines {
		for _, p := range slices.Clone(m.agents) {
			w.sync(p, nil)
			w.serve(p, nil)
			w.pass(p, nil)
		}
	}
}

// wantHomes fails unless each claim is bound to its own volume, which was
// formatted once, and no other volume is there.
func (w *world) wantHomes(homes map[string]string) {
	w.t.Helper()
	n := 0
	for _, m := range w.machines {
		for _, v := range m.disk.Volumes() {
			if n++; v.Formats != 1 {
				w.t.Errorf("%s on %s was formatted %d times", v.Name, m, v.Formats)
			}
		}
	}
	if n != len(homes) {
		w.t.Errorf("%d volumes, want %d", n, len(homes))
	}
	for claim, uuid := range homes {
		if c := w.claim(claim); c == nil || c.Spec.VolumeName != volume.PVName(uuid) {
			w.t.Errorf("claim %s is not bound to its volume %s: %+v", claim, uuid, c)
		}
	}
}

// comeHome applies the manifests anew, and wants each claim in its own volume.
func (w *world) comeHome(homes map[string]string) {
	w.t.Helper()
	w.remake()
	w.work()
	w.wantHomes(homes)
}

// remake deletes all claims and makes them again, as who applies the manifests anew.
func (w *world) remake() {
	for _, name := range claimNames[:3] {
		if w.claim(name) != nil {
			w.must(w.api.tracker.Delete(claimResource, "db", name))
		}
		w.makeClaimOf(name, 2)
	}
}

// Scenarios 2 and 7: etcd is lost, and the machines come back with new names, two
// of them with each other's. The volumes follow the disks.
func TestNamesSwappedAfterTheAPIWasLost(t *testing.T) {
	w, homes := fleet(t)
	for _, m := range w.machines {
		w.powerOff(m)
	}
	w.machines[0].node, w.machines[1].node = w.machines[1].node, w.machines[0].node
	w.machines[2].node = "installed-anew"
	w.wipe()
	for _, m := range w.machines {
		w.powerOn(m)
	}
	w.comeHome(homes)
}

// Scenario 32 and the moved disks of issue 5: the machine is dead, its disks are
// put into a spare one.
func TestDisksInASpareMachine(t *testing.T) {
	w, homes := fleet(t)
	dead, spare := w.machines[0], w.machines[3]
	w.powerOff(dead)
	w.powerOff(spare)
	dead.disk.Swap(spare.disk)
	w.powerOn(spare)
	w.comeHome(homes)
}

// Scenario 8: a new machine under the old name, with a blank group. The member
// waits, and its reason names what is missing.
func TestNewMachineUnderTheOldName(t *testing.T) {
	w, homes := fleet(t)
	m := w.machines[0]
	w.powerOff(m)
	old := m.disk
	m.disk = lvmtest.NewDisk(0)
	m.disk.NumberFrom(9000)
	m.disk.AddGroup("vg0", 24, "pool")
	w.powerOn(m)
	w.remake()
	for range 6 { // work would miss the old disks
		w.round()
	}
	if n := len(m.disk.Volumes()); n != 0 {
		t.Errorf("%d blank volumes on the new machine", n)
	}
	var lost string
	for claim, uuid := range homes {
		if slices.ContainsFunc(old.Volumes(), func(v *lvmtest.Volume) bool { return v.UUID == uuid }) {
			lost = claim
		}
	}
	if c := w.claim(lost); c.Annotations[annSelectedNode] != "" {
		t.Errorf("claim %s is sent to %s", lost, c.Annotations[annSelectedNode])
	}
	w.powerOff(m)
	m.disk = old // the right disks are put in
	w.powerOn(m)
	w.work()
	w.wantHomes(homes)
}

// Scenario 10: kubectl delete node, and the node joins again.
func TestNodeObjectDeleted(t *testing.T) {
	w, homes := fleet(t)
	for _, m := range w.machines[:3] {
		w.must(w.client.CoreV1().Nodes().Delete(context.Background(), m.node, metav1.DeleteOptions{}))
	}
	for _, m := range w.machines[:3] { // the agents outlive it
		w.sync(m.agents[0], nil)
		w.pass(m.agents[0], nil)
		w.join(m)
	}
	w.comeHome(homes)
}

// Scenario 11: every object of ours is deleted, the class too, and made again.
func TestOurObjectsDeleted(t *testing.T) {
	w, homes := fleet(t)
	sc, err := w.client.StorageV1().StorageClasses().Get(context.Background(), "berth", metav1.GetOptions{})
	w.must(err)
	w.must(w.client.StorageV1().StorageClasses().Delete(context.Background(), "berth", metav1.DeleteOptions{}))
	for _, c := range w.capacityObjects() {
		w.must(w.api.tracker.Delete(capacityResource, c.Namespace, c.Name))
	}
	w.work()
	sc.ResourceVersion = ""
	_, err = w.client.StorageV1().StorageClasses().Create(context.Background(), sc, metav1.CreateOptions{})
	w.must(err)
	w.comeHome(homes)
}

// Scenario 12: an API server that knows of nothing, and years. Nothing is removed.
func TestNothingIsRemovedForEver(t *testing.T) {
	w, homes := fleet(t)
	w.wipe()
	for range 200 {
		w.clock.Step(30 * 24 * time.Hour)
		for _, m := range w.machines {
			w.sync(m.agents[0], nil)
			w.pass(m.agents[0], nil)
			w.deletes(m.agents[0], nil)
		}
	}
	w.comeHome(homes)
}

// Scenario 5: the volume is removed behind a living PV, and another one takes its
// name. The PV's path leads nowhere, and nothing is formatted.
func TestImposter(t *testing.T) {
	f := newFixture(t)
	f.mustProvision("data-galera-0")
	f.pass()
	old := f.oneLV()
	f.disk.Drop(old)
	imposter := f.disk.Add("berth", lvmtest.Volume{Name: old.Name, Extents: old.Extents, Active: true})
	f.pass()
	device := "/dev/mapper/berth-" + "berth--" + old.Name[len("berth-"):]
	if f.links.Points(old.UUID, device) || f.links.Points(imposter.UUID, device) {
		t.Errorf("a link leads to the imposter")
	}
	if imposter.Formats != 0 || f.onePV().Spec.Local.Path != f.links.Path(old.UUID) {
		t.Errorf("imposter %+v, PV %+v", imposter, f.onePV().Spec.Local)
	}
}

// Scenario 21: the agent is killed between lvcreate and the PV, and the claim is
// deleted meanwhile. The volume is found, shown as unfinished, and finished when
// the claim comes again.
func TestKilledBetweenVolumeAndPV(t *testing.T) {
	for _, at := range []int{6, 8, 10} { // before, in and after mkfs, see the record of calls
		w := newWorld(t, fake.NewClientset(), 1)
		claimed(w)
		w.at, w.wrong = at, dieAfter
		serve(w)
		unclaimed(w)
		w.work()
		all := w.machines[0].survey(w)
		if len(all) != 1 || all[0].Err != nil || all[0].Tags.Claim != theClaim {
			t.Fatalf("killed at call %d: %+v", at, all)
		}
		claimed(w)
		w.work()
		w.wantHomes(map[string]string{theClaim: all[0].LV.UUID})
		w.end()
	}
}

// Scenario 14: two agents of one machine, as in a rolling update, serve the same
// claim at every moment of each other's work.
func TestTwoAgentsServeOneClaim(t *testing.T) {
	for at := 1; ; at++ {
		w := newWorld(t, fake.NewClientset(), 1)
		claimed(w)
		first, second := w.home(), w.startAgent(w.machines[0])
		c := w.claim(theClaim)
		ctx := first.gate.arm(at, goOn)
		first.gate.during = func() {
			_ = w.provision(second.gate.arm(0, goOn), second, c) // may meet the first one's work half done
			second.gate.disarm()
		}
		_ = w.provision(ctx, first, c)
		met := first.gate.disarm()
		w.work()
		w.converge()
		if n := len(w.machines[0].disk.Volumes()); n != 1 || w.problem != "" {
			t.Errorf("call %d: %d volumes, %s", at, n, w.problem)
		}
		w.end()
		if !met {
			if at < 8 {
				t.Errorf("only %d calls: this shows little", at)
			}
			return
		}
	}
}
