package provisioner

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"

	"github.com/berth-dev/berth/pkg/lvm"
	"github.com/berth-dev/berth/pkg/volume"
)

// siblings answer as they are told.
type siblings struct{ err error }

func (s siblings) WithoutMember(context.Context, string, volume.Member) error { return s.err }

// A claim that the PV controller is about to bind to what is given up is made anew:
// it would be bound to it for good (random sequences, seed 357).
func TestAbandonWhileBeingBound(t *testing.T) {
	f := newFixture(t)
	claim := f.claim("data-galera-0", "10Mi")
	f.elsewhere("far", 1, claim.UID)
	plan, err := PlanAbandon(t.Context(), f.client, siblings{}, "db", "data-galera-0")
	if err != nil {
		t.Fatal(err)
	}
	if err := plan.Do(t.Context(), f.client, "disk is dead"); err != nil {
		t.Fatal(err)
	}
	if pv := f.onePV(); pv.Annotations[volume.AnnotationAbandoned] != "1" {
		t.Errorf("what was given up: %v", pv.Annotations)
	}
	if _, err := f.client.CoreV1().PersistentVolumeClaims("db").Get(t.Context(), "data-galera-0", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the claim: %v", err)
	}
}

// A node is lost. Its member is given up, is made anew in the next generation
// here, and when the old disks come back they are fenced, also when the API has
// forgotten everything in between.
func TestAbandonAndReturn(t *testing.T) {
	f := newFixture(t)
	claim := f.claim("data-galera-0", "10Mi")
	far := f.elsewhere("far", 1, claim.UID)
	claim.Spec.VolumeName = far.Name
	if _, err := f.client.CoreV1().PersistentVolumeClaims("db").Update(t.Context(), claim, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "db", Name: "galera-0", UID: "pod"}}
	if _, err := f.client.CoreV1().Pods("db").Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	f.writes()
	plan, err := PlanAbandon(t.Context(), f.client, siblings{}, "db", "data-galera-0")
	if err != nil {
		t.Fatal(err)
	}
	if writes := f.writes(); len(writes) != 0 || plan.Generation != 1 || plan.Member.StatefulSet != "galera" || len(plan.Volumes) != 1 {
		t.Errorf("a plan wrote %q: %+v", writes, plan)
	}
	for range 2 { // it may be repeated
		if err := plan.Do(t.Context(), f.client, "disk is dead"); err != nil {
			t.Fatal(err)
		}
	}
	f.sync()
	pv := f.onePV()
	if pv.Annotations[volume.AnnotationAbandoned] != "1" || pv.Annotations[volume.AnnotationAbandonedReason] != "disk is dead" {
		t.Errorf("what was given up: %v", pv.Annotations)
	}
	if _, err := f.client.CoreV1().PersistentVolumeClaims("db").Get(t.Context(), "data-galera-0", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the claim that is bound to it: %v", err)
	}
	if _, err := f.client.CoreV1().Pods("db").Get(t.Context(), "galera-0", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the pod: %v", err)
	}

	again := f.mustProvision("data-galera-0")
	made := f.oneLV()
	if tags, err := volume.DecodeTags(made.Tags); err != nil || tags.Generation != 2 {
		t.Fatalf("generation %d, %v", tags.Generation, err)
	}
	f.pass()

	// The old disks return, here to the same machine: one more node with one agent.
	old := f.add("old", 1)
	f.pass()
	f.pass()
	if stateOfLV(old) != volume.Superseded || stateOfLV(made) != volume.Ready {
		t.Errorf("old %s, new %s", stateOfLV(old), stateOfLV(made))
	}
	f.wantEvent(CodeSuperseded, old.UUID)
	f.kept(old)
	if got := f.pvOf(made.UUID); got == nil || got.Spec.ClaimRef.UID != again.UID {
		t.Errorf("the member lost its volume: %+v", got)
	}

	f.wipeAPI()
	f.start(f.calls)
	f.pass()
	if pv := f.onePV(); pv.Annotations[volume.AnnotationLVUUID] != made.UUID {
		t.Errorf("after the API's memory was lost: %v", pv.Annotations)
	}
	f.kept(old)
}

// A volume that was given up and is adopted again is its claim's from then on, also
// before its agent has looked: the scheduler knows it by its PV (random sequences,
// seed 530).
func TestAdoptWhatWasGivenUp(t *testing.T) {
	f := newFixture(t)
	f.release(f.mustProvision("data-galera-0"))
	f.pass()
	plan, err := PlanAbandon(t.Context(), f.client, siblings{}, "db", "data-galera-0")
	if err != nil {
		t.Fatal(err)
	}
	if err := plan.Do(t.Context(), f.client, "disk is dead"); err != nil {
		t.Fatal(err)
	}
	f.pass()
	if state := stateOfLV(f.oneLV()); state != volume.Superseded {
		t.Fatalf("given up: %s", state)
	}
	f.adopt(f.oneLV().UUID)
	if pv := f.onePV(); pv.Annotations[volume.AnnotationGeneration] != "2" || volume.Abandoned(pv.Annotations) != 1 || pv.Spec.ClaimRef.UID == "" {
		t.Errorf("before its agent has looked: %+v", pv)
	}
	f.pass()
	if pv := f.onePV(); pv.Spec.ClaimRef.UID != "" || stateOfLV(f.oneLV()) != volume.Ready {
		t.Errorf("volume %+v, PV %+v", f.oneLV(), pv)
	}

	low := f.oneLV()
	f.client.PrependReactor("patch", "persistentvolumes", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewServiceUnavailable("injected")
	})
	low.Tags = slices.DeleteFunc(low.Tags, func(tag string) bool { return tag == volume.StateTag(volume.Ready) })
	low.Tags = append(low.Tags, volume.StateTag(volume.Superseded))
	again, err := PlanAdopt(t.Context(), lvm.New(f.disk), f.client, low.UUID)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Adopt(t.Context(), lvm.New(f.disk), f.client); err == nil || stateOfLV(low) != volume.Superseded {
		t.Errorf("the API server refuses: %v, %s", err, stateOfLV(low))
	}
}

func (f *fixture) pvOf(lv string) *corev1.PersistentVolume {
	f.t.Helper()
	for _, pv := range f.pvs() {
		if pv.Annotations[volume.AnnotationLVUUID] == lv {
			return &pv
		}
	}
	return nil
}

// The disk of a living node is given up: the same agent fences the volume and
// makes the new one, and its PV, which was reserved, is bound by nobody.
func TestAbandonOnALivingNode(t *testing.T) {
	f := newFixture(t)
	low := f.add("low", 1)
	f.pass()
	plan, err := PlanAbandon(t.Context(), f.client, siblings{}, "db", "data-galera-0")
	if err != nil {
		t.Fatal(err)
	}
	if err := plan.Do(t.Context(), f.client, "file system is damaged"); err != nil {
		t.Fatal(err)
	}
	if ref := f.onePV().Spec.ClaimRef; ref.UID != withheld {
		t.Errorf("the new claim would be bound to what was given up: %+v", ref)
	}
	f.pass()
	if stateOfLV(low) != volume.Superseded {
		t.Errorf("state %s", stateOfLV(low))
	}
	if n := len(f.pvs()); n != 1 {
		t.Errorf("%d PVs: what was given up is forgotten", n)
	}
	f.mustProvision("data-galera-0")
	f.pass()
	f.pass()
	if pv := f.onePV(); pv.Annotations[volume.AnnotationGeneration] != "2" {
		t.Errorf("%v", pv.Annotations)
	}
	f.kept(low)
}

// Only what its own disks know of, after the API's memory was lost: it is written
// on the claim.
func TestAbandonByHome(t *testing.T) {
	f := newFixture(t)
	f.disk.SetTags("berth", volume.HomeTag+"db/data-galera-0:galera:0:3:4:5:VG-b:api-100")
	f.pass()
	claim := f.claim("data-galera-0", "10Mi")
	plan, err := PlanAbandon(t.Context(), f.client, siblings{}, "db", "data-galera-0")
	if err != nil {
		t.Fatal(err)
	}
	if err := plan.Do(t.Context(), f.client, "node is dead"); err != nil {
		t.Fatal(err)
	}
	got, err := f.client.CoreV1().PersistentVolumeClaims("db").Get(t.Context(), claim.Name, metav1.GetOptions{})
	if err != nil || got.Annotations[volume.AnnotationAbandoned] != "4" {
		t.Fatalf("claim %v, %v", got.Annotations, err)
	}
	if _, err := f.provision(got); err != nil {
		t.Fatal(err)
	}
	if tags, err := volume.DecodeTags(f.oneLV().Tags); err != nil || tags.Generation != 5 {
		t.Errorf("generation %d, %v", tags.Generation, err)
	}
}

func TestAbandonRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(f *fixture)
		claim   string
		err     error
		want    string
	}{
		"no majority":   {func(f *fixture) { f.elsewhere("far", 1, "") }, "data-galera-0", errors.New("no majority"), "no majority"},
		"nothing known": {func(*fixture) {}, "data-galera-0", nil, "make the claim first"},
		"its volume is no object": {func(f *fixture) {
			claim := f.claim("data-galera-0", "10Mi")
			claim.Spec.VolumeName = "gone"
			if _, err := f.client.CoreV1().PersistentVolumeClaims("db").Update(f.t.Context(), claim, metav1.UpdateOptions{}); err != nil {
				f.t.Fatal(err)
			}
		}, "data-galera-0", nil, "bound to PersistentVolume gone"},
		"no member": {func(f *fixture) { f.claim("scratch", "10Mi") }, "scratch", nil, "no claim of a StatefulSet's member"},
		"generation damaged": {func(f *fixture) {
			pv := f.elsewhere("far", 1, "")
			pv.Annotations[volume.AnnotationGeneration] = "x"
			f.update(&pv)
		}, "data-galera-0", nil, "berth.dev/generation"},
		"API silent": {func(f *fixture) {
			f.client.PrependReactor("list", "persistentvolumes", func(clienttesting.Action) (bool, runtime.Object, error) {
				return true, nil, apierrors.NewTimeoutError("no answer", 1)
			})
		}, "data-galera-0", nil, "no answer"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			c.prepare(f)
			f.writes()
			if _, err := PlanAbandon(t.Context(), f.client, siblings{c.err}, "db", c.claim); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
			if writes := f.writes(); len(writes) != 0 {
				t.Errorf("wrote %q", writes)
			}
		})
	}
}
