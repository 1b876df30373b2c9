package provisioner

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"

	"github.com/berth-dev/berth/pkg/lvm"
	"github.com/berth-dev/berth/pkg/lvm/lvmtest"
	"github.com/berth-dev/berth/pkg/volume"
)

// cutShort is a deletion whose agent was killed between the disk and the API: the
// volume is in the trash, and its PV of policy Delete still stands.
func (f *fixture) cutShort() (corev1.PersistentVolume, *lvmtest.Volume) {
	f.t.Helper()
	pv := f.deletable("data-galera-0")
	lv := f.lv(pv)
	if err := f.agent.Delete(f.t.Context(), &pv); err != nil {
		f.t.Fatal(err)
	}
	return pv, lv
}

// serves says whether the volume is out of the trash with its data, and its one PV is
// reserved for whichever claim of that name comes next.
func (f *fixture) serves(lv *lvmtest.Volume) bool {
	f.t.Helper()
	pv := f.onePV()
	return f.stateOf(lv) == volume.Ready && lv.Data && lv.Formats == 1 && lv.Name == volume.LVName("db", "data-galera-0") &&
		pv.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimRetain && pv.Spec.ClaimRef.Name == "data-galera-0" && pv.Spec.ClaimRef.UID == ""
}

func (f *fixture) onePVOf(claim string) corev1.PersistentVolume {
	f.t.Helper()
	pvs := slices.DeleteFunc(f.pvs(), func(pv corev1.PersistentVolume) bool {
		return pv.Spec.ClaimRef == nil || pv.Spec.ClaimRef.Name != claim
	})
	if len(pvs) != 1 {
		f.t.Fatalf("%d PVs of %s, want 1", len(pvs), claim)
	}
	return pvs[0]
}

func (f *fixture) stateOf(lv *lvmtest.Volume) volume.State {
	f.t.Helper()
	tags, err := volume.DecodeTags(lv.Tags)
	if err != nil {
		f.t.Fatal(err)
	}
	return tags.State
}

// Until a person speaks, a volume in the trash stays there, also when its PV does.
func TestRetainedInTrash(t *testing.T) {
	f := newFixture(t)
	pv, lv := f.cutShort()
	f.pass()
	if state := f.stateOf(lv); state != volume.Trash {
		t.Fatalf("with a PV of policy Delete: %s", state)
	}
	pv.Spec.PersistentVolumeReclaimPolicy = corev1.PersistentVolumeReclaimRetain
	f.update(&pv)
	f.pass() // takes it out
	f.pass() // publishes it
	if !f.serves(lv) {
		t.Errorf("volume %+v, PV %+v", lv, f.onePV())
	}
	f.wantEvent("VolumeKept", "policy is Retain again")
}

// What is in the trash is not the claim's where something else is, or may be.
func TestRetainedInTrashAndAnother(t *testing.T) {
	for name, other := range map[string]func(f *fixture) (named string){
		"made since": func(f *fixture) string { f.mustProvision("data-galera-0"); return "berth/" },
		"unfinished": func(f *fixture) string {
			lv := f.add("half", 1)
			lv.Tags[slices.Index(lv.Tags, volume.StateTag(volume.Ready))] = volume.StateTag(volume.Creating)
			return "berth/half"
		},
		"elsewhere": func(f *fixture) string { pv := f.elsewhere("far", 1, ""); return pv.Name },
		"above it":  func(f *fixture) string { f.elsewhere("far", 2, ""); return "has generation 2" },
		"given up": func(f *fixture) string {
			claim := f.claim("data-galera-0", "10Mi")
			claim.Annotations = map[string]string{volume.AnnotationAbandoned: "1"}
			if _, err := f.client.CoreV1().PersistentVolumeClaims("db").Update(f.t.Context(), claim, metav1.UpdateOptions{}); err != nil {
				f.t.Fatal(err)
			}
			return "gave up generation 1"
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			pv, lv := f.cutShort()
			f.sync()
			named := other(f)
			pv.Spec.PersistentVolumeReclaimPolicy = corev1.PersistentVolumeReclaimRetain
			f.update(&pv)
			f.pass()
			if state := f.stateOf(lv); state != volume.Trash {
				t.Errorf("beside another volume of its claim: %s", state)
			}
			f.wantEvent(CodeRetainedInTrash, pv.Name, lv.UUID, named)
		})
	}
}

// Nor where a sibling has moved in meanwhile: one disk would take both (I4).
func TestRetainedInTrashBesideASibling(t *testing.T) {
	f := newFixture(t)
	pv, lv := f.cutShort()
	f.mustProvision("data-galera-1")
	sibling := f.onePVOf("data-galera-1").Annotations[volume.AnnotationLVUUID]
	pv.Spec.PersistentVolumeReclaimPolicy = corev1.PersistentVolumeReclaimRetain
	f.update(&pv)
	f.pass()
	if state := f.stateOf(lv); state != volume.Trash || lv.Active {
		t.Errorf("beside a sibling: %s, active %t", state, lv.Active)
	}
	f.wantEvent(CodeRetainedInTrash, pv.Name, lv.UUID, sibling)
}

// What is not, by the API server's own word, a volume that was released and is to be
// retained stays where it is; and what is being wiped cannot be had back.
func TestRetainedInTrashIsLeft(t *testing.T) {
	for name, prepare := range map[string]func(f *fixture, pv *corev1.PersistentVolume, lv *lvmtest.Volume){
		"being wiped": func(f *fixture, _ *corev1.PersistentVolume, lv *lvmtest.Volume) {
			lv.Tags[slices.Index(lv.Tags, volume.StateTag(volume.Trash))] = volume.StateTag(volume.Wiping)
		},
		"two of it": func(f *fixture, pv *corev1.PersistentVolume, _ *lvmtest.Volume) {
			second := pv.DeepCopy()
			second.Name, second.UID = "second", "second"
			f.make(second)
			f.sync()
		},
		"to be deleted again": func(f *fixture, pv *corev1.PersistentVolume, _ *lvmtest.Volume) { // unseen
			pv.Spec.PersistentVolumeReclaimPolicy = corev1.PersistentVolumeReclaimDelete
			if _, err := f.client.CoreV1().PersistentVolumes().Update(f.t.Context(), pv, metav1.UpdateOptions{}); err != nil {
				f.t.Fatal(err)
			}
		},
		"another object": func(f *fixture, pv *corev1.PersistentVolume, _ *lvmtest.Volume) { // unseen
			if err := f.client.CoreV1().PersistentVolumes().Delete(f.t.Context(), pv.Name, metav1.DeleteOptions{}); err != nil {
				f.t.Fatal(err)
			}
			pv.UID = "another"
			f.make(pv)
		},
		"in use": func(f *fixture, pv *corev1.PersistentVolume, _ *lvmtest.Volume) {
			pv.Status.Phase = corev1.VolumeBound
			f.update(pv)
		},
		"silent API": func(f *fixture, _ *corev1.PersistentVolume, _ *lvmtest.Volume) {
			f.client.PrependReactor("get", "persistentvolumes", func(clienttesting.Action) (bool, runtime.Object, error) {
				return true, nil, apierrors.NewTimeoutError("no answer", 1)
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			pv, lv := f.cutShort()
			pv.Spec.PersistentVolumeReclaimPolicy = corev1.PersistentVolumeReclaimRetain
			f.update(&pv)
			prepare(f, &pv, lv)
			before := f.stateOf(lv)
			for range 2 {
				_ = f.agent.Pass(t.Context()) // what it says is not in question here
			}
			if state := f.stateOf(lv); state != before || !lv.Data || len(lv.Wiped) > 0 || len(f.disk.Volumes()) != 1 {
				t.Errorf("%s, and was %s: %+v", state, before, lv)
			}
		})
	}
}

func (f *fixture) make(pv *corev1.PersistentVolume) {
	f.t.Helper()
	if _, err := f.client.CoreV1().PersistentVolumes().Create(f.t.Context(), pv, metav1.CreateOptions{}); err != nil {
		f.t.Fatal(err)
	}
}

// undelete takes back the word that the volume is to be deleted, or does nothing.
func TestUndeleteBeforeThePVIsGone(t *testing.T) {
	f := newFixture(t)
	pv, lv := f.cutShort()
	refuse := true
	f.client.PrependReactor("patch", "persistentvolumes", func(clienttesting.Action) (bool, runtime.Object, error) {
		return refuse, nil, apierrors.NewServiceUnavailable("injected")
	})
	if _, err := Undelete(t.Context(), lvm.New(f.disk), f.client, "db/data-galera-0"); err == nil || !strings.Contains(err.Error(), "it is in the trash as before: set PersistentVolume "+pv.Name) {
		t.Errorf("the API server refuses: %v", err)
	}
	if state := f.stateOf(lv); state != volume.Trash {
		t.Errorf("the API server refused, and the volume is %s", state)
	}
	refuse = false
	if _, err := Undelete(t.Context(), lvm.New(f.disk), f.client, "db/data-galera-0"); err != nil {
		t.Fatal(err)
	}
	if err := f.agent.Delete(t.Context(), &pv); err == nil || !strings.Contains(err.Error(), "its policy is not Delete") {
		t.Errorf("what is left of the deletion: %v", err)
	}
	f.pass()
	if !f.serves(lv) {
		t.Errorf("volume %+v, PV %+v", lv, f.onePV())
	}
}
