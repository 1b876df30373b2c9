package provisioner

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v10/controller"

	"github.com/berth-dev/berth/pkg/lvm"
	"github.com/berth-dev/berth/pkg/lvm/lvmtest"
	"github.com/berth-dev/berth/pkg/volume"
)

// add puts a ready volume of claim data-galera-0 on the disk, with data in it.
func (f *fixture) add(name string, generation int) *lvmtest.Volume {
	tags := volume.Tags{
		Namespace: "db", Claim: "data-galera-0", Member: volume.Member{StatefulSet: "galera", Replicas: 3}, Class: "berth",
		FSType: "ext4", FSUUID: "fs-" + name, State: volume.Ready, Generation: generation, APIServer: "api-old",
	}
	return f.disk.Add("berth", lvmtest.Volume{Name: name, Extents: 3, FSExtents: 3, FSType: "ext4", FSUUID: "fs-" + name, Data: true, Tags: tags.Encode()})
}

// elsewhere shows the PV of a volume of claim data-galera-0 on another node.
func (f *fixture) elsewhere(name string, generation int, claimUID types.UID) corev1.PersistentVolume {
	f.t.Helper()
	lv := lvm.LV{UUID: "LV-" + name, Name: name, Size: 3 * lvmtest.ExtentSize}
	v := Volume{VG: lvm.VG{UUID: "VG-far", Name: "berth", Seqno: 1}, LV: lv, Tags: volume.Tags{
		Namespace: "db", Claim: "data-galera-0", Class: "berth", FSType: "ext4", FSUUID: "fs-" + name, State: volume.Ready, Generation: generation, APIServer: "api-old",
	}}
	pv := f.agent.persistentVolume(v)
	pv.UID, pv.Spec.ClaimRef.UID = types.UID("uid-"+name), claimUID
	got, err := f.client.CoreV1().PersistentVolumes().Create(f.t.Context(), pv, metav1.CreateOptions{})
	if err != nil {
		f.t.Fatal(err)
	}
	f.sync()
	return *got
}

func stateOfLV(v *lvmtest.Volume) volume.State {
	tags, err := volume.DecodeTags(v.Tags)
	if err != nil {
		return volume.State(err.Error())
	}
	return tags.State
}

func (f *fixture) kept(volumes ...*lvmtest.Volume) {
	f.t.Helper()
	for _, v := range volumes {
		if !slices.Contains(f.disk.Volumes(), v) || !v.Data || v.Formats != 0 {
			f.t.Errorf("volume %s was touched: %+v", v.Name, v)
		}
	}
	if bad := f.disk.Violations(); len(bad) > 0 {
		f.t.Error(bad)
	}
}

// Of two volumes of one claim on a machine the higher generation is served; the
// other one is fenced, kept and said, and stays so.
func TestHigherGenerationIsServed(t *testing.T) {
	f := newFixture(t)
	low, high := f.add("low", 1), f.add("high", 2)
	low.Active = true
	f.pass()
	f.pass()
	if pv := f.onePV(); pv.Annotations[volume.AnnotationLVUUID] != high.UUID || pv.Annotations[volume.AnnotationGeneration] != "2" {
		t.Errorf("published: %v", pv.Annotations)
	}
	if stateOfLV(low) != volume.Superseded || low.Name != volume.SupersededName(low.UUID) || low.Active {
		t.Errorf("the lower generation: %+v", low)
	}
	f.wantEvent(CodeSuperseded, low.UUID, high.UUID, "lvm-provisioner adopt "+low.UUID)
	if len(f.capacities()) == 0 {
		t.Error("the volume group counts as not reported")
	}
	f.kept(low, high)
}

// The same when the other volume is on another node, as after abandon and the
// return of the old node, with or without the API's memory.
func TestHigherGenerationElsewhere(t *testing.T) {
	f := newFixture(t)
	low := f.add("low", 1)
	f.pass()
	high := f.elsewhere("high", 2, "")
	f.pass()
	f.pass()
	if pv := f.onePV(); pv.Name != high.Name {
		t.Errorf("PV %s, want only that of the higher generation", pv.Name)
	}
	if stateOfLV(low) != volume.Superseded {
		t.Errorf("state %s", stateOfLV(low))
	}
	f.wantEvent(CodeSuperseded, low.UUID, high.Name)
	f.kept(low)
}

// A volume in use is not taken away from under its user, whatever is said of it.
func TestSupersededInUse(t *testing.T) {
	t.Run("open", func(t *testing.T) {
		f := newFixture(t)
		low := f.add("low", 1)
		f.pass()
		low.Open = true
		f.elsewhere("high", 2, "")
		f.pass()
		if stateOfLV(low) != volume.Ready || !low.Active {
			t.Errorf("%+v", low)
		}
		f.wantEvent(CodeSupersededInUse, low.UUID)
	})
	t.Run("bound", func(t *testing.T) {
		f := newFixture(t)
		f.mustProvision("data-galera-0")
		f.elsewhere("high", 2, "")
		f.pass()
		if stateOfLV(f.oneLV()) != volume.Ready || !f.oneLV().Active {
			t.Errorf("%+v", f.oneLV())
		}
		f.wantEvent(CodeSupersededInUse, "claim bound")
	})
	t.Run("about to be bound", func(t *testing.T) { // random sequences, seed 123
		f := newFixture(t)
		claim := f.mustProvision("data-galera-0")
		claim.Annotations[volume.AnnotationAbandoned] = "1"
		if _, err := f.client.CoreV1().PersistentVolumeClaims("db").Update(t.Context(), claim, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		f.sync()
		if err := f.indexes[0].Replace(nil, ""); err != nil { // the watch lags
			t.Fatal(err)
		}
		if err := f.agent.Pass(t.Context()); err == nil || !strings.Contains(err.Error(), "has not seen yet") {
			t.Errorf("a PV that was not seen: %v", err)
		}
		f.pass()
		if stateOfLV(f.oneLV()) != volume.Ready || !f.oneLV().Active {
			t.Errorf("%+v", f.oneLV())
		}
		f.wantEvent(CodeSupersededInUse, "claim bound")
	})
	t.Run("silent API", func(t *testing.T) {
		f := newFixture(t)
		low := f.add("low", 1)
		f.pass()
		f.elsewhere("high", 2, "")
		f.agent.run, f.agent.lvm = f.calls, lvm.New(&lvmtest.Faults{Next: f.disk, At: 2})
		if err := f.agent.Pass(t.Context()); err == nil {
			t.Error("no error although lvm gave no answer")
		}
		f.pass()
		f.pass()
		if stateOfLV(low) != volume.Superseded {
			t.Errorf("did not converge: %s", stateOfLV(low))
		}
		f.kept(low)
	})
}

// Of equal generations neither is given to the claim, until a person names one.
func TestEqualGenerations(t *testing.T) {
	here := func(t *testing.T, writers int) {
		f := newFixture(t)
		f.agent.writers = writers
		a, b := f.add("a", 1), f.add("b", 1)
		f.pass()
		if n := len(f.pvs()); n != 0 {
			t.Errorf("%d PVs of volumes that nobody can tell apart", n)
		}
		said := strings.Join(f.said(), "\n")
		for _, part := range []string{CodeVolumeAmbiguous, a.UUID, b.UUID, "lvm-provisioner adopt"} {
			if !strings.Contains(said, part) {
				t.Errorf("events do not say %q: %s", part, said)
			}
		}
		if len(f.capacities()) != 0 {
			t.Error("free space is offered while the claim's data is hidden")
		}
		f.adopt(b.UUID)
		f.pass()
		f.pass()
		if pv := f.onePV(); pv.Annotations[volume.AnnotationLVUUID] != b.UUID || pv.Spec.ClaimRef.UID != "" {
			t.Errorf("published: %+v", pv)
		}
		if stateOfLV(a) != volume.Superseded {
			t.Errorf("the other one: %s", stateOfLV(a))
		}
		f.kept(a, b)
		f.adopt(a.UUID) // and back
		f.pass()
		f.pass()
		if stateOfLV(a) != volume.Ready || stateOfLV(b) != volume.Superseded {
			t.Errorf("%s and %s", stateOfLV(a), stateOfLV(b))
		}
		f.kept(a, b)
	}
	t.Run("here", func(t *testing.T) { here(t, DefaultWriters) })
	// One of the two is shown before the other one is fenced, in the same pass.
	t.Run("here, one after the other", func(t *testing.T) { here(t, 1) })
	t.Run("elsewhere", func(t *testing.T) {
		f := newFixture(t)
		here := f.add("here", 1)
		f.pass()
		far := f.elsewhere("far", 1, withheld)
		f.pass()
		i := slices.IndexFunc(f.pvs(), func(pv corev1.PersistentVolume) bool { return pv.Name == volume.PVName(here.UUID) })
		if i < 0 || f.pvs()[i].Spec.ClaimRef.UID != withheld {
			t.Errorf("the claim could be given one of the two: %+v", f.pvs())
		}
		f.wantEvent(CodeVolumeAmbiguous, here.UUID, far.Name)
		claim := f.claim("data-galera-0", "10Mi")
		if _, err := f.provision(claim); err == nil || !strings.Contains(err.Error(), "neither") {
			t.Errorf("provisioned: %v", err)
		}
		// The one elsewhere is fenced by its own agent, which takes its PV away.
		f.adopt(here.UUID)
		if err := f.client.CoreV1().PersistentVolumes().Delete(t.Context(), far.Name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		f.pass()
		if pv := f.onePV(); pv.Spec.ClaimRef.UID != "" || pv.Annotations[volume.AnnotationGeneration] != "2" {
			t.Errorf("after adopt: %+v", pv)
		}
		f.kept(here)
	})
	t.Run("seen second", func(t *testing.T) {
		f := newFixture(t)
		f.elsewhere("far", 1, "")
		here := f.add("here", 1)
		f.pass()
		i := slices.IndexFunc(f.pvs(), func(pv corev1.PersistentVolume) bool { return pv.Name == volume.PVName(here.UUID) })
		if i < 0 || f.pvs()[i].Spec.ClaimRef.UID != withheld {
			t.Errorf("the other agent does not learn of it: %+v", f.pvs())
		}
	})
}

func (f *fixture) adopt(which string) {
	f.t.Helper()
	system := lvm.New(f.disk)
	plan, err := PlanAdopt(f.t.Context(), system, f.client, which)
	if err != nil {
		f.t.Fatal(err)
	}
	if err := plan.Adopt(f.t.Context(), system, f.client); err != nil {
		f.t.Fatal(err)
	}
}

// Adopt refuses with the reason, and planning changes nothing.
func TestAdoptRefuses(t *testing.T) {
	f := newFixture(t)
	a, b := f.add("a", 1), f.add("b", 1)
	refused := func(which, want string) {
		t.Helper()
		before := strings.Join(append(slices.Clone(a.Tags), b.Tags...), ",")
		if _, err := PlanAdopt(t.Context(), lvm.New(f.disk), f.client, which); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("adopt %s: %v, want %q", which, err, want)
		}
		if after := strings.Join(append(slices.Clone(a.Tags), b.Tags...), ","); after != before {
			t.Errorf("a plan changed the tags: %s", after)
		}
	}
	refused("berth/none", "0 volumes")
	b.Open = true
	refused("berth/a", "is in use")
	b.Open = false
	f.disk.LosePV("berth", 1)
	refused("berth/a", "missing")
	f.disk.LosePV("berth", 0)
	claim := f.claim("data-galera-0", "10Mi")
	far := f.elsewhere("far", 7, claim.UID)
	refused("berth/a", "bound to another volume, PersistentVolume "+far.Name)
	if err := f.client.CoreV1().PersistentVolumes().Delete(t.Context(), far.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	f.elsewhere("far", 7, "")
	plan, err := PlanAdopt(t.Context(), lvm.New(f.disk), f.client, a.UUID)
	if err != nil || plan.Generation != 8 || len(plan.Others) != 2 {
		t.Errorf("plan %+v, %v; want generation 8 over two others", plan, err)
	}
	single := newFixture(t)
	one := single.add("one", 1)
	if _, err := PlanAdopt(t.Context(), lvm.New(single.disk), single.client, one.UUID); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("nothing to decide: %v", err)
	}
}

// A claim whose data is elsewhere gets no volume here; one that was given up
// gets one of the next generation.
func TestProvisionAsksForOthers(t *testing.T) {
	f := newFixture(t)
	claim := f.claim("data-galera-0", "10Mi")
	far := f.elsewhere("far", 3, "uid-of-a-former-claim")
	state, err := f.provision(claim)
	if r, ok := isReason(err); !ok || r.Code != CodeElsewhere || state != stateOf(err) || len(f.disk.Volumes()) != 0 {
		t.Errorf("%v, %v, %d volumes", state, err, len(f.disk.Volumes()))
	}
	far.Annotations[volume.AnnotationAbandoned] = "3"
	f.update(&far)
	if _, err := f.provision(claim); err != nil {
		t.Fatal(err)
	}
	if tags, err := volume.DecodeTags(f.oneLV().Tags); err != nil || tags.Generation != 4 {
		t.Errorf("generation %d, %v; want 4", tags.Generation, err)
	}
}

// A volume of the claim that no watch has shown yet keeps a blank one from being made,
// also in the place of one that a crash left unfinished.
func TestProvisionAsksTheAPIServer(t *testing.T) {
	for name, half := range map[string]bool{"none there": false, "one unfinished": true} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			claim := f.claim("data-galera-0", "10Mi")
			if half {
				f.start(&lvmtest.Faults{Next: f.calls, At: 4})
				if _, err := f.provision(claim); err == nil || stateOfLV(f.oneLV()) != volume.Creating {
					t.Fatalf("the fault went unnoticed: %v", err)
				}
				f.start(f.calls)
			}
			volumes := len(f.disk.Volumes())
			far := f.elsewhere("far", 3, "")
			if err := f.indexes[0].Delete(&far); err != nil {
				t.Fatal(err)
			}
			class, err := f.agent.classes.Get("berth")
			if err != nil {
				t.Fatal(err)
			}
			_, state, err := f.agent.Provision(t.Context(), controller.ProvisionOptions{StorageClass: class, PVC: claim})
			if err == nil || !strings.Contains(err.Error(), far.Name) || state != controller.ProvisioningFinished {
				t.Errorf("%v, %v", state, err)
			}
			if n := len(f.disk.Volumes()); n != volumes || half && stateOfLV(f.oneLV()) != volume.Creating {
				t.Errorf("%d volumes, %d before", n, volumes)
			}
			_, err = f.provision(claim) // when it is seen
			if r, ok := isReason(err); !ok || r.Code != CodeElsewhere || len(f.disk.Volumes()) != volumes {
				t.Errorf("when it is seen: %v, %d volumes", err, len(f.disk.Volumes()))
			}
		})
	}
}

// PersistentVolumes that do not name their claim, as older agents made them, come to.
func TestPassNamesTheClaim(t *testing.T) {
	f := newFixture(t)
	claim := f.mustProvision("data-galera-0")
	pv := f.onePV()
	want := volume.LVName(claim.Namespace, claim.Name)
	if pv.Labels[volume.LabelClaim] != want {
		t.Fatalf("labels %v of a new one", pv.Labels)
	}
	pv.Labels = map[string]string{"theirs": "stays"}
	f.update(&pv)
	f.pass()
	if pv := f.onePV(); pv.Labels[volume.LabelClaim] != want || pv.Labels["theirs"] != "stays" {
		t.Errorf("labels %v after a pass", pv.Labels)
	}
	f.writes()
	f.pass()
	if writes := f.writes(); len(writes) > 0 {
		t.Errorf("writes of a pass after it: %q", writes)
	}
}

// Claims of one name in two namespaces have nothing in common, nor has what another
// provisioner made for a claim of this name.
func TestSameNameInTwoNamespaces(t *testing.T) {
	f := newFixture(t)
	other := f.add("other", 1)
	tags, err := volume.DecodeTags(other.Tags)
	if err != nil {
		t.Fatal(err)
	}
	tags.Namespace = "shop"
	other.Tags, other.Name = tags.Encode(), volume.LVName("shop", tags.Claim)
	f.pass()
	foreign := f.onePV()
	foreign.Name, foreign.UID, foreign.Spec.ClaimRef.Namespace = "foreign", "foreign", "db"
	foreign.Annotations = map[string]string{annProvisionedBy: "example.com/other"}
	f.make(&foreign)
	f.mustProvision(tags.Claim)
	f.pass()
	for _, v := range Survey(mustReport(t, f.disk)) {
		if pv := f.pvOf(v.LV.UUID); v.Tags.State != volume.Ready || pv == nil || pv.Spec.ClaimRef.Namespace != v.Tags.Namespace {
			t.Errorf("%s of %s/%s is %s, its PV %+v", v, v.Tags.Namespace, v.Tags.Claim, v.Tags.State, pv)
		}
	}
	if n := len(f.disk.Volumes()); n != 2 {
		t.Errorf("%d volumes", n)
	}
	if said := f.said(); slices.ContainsFunc(said, func(e string) bool { return strings.HasPrefix(e, corev1.EventTypeWarning) }) {
		t.Errorf("said: %q", said)
	}
	f.kept(other)
}

func mustReport(t *testing.T, disk *lvmtest.Disk) *lvm.Report {
	t.Helper()
	report, err := lvm.New(disk).Report(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return report
}
