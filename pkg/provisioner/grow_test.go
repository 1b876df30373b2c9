package provisioner

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-dev/berth/pkg/lvm/lvmtest"
	"github.com/berth-dev/berth/pkg/volume"
)

// bound provisions a claim and binds it, as the PV controller does.
func (f *fixture) bound(name string) *corev1.PersistentVolumeClaim {
	f.t.Helper()
	claim := f.mustProvision(name)
	claim.Spec.VolumeName = f.onePV().Name
	claim.Status.Phase = corev1.ClaimBound
	claim.Status.Capacity = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("12Mi")}
	return f.updateClaim(claim)
}

func (f *fixture) updateClaim(claim *corev1.PersistentVolumeClaim) *corev1.PersistentVolumeClaim {
	f.t.Helper()
	got, err := f.client.CoreV1().PersistentVolumeClaims(claim.Namespace).Update(f.t.Context(), claim, metav1.UpdateOptions{})
	if err != nil {
		f.t.Fatal(err)
	}
	return got
}

func (f *fixture) ask(claim *corev1.PersistentVolumeClaim, size string) {
	f.t.Helper()
	claim.Spec.Resources.Requests[corev1.ResourceStorage] = resource.MustParse(size)
	f.updateClaim(claim)
}

// wantSize fails unless volume, file system, PV and claim all have the size.
func (f *fixture) wantSize(claim string, extents int64) {
	f.t.Helper()
	lv, pv := f.oneLV(), f.onePV()
	c, err := f.client.CoreV1().PersistentVolumeClaims("db").Get(f.t.Context(), claim, metav1.GetOptions{})
	if err != nil {
		f.t.Fatal(err)
	}
	want := extents * lvmtest.ExtentSize
	if lv.Extents != extents || lv.FSExtents != extents || pv.Spec.Capacity.Storage().Value() != want || c.Status.Capacity.Storage().Value() != want {
		f.t.Errorf("%d extents, file system %d, PV %s, claim %s; want %d extents", lv.Extents, lv.FSExtents,
			pv.Spec.Capacity.Storage(), c.Status.Capacity.Storage(), extents)
	}
	if lv.Formats != 1 || slices.Contains(lv.Tags, volume.GrowingTag) || f.disk.Mounts() != "" || len(f.disk.Violations()) != 0 {
		f.t.Errorf("formatted %d times, tags %v, mounts %q, violations %v", lv.Formats, lv.Tags, f.disk.Mounts(), f.disk.Violations())
	}
}

// Scenario 27: a claim asks for more while its pod runs.
func TestGrowOnline(t *testing.T) {
	for fsType, c := range map[string]struct {
		ask     string
		extents int64
	}{"ext4": {"39Mi", 10}, "xfs": {"399Mi", 100}} {
		t.Run(fsType, func(t *testing.T) {
			f := newFixtureOf(t, 128)
			f.setParameter(paramFSType, fsType)
			claim := f.bound("data-galera-0")
			lv := f.oneLV()
			lv.Data, lv.Open = true, true
			was := lv.Extents
			f.pass()
			f.ask(claim, "1Gi")
			f.pass()
			f.sync()
			f.wantEvent(CodeVolumeTooSmall, "ask for at most 536870912")
			if f.oneLV().Extents != was {
				t.Error("it grew beyond the volume group")
			}
			f.ask(claim, c.ask)
			f.pass()
			f.wantSize("data-galera-0", c.extents)
			f.pass() // publishes the space that is left
			f.writes()
			f.calls.Take()
			f.pass()
			if w, calls := f.writes(), f.calls.Take(); len(w) != 0 || len(calls) != 1 {
				t.Errorf("a second pass writes %v and runs %v", w, calls)
			}
		})
	}
}

// For every command that fails, with or without effect, and the agent starting
// anew: all sizes agree in the end.
func TestGrowConvergesAfterEveryFault(t *testing.T) {
	for _, commits := range []bool{false, true} {
		for n := 1; ; n++ {
			f := newFixture(t)
			claim := f.bound("data-galera-0")
			f.oneLV().Data, f.oneLV().Open = true, true
			f.pass()
			f.ask(claim, "40Mi")
			faults := &lvmtest.Faults{Next: f.disk, At: n, Commits: commits}
			f.start(faults)
			_ = f.agent.Pass(t.Context()) // may meet the fault
			f.start(f.disk)
			f.pass()
			f.pass()
			f.wantSize("data-galera-0", 10)
			if t.Failed() {
				t.Fatalf("call %d, commits %t", n, commits)
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

// A retained volume that is too small for its claim grows before it is given to
// it, whether its PV is still there or not.
func TestGrowBeforePublish(t *testing.T) {
	for name, lost := range map[string]bool{"PV is there": false, "API was wiped": true} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.release(f.mustProvision("data-galera-0"))
			f.oneLV().Data = true
			if lost {
				f.wipeAPI()
				f.start(f.calls)
			} else {
				f.pass()
			}
			if _, err := f.provision(f.claim("data-galera-0", "40Mi")); err != nil && !strings.Contains(err.Error(), "is reserved for the claim") {
				t.Fatal(err)
			}
			lv := f.oneLV()
			pv := f.onePV()
			if size := pv.Spec.Capacity.Storage().Value(); size != 10*lvmtest.ExtentSize || lv.FSExtents != 10 || lv.Formats != 1 {
				t.Errorf("PV %d, volume %+v", size, lv)
			}
		})
	}
}
