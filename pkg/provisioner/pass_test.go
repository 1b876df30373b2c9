package provisioner

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clienttesting "k8s.io/client-go/testing"

	"github.com/berth-dev/berth/pkg/lvm/lvmtest"
	"github.com/berth-dev/berth/pkg/volume"
)

// The API forgets everything and the node boots: each volume is home, published
// and reserved for its claim, and nothing is made, formatted or deleted.
func TestPassAfterTheAPIWasWiped(t *testing.T) {
	f := newFixture(t)
	var want []string
	for n := range 3 {
		name := fmt.Sprintf("scratch-%d", n)
		f.mustProvision(name)
		want = append(want, name)
	}
	before := f.disk.Volumes()
	uuids := map[string]bool{}
	for _, v := range before {
		v.Data = true
		uuids[v.UUID] = true
	}
	f.wipeAPI()
	f.disk.PowerCycle()
	if err := f.links.Keep(nil); err != nil { // a boot empties /dev
		t.Fatal(err)
	}
	f.start(f.calls)
	f.pass()

	var got []string
	for _, pv := range f.pvs() {
		ref := pv.Spec.ClaimRef
		if ref.UID != "" || pv.Spec.StorageClassName != "berth" || pv.Annotations[annProvisionedBy] != volume.Provisioner || !uuids[pv.Annotations[volume.AnnotationLVUUID]] {
			t.Errorf("PV %s: claim %+v, class %s, annotations %v", pv.Name, ref, pv.Spec.StorageClassName, pv.Annotations)
		}
		if pv.Annotations[volume.AnnotationAPIServer] != "api-100" {
			t.Errorf("PV %s does not say that its volume is from another life: %v", pv.Name, pv.Annotations)
		}
		got = append(got, ref.Name)
	}
	if diff := cmp.Diff(want, got); diff != "" && len(got) != 3 {
		t.Errorf("claims with a PV (-want +got)\n%s", diff)
	}
	for _, v := range f.disk.Volumes() {
		if v.Formats != 1 || !v.Active {
			t.Errorf("volume: %+v", v)
		}
	}
	if n := len(f.disk.Volumes()); n != 3 {
		t.Errorf("%d volumes, want 3", n)
	}
	if bad := f.disk.Violations(); len(bad) > 0 {
		t.Error(bad)
	}
}

func TestPassReservesReleased(t *testing.T) {
	f := newFixture(t)
	old := f.mustProvision("data-galera-0")
	f.release(old)
	f.pass()
	pv := f.onePV()
	want := &corev1.ObjectReference{Kind: "PersistentVolumeClaim", APIVersion: "v1", Namespace: "db", Name: "data-galera-0"}
	if diff := cmp.Diff(want, pv.Spec.ClaimRef); diff != "" {
		t.Errorf("claimRef (-want +got)\n%s", diff)
	}
	if _, there := pv.Annotations[annBoundByCtrl]; there {
		t.Error("the PV controller would clear the reservation with the next claim")
	}
}

// A cache may say Released while the claim is there, or there again.
func TestPassReservesOnlyWhenTheClaimIsGone(t *testing.T) {
	f := newFixture(t)
	claim := f.mustProvision("data-galera-0")
	pv := f.onePV()
	pv.Status.Phase = corev1.VolumeReleased
	f.update(&pv)
	f.pass()
	if got := f.onePV().Spec.ClaimRef.UID; got != claim.UID {
		t.Errorf("the PV of a living claim was let go: UID %q", got)
	}

	f.client.PrependReactor("get", "persistentvolumeclaims", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewTimeoutError("no answer", 1)
	})
	if err := f.agent.Pass(t.Context()); err == nil {
		t.Error("no error although the API server gave no answer")
	}
	if got := f.onePV().Spec.ClaimRef.UID; got != claim.UID {
		t.Errorf("no answer was taken for absence: UID %q", got)
	}
}

func TestPassReservesAVolumeOfNobody(t *testing.T) {
	f := newFixture(t)
	f.mustProvision("data-galera-0")
	pv := f.onePV()
	pv.Spec.ClaimRef = nil
	f.update(&pv)
	f.pass()
	if ref := f.onePV().Spec.ClaimRef; ref == nil || ref.Name != "data-galera-0" {
		t.Errorf("claimRef %+v: any claim could take the data", ref)
	}
}

func TestPassIdleCostsOneCommandAndNoWrites(t *testing.T) {
	f := newFixture(t)
	f.mustProvision("data-galera-0")
	sc := storageClass("elsewhere", "not-here") // a standing problem is no work either
	if _, err := f.client.StorageV1().StorageClasses().Create(t.Context(), sc, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	f.pass()
	f.calls.Take()
	f.writes()
	f.said()
	for range 3 {
		f.pass()
		if calls := f.calls.Take(); len(calls) != 1 || !strings.HasPrefix(calls[0], "report: lvm fullreport") {
			t.Errorf("commands: %q", calls)
		}
	}
	if writes := f.writes(); len(writes) != 0 {
		t.Errorf("API writes: %q", writes)
	}
	if said := f.said(); len(said) != 0 {
		t.Errorf("events: %q", said)
	}
}

func TestPassPublishesCapacity(t *testing.T) {
	f := newFixture(t)
	f.pass()
	all := f.capacities()
	if len(all) != 1 {
		t.Fatalf("%d capacity objects, want 1", len(all))
	}
	c := all[0]
	if got := c.Capacity.Value(); got != 64*lvmtest.ExtentSize || c.StorageClassName != "berth" {
		t.Errorf("%d bytes for class %s", got, c.StorageClassName)
	}
	vg := f.disk.VGUUID("berth")
	if c.Annotations[volume.AnnotationNode] != nodeName || c.Annotations[volume.AnnotationVGUUID] != vg || c.NodeTopology.MatchLabels[volume.NodeLabel(vg)] != "true" {
		t.Errorf("capacity: %+v", c)
	}
	seqno, err := strconv.Atoi(c.Annotations[volume.AnnotationVGSeqno])
	if err != nil {
		t.Fatal(err)
	}
	f.mustProvision("data-galera-0")
	f.pass()
	c = f.capacities()[0]
	if got := c.Capacity.Value(); got != 61*lvmtest.ExtentSize {
		t.Errorf("%d bytes after a volume of 3 extents was made", got)
	}
	if after, err := strconv.Atoi(c.Annotations[volume.AnnotationVGSeqno]); err != nil || after <= seqno {
		t.Errorf("seqno %d after %d, %v", after, seqno, err)
	}

	f.disk.LosePV("berth", 1)
	f.pass()
	if got := f.capacities()[0].Capacity.Value(); got != 0 {
		t.Errorf("%d bytes offered in a volume group with a disk missing", got)
	}
}

func TestPassWithoutTheVolumeGroup(t *testing.T) {
	f := newFixture(t)
	if _, err := f.client.StorageV1().StorageClasses().Create(t.Context(), storageClass("fast", "nvme"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	f.pass()
	f.wantEvent(CodeVGMissing, nodeName, `"nvme"`, "vgcreate")
	if all := f.capacities(); len(all) != 1 || all[0].StorageClassName != "berth" {
		t.Errorf("capacity: %+v; the other class must still be served, this one not", all)
	}

	// Withdrawn when the class goes: the statement no longer holds.
	if err := f.client.StorageV1().StorageClasses().Delete(t.Context(), "berth", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	f.pass()
	if all := f.capacities(); len(all) != 0 {
		t.Errorf("capacity of a class that is gone: %+v", all)
	}
}

func TestPassLeavesOtherNodesCapacityAlone(t *testing.T) {
	f := newFixture(t)
	other := &storagev1.CSIStorageCapacity{
		ObjectMeta: metav1.ObjectMeta{Namespace: volume.SystemNamespace, Name: "other", Annotations: map[string]string{volume.AnnotationNode: "n2"}},
	}
	if _, err := f.client.StorageV1().CSIStorageCapacities(volume.SystemNamespace).Create(t.Context(), other, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	f.pass()
	if n := len(f.capacities()); n != 2 {
		t.Errorf("%d capacity objects, want this node's and the other's", n)
	}
}

func TestPassNamesABadClass(t *testing.T) {
	f := newFixture(t)
	bad := storageClass("bad", "berth")
	bad.ReclaimPolicy, bad.Parameters = nil, nil
	if _, err := f.client.StorageV1().StorageClasses().Create(t.Context(), bad, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	f.pass()
	f.wantEvent(CodeClassInvalid, "parameter volumeGroup is missing", "reclaimPolicy must be Retain")
}

// A volume whose content is not what its tags say is not published, and free
// space of its group is not either: its claim would get a blank volume.
func TestPassHidesWhatItCannotVerify(t *testing.T) {
	for name, c := range map[string]struct {
		damage func(v *lvmtest.Volume)
		code   string
	}{
		"another file system": {func(v *lvmtest.Volume) { v.FSUUID = "other" }, CodeContentUnknown},
		"no file system":      {func(v *lvmtest.Volume) { v.FSType, v.FSUUID = "", "" }, CodeContentUnknown},
		"I/O errors":          {func(v *lvmtest.Volume) { v.Unreadable = true }, CodeNotAvailable},
		"tags from elsewhere": {func(v *lvmtest.Volume) { v.Tags[0] = "berth.dev/schema=9" }, CodeTagsUnreadable},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.mustProvision("data-galera-0")
			lv := f.oneLV()
			lv.Data = true
			sound := *lv
			sound.Tags = append([]string(nil), lv.Tags...)
			f.wipeAPI()
			f.disk.PowerCycle()
			c.damage(lv)
			f.start(f.calls)
			f.pass()
			if n := len(f.pvs()); n != 0 {
				t.Errorf("it was published")
			}
			if n := len(f.capacities()); n != 0 {
				t.Errorf("free space was published")
			}
			if f.links.Points(lv.UUID, "/dev/mapper/berth-"+strings.ReplaceAll(lv.Name, "-", "--")) {
				t.Errorf("its link is there")
			}
			f.wantEvent(c.code)
			if bad := f.disk.Violations(); len(bad) > 0 || lv.Formats != 1 {
				t.Errorf("it was formatted: %v", bad)
			}

			*lv = sound // somebody mends it
			f.pass()
			if f.onePV().Spec.ClaimRef.Name != "data-galera-0" || len(f.capacities()) != 1 {
				t.Errorf("it did not come back")
			}
		})
	}
}

// Two volumes that both say they are one claim: neither is chosen.
func TestPassTwoVolumesOfOneClaim(t *testing.T) {
	f := newFixture(t)
	f.mustProvision("data-galera-0")
	copied := *f.oneLV()
	copied.Name = "restored"
	f.disk.Add("berth", copied)
	f.wipeAPI()
	f.start(f.calls)
	f.pass()
	if n := len(f.pvs()) + len(f.capacities()); n != 0 {
		t.Errorf("%d objects published, want none", n)
	}
	for _, e := range f.said() {
		if !strings.Contains(e, CodeVolumeAmbiguous) || !strings.Contains(e, "berth/restored") {
			t.Errorf("event %q", e)
		}
	}
}

func TestPassPVOfAnotherClaim(t *testing.T) {
	f := newFixture(t)
	f.mustProvision("data-galera-0")
	pv := f.onePV()
	pv.Spec.ClaimRef.Name = "data-galera-2"
	f.update(&pv)
	f.pass()
	f.wantEvent(CodePVReservedElse, "db/data-galera-2", "db/data-galera-0", "delete the PersistentVolume object")
	if got := f.onePV().Spec.ClaimRef.Name; got != "data-galera-2" {
		t.Errorf("the PV was changed to %s", got)
	}
}

// lvm giving no answer changes nothing that was published.
func TestPassWithoutAReport(t *testing.T) {
	f := newFixture(t)
	f.mustProvision("data-galera-0")
	f.pass()
	f.writes()
	f.start(&lvmtest.Faults{Next: f.disk, At: 1})
	if err := f.agent.Pass(t.Context()); err == nil {
		t.Error("no error")
	}
	if writes := f.writes(); len(writes) != 0 {
		t.Errorf("API writes: %q", writes)
	}
}

// For every API write of a pass after a wipe that fails: capacity, the marker
// that everything is published, is not there before everything is.
func TestPassConvergesAfterEveryAPIFault(t *testing.T) {
	prepare := func(t *testing.T, at int) (*fixture, *int) {
		f := newFixture(t)
		f.mustProvision("data-galera-0")
		f.mustProvision("scratch")
		f.wipeAPI()
		f.disk.PowerCycle()
		f.start(f.calls)
		n := 0
		f.client.PrependReactor("*", "*", func(action clienttesting.Action) (bool, runtime.Object, error) {
			if verb := action.GetVerb(); verb == "list" || verb == "get" || verb == "watch" {
				return false, nil, nil
			}
			if n++; n != at {
				return false, nil, nil
			}
			return true, nil, apierrors.NewInternalError(fmt.Errorf("injected for %s", schema.GroupResource{Resource: action.GetResource().Resource}))
		})
		return f, &n
	}
	f, count := prepare(t, 0)
	f.pass()
	total := *count
	if total != 4 { // label, two PVs, capacity
		t.Fatalf("%d writes, want 4", total)
	}
	for at := 1; at <= total; at++ {
		f, _ := prepare(t, at)
		if err := f.agent.Pass(t.Context()); err == nil {
			t.Errorf("write %d: the fault went unnoticed", at)
		}
		if len(f.capacities()) > 0 && len(f.pvs()) < 2 {
			t.Errorf("write %d: free space is published and %d of 2 PVs are", at, len(f.pvs()))
		}
		f.pass()
		if len(f.pvs()) != 2 || len(f.capacities()) != 1 {
			t.Errorf("write %d: %d PVs and %d capacities after another pass", at, len(f.pvs()), len(f.capacities()))
		}
	}
}

// Many volumes are probed by one command, and each answer is its own volume's.
func TestManyVolumesFoundAgain(t *testing.T) {
	f := newFixtureOf(t, 200)
	f.pass()
	for i := range manyProbes + 4 {
		f.mustProvision(fmt.Sprintf("claim-%d", i))
	}
	again := func(probes, published int) {
		t.Helper()
		f.wipeAPI()
		f.start(f.calls)
		f.calls.Take()
		f.pass()
		record := f.calls.Take()
		if n := len(slices.DeleteFunc(record, func(call string) bool { return !strings.HasPrefix(call, "probe: ") })); n != probes {
			t.Errorf("%d probes, want %d", n, probes)
		}
		if n := len(f.pvs()); n != published {
			t.Errorf("%d volumes are published, want %d", n, published)
		}
		f.pass()
		if n := len(f.pvs()); n != published {
			t.Errorf("%d volumes are published after another pass, want %d", n, published)
		}
	}
	bad := f.disk.Volumes()[7]
	bad.FSUUID = "another"
	again(1, manyProbes+3)
	f.wantEvent(CodeContentUnknown, bad.Name, "another")
	// What one cannot be read for is found out by asking each.
	f.disk.Volumes()[9].Unreadable = true
	again(1+manyProbes+4, manyProbes+2)
}
