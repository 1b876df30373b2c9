package provisioner

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"

	"github.com/berth-dev/berth/pkg/lvm/lvmtest"
	"github.com/berth-dev/berth/pkg/volume"
)

// A volume that nobody asks for is counted and said once, and never touched.
func TestOrphans(t *testing.T) {
	f := newFixture(t)
	used := f.mustProvision("data-galera-0")
	tags := volume.Tags{
		Namespace: "db", Claim: "data-galera-1", Class: "berth", FSType: "ext4", FSUUID: "fs", State: volume.Creating, Generation: 1, APIServer: "api",
	}
	f.disk.Add("berth", lvmtest.Volume{Name: volume.LVName("db", "data-galera-1"), Extents: 2, Tags: tags.Encode()})
	tags.Claim, tags.State = "data-galera-0", volume.Superseded
	old := f.disk.Add("berth", lvmtest.Volume{Extents: 3, Tags: tags.Encode()})
	old.Name = volume.SupersededName(old.UUID)
	before := len(f.disk.Volumes())
	count := func(kind orphanKind) float64 {
		return testutil.ToFloat64(f.agent.metrics.orphans.WithLabelValues("berth", string(kind)))
	}

	f.pass()
	if count(orphanUnmade) != 1 || count(orphanOld) != 1 || count(orphanWaiting) != 0 {
		t.Errorf("unfinished %v, superseded %v, retained %v", count(orphanUnmade), count(orphanOld), count(orphanWaiting))
	}
	if got := testutil.ToFloat64(f.agent.metrics.orphanBytes.WithLabelValues("berth", string(orphanOld))); got != 3*lvmtest.ExtentSize {
		t.Errorf("superseded bytes: %v", got)
	}
	if said := f.said(); len(said) != 2 {
		t.Errorf("events: %q", said)
	}
	f.pass()
	if said := f.said(); len(said) != 0 {
		t.Errorf("said again: %q", said)
	}

	// A claim that is gone is waited for, and after a day it is said.
	f.release(used)
	f.pass()
	pv := f.onePV()
	pv.Status.Phase, pv.Status.LastPhaseTransitionTime = corev1.VolumeAvailable, ptr.To(metav1.NewTime(f.agent.clock.Now().Add(-23*time.Hour)))
	f.update(&pv)
	f.pass()
	if count(orphanWaiting) != 0 {
		t.Error("an orphan before its time")
	}
	pv = f.onePV()
	pv.Status.LastPhaseTransitionTime = ptr.To(metav1.NewTime(f.agent.clock.Now().Add(-25 * time.Hour)))
	f.update(&pv)
	f.said()
	f.pass()
	if count(orphanWaiting) != 1 {
		t.Error("a volume without a claim for more than a day is no orphan")
	}
	f.wantEvent(CodeOrphan, "db/data-galera-0", "make the claim again")
	if n := len(f.disk.Volumes()); n != before {
		t.Errorf("%d volumes, there were %d", n, before)
	}
}

// What a volume waited for its PV, failed attempts included, is measured.
func TestAdoptionSeconds(t *testing.T) {
	f := newFixture(t)
	f.mustProvision("data-galera-0")
	f.wipeAPI()
	f.start(f.calls)
	down := true
	f.client.PrependReactor("create", "persistentvolumes", func(clienttesting.Action) (bool, runtime.Object, error) {
		return down, nil, apierrors.NewTimeoutError("no answer", 1)
	})
	if err := f.agent.Pass(t.Context()); err == nil {
		t.Fatal("published without an API server")
	}
	f.agent.clock.(*clocktesting.FakeClock).Step(3 * time.Second)
	down = false
	f.pass()
	for range 2 { // and once only
		f.pass()
	}
	var got dto.Metric
	if err := f.agent.metrics.adoption.Write(&got); err != nil {
		t.Fatal(err)
	}
	if h := got.GetHistogram(); h.GetSampleCount() != 1 || h.GetSampleSum() != 3 {
		t.Errorf("%d adoptions in %v s, want 1 in 3", h.GetSampleCount(), h.GetSampleSum())
	}
}
