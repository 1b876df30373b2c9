package provisioner

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/berth-dev/berth/pkg/lvm"
	"github.com/berth-dev/berth/pkg/lvm/lvmtest"
	"github.com/berth-dev/berth/pkg/volume"
)

// deletable provisions a claim, puts a user's data on its volume, has a person
// set the PV's policy to Delete, and deletes the claim.
func (f *fixture) deletable(name string) corev1.PersistentVolume {
	f.t.Helper()
	claim := f.mustProvision(name)
	pvs := f.pvs()
	i := slices.IndexFunc(pvs, func(pv corev1.PersistentVolume) bool { return pv.Spec.ClaimRef.UID == claim.UID })
	pv := pvs[i]
	pv.UID = "uid-of-" + claim.UID
	pv.Spec.PersistentVolumeReclaimPolicy = corev1.PersistentVolumeReclaimDelete
	f.update(&pv)
	f.lv(pv).Data = true
	f.release(claim)
	f.pass() // which must not reserve it again
	got, err := f.client.CoreV1().PersistentVolumes().Get(f.t.Context(), pv.Name, metav1.GetOptions{})
	if err != nil {
		f.t.Fatal(err)
	}
	return *got
}

func (f *fixture) lv(pv corev1.PersistentVolume) *lvmtest.Volume {
	f.t.Helper()
	for _, v := range f.disk.Volumes() {
		if v.UUID == pv.Annotations[volume.AnnotationLVUUID] {
			return v
		}
	}
	f.t.Fatalf("no volume of PV %s", pv.Name)
	return nil
}

// deleted does what the library does around Delete.
func (f *fixture) deleted(pv corev1.PersistentVolume) error {
	f.sync()
	if err := f.agent.Delete(f.t.Context(), &pv); err != nil {
		return err
	}
	err := f.client.CoreV1().PersistentVolumes().Delete(f.t.Context(), pv.Name, metav1.DeleteOptions{})
	f.sync()
	return err
}

func (f *fixture) elapse(d time.Duration) { f.agent.clock.(*clocktesting.FakeClock).Step(d) }

// A deleted volume is kept, comes back with its data, or is wiped as its class
// says when its time is over.
func TestTrash(t *testing.T) {
	for wipe, programs := range map[string][]string{
		"": {"wipefs"}, "none": nil, "signatures": {"wipefs"}, "discard": {"blkdiscard"}, "zero": {"blkdiscard"},
	} {
		t.Run("wipe="+wipe, func(t *testing.T) {
			f := newFixture(t)
			f.setParameter(paramWipe, wipe)
			pv := f.deletable("data-galera-0")
			lv := f.lv(pv)
			for range 2 { // a repeated Delete is harmless
				if err := f.agent.Delete(t.Context(), &pv); err != nil {
					t.Fatal(err)
				}
			}
			if err := f.deleted(pv); err != nil {
				t.Fatal(err)
			}
			f.elapse(DefaultTrashKeep - time.Minute)
			f.pass()
			if lv.Name != volume.TrashName(lv.UUID) || lv.Active || len(f.pvs()) != 0 || f.links.Points(lv.UUID, "/dev/mapper/berth-"+lv.Name) {
				t.Fatalf("in the trash: %+v, %d PVs", lv, len(f.pvs()))
			}
			f.elapse(2 * time.Minute)
			f.calls.Take()
			f.pass()
			if calls := f.calls.Take(); len(lv.Wiped) > 0 || len(f.disk.Volumes()) != 1 || !slices.ContainsFunc(calls, func(c string) bool { return strings.Contains(c, "--addtag berth.dev/state=wiping") }) {
				t.Fatalf("wiped with %v in the pass that marks: %q", lv.Wiped, calls)
			}
			f.pass()
			if n := len(f.disk.Volumes()); n != 0 || !slices.Equal(lv.Wiped, programs) {
				t.Errorf("%d volumes left, wiped with %v, want %v", n, lv.Wiped, programs)
			}
			if zero := strings.Contains(strings.Join(f.calls.Take(), "\n"), "--zeroout --offset 0 --length 12582912 "); zero != (wipe == "zero") {
				t.Errorf("zeroed: %t", zero)
			}
			if bad := f.disk.Violations(); len(bad) > 0 {
				t.Error(bad)
			}
		})
	}
}

func (f *fixture) setParameter(key, value string) {
	f.t.Helper()
	if value == "" {
		return
	}
	sc, err := f.client.StorageV1().StorageClasses().Get(f.t.Context(), "berth", metav1.GetOptions{})
	if err != nil {
		f.t.Fatal(err)
	}
	sc.Parameters[key] = value
	if _, err := f.client.StorageV1().StorageClasses().Update(f.t.Context(), sc, metav1.UpdateOptions{}); err != nil {
		f.t.Fatal(err)
	}
}

func TestUndelete(t *testing.T) {
	f := newFixture(t)
	pv := f.deletable("data-galera-0")
	lv, name := f.lv(pv), f.lv(pv).Name
	if err := f.deleted(pv); err != nil {
		t.Fatal(err)
	}
	system := lvm.New(f.disk)
	if _, err := Undelete(t.Context(), system, nil, "db/data-galera-1"); !errors.Is(err, lvm.ErrNotFound) {
		t.Errorf("a volume that is not there: %v", err)
	}
	if _, err := Undelete(t.Context(), system, nil, "db/data-galera-0"); err != nil {
		t.Fatal(err)
	}
	f.elapse(2 * DefaultTrashKeep)
	f.pass()
	if ref := f.onePV().Spec.ClaimRef; ref.Name != "data-galera-0" || ref.UID != "" || lv.Name != name || !lv.Data || lv.Formats != 1 {
		t.Errorf("volume %+v, reserved for %+v", lv, ref)
	}

	// The claim has another volume meanwhile: two with one key are not made.
	g := newFixture(t)
	if err := g.deleted(g.deletable("data-galera-0")); err != nil {
		t.Fatal(err)
	}
	g.mustProvision("data-galera-0")
	if _, err := Undelete(t.Context(), lvm.New(g.disk), g.client, "db/data-galera-0"); err == nil || !strings.Contains(err.Error(), "has another volume now") {
		t.Errorf("got %v", err)
	}
}

// A crash before and after each command between deadline and end: what is wiped was
// marked before, a marked volume is never had back, adopted or published, not even
// when the API has lost everything, and its wiping goes on.
func TestWipingIsMarkedFirst(t *testing.T) {
	for _, commits := range []bool{false, true} {
		for n := 1; ; n++ {
			f := newFixture(t)
			f.setParameter(paramWipe, "zero")
			pv := f.deletable("data-galera-0")
			if err := f.deleted(pv); err != nil {
				t.Fatal(err)
			}
			lv, faults := f.oneLV(), &lvmtest.Faults{Next: f.disk, At: n, Commits: commits}
			f.start(faults)
			f.elapse(DefaultTrashKeep + time.Hour)
			for range 2 { // marks, and wipes
				f.sync()
				_ = f.agent.Pass(t.Context()) // may meet the fault
			}
			if marked := slices.Contains(lv.Tags, volume.StateTag(volume.Wiping)); marked {
				f.refuseMarked(lv)
			} else if len(lv.Wiped) > 0 || len(f.disk.Volumes()) == 0 {
				t.Fatalf("call %d: wiped without a mark: %+v", n, lv)
			}
			f.start(f.disk)
			f.elapse(DefaultTrashKeep + time.Hour) // the clock is new as well
			f.pass()
			f.pass()
			if len(f.disk.Volumes()) != 0 || len(f.disk.Violations()) != 0 || len(f.pvs()) != 0 {
				t.Fatalf("call %d: %d volumes, %v, %d PVs", n, len(f.disk.Volumes()), f.disk.Violations(), len(f.pvs()))
			}
			if faults.Calls() < n {
				if n < 6 {
					t.Fatalf("only %d commands are run, so this test would show nothing", n)
				}
				break
			}
		}
	}
}

// refuseMarked asks everybody who could bring a marked volume back. Its device does
// not answer meanwhile, so that it stays.
func (f *fixture) refuseMarked(lv *lvmtest.Volume) {
	f.t.Helper()
	if len(f.disk.Volumes()) == 0 {
		return // it was the last command that went wrong
	}
	lv.Unreadable = true
	f.wipeAPI()
	f.start(f.disk)
	f.sync()
	if err := f.agent.Pass(f.t.Context()); err == nil || !strings.Contains(err.Error(), "wipe berth/"+lv.Name) {
		f.t.Errorf("a pass over a device that does not answer: %v", err)
	}
	if n := len(f.pvs()); n != 0 {
		f.t.Errorf("%d PVs of a volume that is being wiped", n)
	}
	for _, which := range []string{"db/data-galera-0", lv.UUID} {
		if _, err := Undelete(f.t.Context(), lvm.New(f.disk), nil, which); err == nil || !strings.Contains(err.Error(), "is being wiped since") {
			f.t.Errorf("undelete %s: %v", which, err)
		}
	}
	if _, err := PlanAdopt(f.t.Context(), lvm.New(f.disk), f.client, lv.UUID); err == nil || !strings.Contains(err.Error(), "is being wiped since") {
		f.t.Errorf("adopt: %v", err)
	}
	if !slices.Contains(lv.Tags, volume.StateTag(volume.Wiping)) {
		f.t.Errorf("the mark is gone: %v", lv.Tags)
	}
	lv.Unreadable = false
}

// A claim that is made again while its former volume is being wiped gets a new one.
func TestClaimBesideAMarkedVolume(t *testing.T) {
	f := newFixture(t)
	if err := f.deleted(f.deletable("data-galera-0")); err != nil {
		t.Fatal(err)
	}
	old := f.oneLV()
	f.retag(old, "berth.dev/state=", string(volume.Wiping))
	old.Unreadable = true
	f.mustProvision("data-galera-0")
	if pv := f.onePV(); pv.Annotations[volume.AnnotationLVUUID] == old.UUID || len(f.disk.Volumes()) != 2 {
		t.Errorf("PV %+v, %d volumes", pv, len(f.disk.Volumes()))
	}
}

// Scenarios 10 to 12, 22, 28 and 33: whatever is missing, unreadable or does not
// match, the volume stays as it is.
func TestDeleteWantsProof(t *testing.T) {
	broken := func(verb, resource string) func(f *fixture, pv *corev1.PersistentVolume) {
		return func(f *fixture, _ *corev1.PersistentVolume) {
			f.client.PrependReactor(verb, resource, func(clienttesting.Action) (bool, runtime.Object, error) {
				return true, nil, errors.New("connection refused")
			})
		}
	}
	live := func(change func(pv *corev1.PersistentVolume)) func(f *fixture, pv *corev1.PersistentVolume) {
		return func(f *fixture, pv *corev1.PersistentVolume) {
			next := pv.DeepCopy()
			change(next)
			f.update(next)
		}
	}
	for name, c := range map[string]struct {
		prepare func(f *fixture, pv *corev1.PersistentVolume)
		want    string
	}{
		"PV object is gone": {func(f *fixture, pv *corev1.PersistentVolume) {
			_ = f.client.CoreV1().PersistentVolumes().Delete(f.t.Context(), pv.Name, metav1.DeleteOptions{})
		}, "not found"},
		"PV made again":             {func(_ *fixture, pv *corev1.PersistentVolume) { pv.UID = "another" }, "another object"},
		"PV cannot be read":         {broken("get", "persistentvolumes"), "connection refused"},
		"claim cannot be read":      {broken("get", "persistentvolumeclaims"), "connection refused"},
		"class cannot be read":      {broken("get", "storageclasses"), "connection refused"},
		"API server without a name": {broken("get", "namespaces"), "connection refused"},
		"class is gone": {func(f *fixture, _ *corev1.PersistentVolume) {
			_ = f.client.StorageV1().StorageClasses().Delete(f.t.Context(), "berth", metav1.DeleteOptions{})
		}, "make it again"},
		"policy is Retain by now": {live(func(pv *corev1.PersistentVolume) {
			pv.Spec.PersistentVolumeReclaimPolicy = corev1.PersistentVolumeReclaimRetain
		}), "policy is not Delete"},
		"released by nobody":      {live(func(pv *corev1.PersistentVolume) { pv.Spec.ClaimRef = nil }), "not released by a claim"},
		"released and taken back": {live(func(pv *corev1.PersistentVolume) { pv.Spec.ClaimRef.UID = "" }), "not released by a claim"},
		"bound again":             {live(func(pv *corev1.PersistentVolume) { pv.Status.Phase = corev1.VolumeBound }), "not released"},
		"not ours":                {live(func(pv *corev1.PersistentVolume) { pv.Annotations[annProvisionedBy] = "other" }), "does not say that it is ours"},
		"another LV now":          {live(func(pv *corev1.PersistentVolume) { pv.Annotations[volume.AnnotationLVUUID] = "x" }), "stands for another"},
		"claim is there": {func(f *fixture, pv *corev1.PersistentVolume) {
			claim := f.claim("data-galera-0", "10Mi")
			pv.Spec.ClaimRef.UID = claim.UID
			f.update(pv)
		}, "still exists"},
		"no such LV":          {func(f *fixture, pv *corev1.PersistentVolume) { f.lv(*pv).UUID = "LV9999" }, "does not prove"},
		"in use":              {func(f *fixture, pv *corev1.PersistentVolume) { f.lv(*pv).Open = true }, "in use"},
		"tags unreadable":     {func(f *fixture, pv *corev1.PersistentVolume) { f.lv(*pv).Tags[0] = "berth.dev/schema=9" }, "cannot be read"},
		"disk missing":        {func(f *fixture, _ *corev1.PersistentVolume) { f.disk.LosePV("berth", 1) }, "missing"},
		"another file system": {func(f *fixture, pv *corev1.PersistentVolume) { pv.Annotations[volume.AnnotationFSUUID] = "x" }, "another volume group or file system"},
		"another group":       {func(f *fixture, pv *corev1.PersistentVolume) { pv.Annotations[volume.AnnotationVGUUID] = "x" }, "another volume group or file system"},
		"another namespace's": {func(f *fixture, pv *corev1.PersistentVolume) { f.retag(f.lv(*pv), "berth.dev/namespace=", "shop") }, "belongs to claim shop/"},
		"lvm does not answer": {func(f *fixture, _ *corev1.PersistentVolume) {
			f.agent.lvm = lvm.New(&lvmtest.Faults{Next: f.disk, At: 1})
		}, "unknown"},
		"outlived its API":   {func(f *fixture, pv *corev1.PersistentVolume) { f.retag(f.lv(*pv), "berth.dev/api-server=", "other") }, "outlived"},
		"belongs to another": {func(f *fixture, pv *corev1.PersistentVolume) { f.retag(f.lv(*pv), "berth.dev/claim=", "data-galera-7") }, "belongs to claim"},
		"still being made":   {func(f *fixture, pv *corev1.PersistentVolume) { f.retag(f.lv(*pv), "berth.dev/state=", "creating") }, "creating"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			pv := f.deletable("data-galera-0")
			lv := f.oneLV()
			c.prepare(f, &pv)
			tags := slices.Clone(lv.Tags)
			if err := f.agent.Delete(t.Context(), &pv); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if f.oneLV() != lv || !slices.Equal(lv.Tags, tags) || lv.FSUUID == "" {
				t.Errorf("the volume was touched: %+v", lv)
			}
		})
	}
}

func (f *fixture) retag(v *lvmtest.Volume, prefix, value string) {
	f.t.Helper()
	for i, tag := range v.Tags {
		if strings.HasPrefix(tag, prefix) {
			v.Tags[i] = prefix + value
		}
	}
}

func TestDeleteConfirmed(t *testing.T) {
	f := newFixture(t)
	pv := f.deletable("data-galera-0")
	f.retag(f.lv(pv), "berth.dev/api-server=", "other")
	pv.Annotations[volume.AnnotationConfirmDelete] = f.lv(pv).UUID
	if err := f.agent.Delete(t.Context(), &pv); err != nil {
		t.Error(err)
	}
}

func TestTrashCeiling(t *testing.T) {
	f := newFixture(t)
	f.agent.trashPolicy.PerHour = 2
	var refused int
	for _, name := range []string{"data-galera-0", "scratch-1", "scratch-2"} {
		pv := f.deletable(name)
		err := f.deleted(pv)
		if r, ok := isReason(err); ok && r.Code == CodeTrashCeiling {
			refused++
			f.elapse(61 * time.Minute)
			err = f.deleted(pv)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if refused != 1 {
		t.Errorf("%d refused by the ceiling, want the third", refused)
	}
}

// For every command that fails, before or after its effect, the agent starting
// anew or not: the volume ends in the trash, once, and leaves it wiped.
func TestTrashConvergesAfterEveryFault(t *testing.T) {
	for _, commits := range []bool{false, true} {
		for n := 1; ; n++ {
			f := newFixture(t)
			pv := f.deletable("data-galera-0")
			faults := &lvmtest.Faults{Next: f.disk, At: n, Commits: commits}
			f.start(faults)
			err := f.deleted(pv)
			if err != nil {
				f.start(f.disk)
				if err := f.deleted(pv); err != nil {
					t.Fatalf("call %d: again: %v", n, err)
				}
			}
			f.elapse(DefaultTrashKeep + time.Hour)
			for range 2 { // marks, and wipes
				f.sync()
				_ = f.agent.Pass(t.Context()) // may meet the fault
			}
			f.start(f.disk)
			f.elapse(DefaultTrashKeep + time.Hour) // the clock is new as well
			f.pass()
			f.pass()
			if len(f.disk.Volumes()) != 0 || len(f.disk.Violations()) != 0 {
				t.Fatalf("call %d: %d volumes, %v", n, len(f.disk.Volumes()), f.disk.Violations())
			}
			if faults.Calls() < n {
				if n < 10 {
					t.Fatalf("only %d commands are run, so this test would show nothing", n)
				}
				break
			}
		}
	}
}
