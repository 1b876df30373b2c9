package provisioner

import (
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"

	"github.com/berth-dev/berth/pkg/volume"
)

// An agent that still sees the volumes of an API server that has lost its memory
// publishes no capacity, which would say that all of them are there; it does when its
// watch has caught up (random sequences, seed 569).
func TestNoCapacityForAFormerLife(t *testing.T) {
	f := newFixture(t)
	f.mustProvision("scratch")
	f.wipeAPI()
	volumes := f.indexes[0].List()
	f.start(f.calls)
	if err := f.indexes[0].Replace(volumes, ""); err != nil {
		t.Fatal(err)
	}
	if err := f.agent.Pass(t.Context()); err == nil || !strings.Contains(err.Error(), "is not on the API server") {
		t.Errorf("pass: %v", err)
	}
	if len(f.capacities()) != 0 {
		t.Fatal("capacity is published, and its volume is not")
	}
	f.pass()
	if len(f.pvs()) != 1 || len(f.capacities()) != 1 {
		t.Errorf("%d volumes and %d capacities are published", len(f.pvs()), len(f.capacities()))
	}
}

// An API server that loses its memory in the middle of a pass gets a capacity that
// names the former one, which is no report, and is told anew by the next passes.
func TestCapacityNamesItsAPIServer(t *testing.T) {
	f := newFixture(t)
	f.mustProvision("scratch")
	f.wipeAPI()
	f.start(f.calls)
	lost := false
	f.client.PrependReactor("create", "csistoragecapacities", func(clienttesting.Action) (bool, runtime.Object, error) {
		if lost {
			return false, nil, nil
		}
		lost = true
		tracker := f.client.Tracker()
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: metav1.NamespaceSystem, UID: "another"}}
		if err := errors.Join(tracker.Delete(pvResource, "", volume.PVName(f.oneLV().UUID)), tracker.Update(namespaces, ns, "")); err != nil {
			t.Error(err)
		}
		return false, nil, nil
	})
	of := func() string { return f.capacities()[0].Annotations[volume.AnnotationAPIServer] }
	f.pass()
	if of() == "another" {
		t.Error("the capacity names an API server that its volumes were not published to")
	}
	f.pass()
	f.pass()
	if of() != "another" || len(f.pvs()) != 1 {
		t.Errorf("the capacity names %s, %d volumes are published", of(), len(f.pvs()))
	}
	f.writes()
	f.pass()
	if writes := f.writes(); len(writes) != 0 {
		t.Errorf("writes of an idle pass: %q", writes)
	}
}
