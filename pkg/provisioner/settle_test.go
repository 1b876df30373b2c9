package provisioner

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/berth-dev/berth/pkg/volume"
)

// creations stands before the API server where PersistentVolumes are made.
type creations struct {
	kubernetes.Interface
	typedcorev1.CoreV1Interface
	typedcorev1.PersistentVolumeInterface
	before func(ctx context.Context, pv *corev1.PersistentVolume) error
}

func (c creations) CoreV1() typedcorev1.CoreV1Interface {
	c.CoreV1Interface = c.Interface.CoreV1()
	return c
}

func (c creations) PersistentVolumes() typedcorev1.PersistentVolumeInterface {
	c.PersistentVolumeInterface = c.CoreV1Interface.PersistentVolumes()
	return c
}

func (c creations) Create(ctx context.Context, pv *corev1.PersistentVolume, o metav1.CreateOptions) (*corev1.PersistentVolume, error) {
	if err := c.before(ctx, pv); err != nil {
		return nil, err
	}
	return c.PersistentVolumeInterface.Create(ctx, pv, o)
}

// forgotten is a node with so many volumes whose API objects are gone.
func forgotten(t *testing.T, volumes int) *fixture {
	f := newFixtureOf(t, int64(4*volumes))
	f.pass()
	for i := range volumes {
		f.mustProvision(fmt.Sprintf("claim-%d", i))
	}
	f.wipeAPI()
	f.start(f.calls)
	return f
}

// An API server that takes its time takes it for DefaultWriters volumes at once, and
// never for more.
func TestSlowAPIServerIsNotAskedOneByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const volumes = 3 * DefaultWriters
		f := forgotten(t, volumes)
		var waiting atomic.Int64
		answer := make(chan struct{})
		f.agent.client = creations{Interface: f.client, before: func(ctx context.Context, _ *corev1.PersistentVolume) error {
			waiting.Add(1)
			defer waiting.Add(-1)
			select {
			case <-answer:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}}
		ended := make(chan error, 1)
		go func() { ended <- f.agent.Pass(t.Context()) }()
		for left := volumes; left > 0; left-- {
			synctest.Wait() // everybody waits for an answer
			if n := int(waiting.Load()); n != min(DefaultWriters, left) {
				t.Fatalf("%d volumes wait for the API server while %d are left, want %d", n, left, min(DefaultWriters, left))
			}
			answer <- struct{}{}
		}
		if err := <-ended; err != nil {
			t.Fatalf("pass: %v", err)
		}
		if len(f.pvs()) != volumes || len(f.capacities()) != 1 {
			t.Errorf("%d volumes and %d capacities are published", len(f.pvs()), len(f.capacities()))
		}
	})
}

// One writer is as none: calls come in the order of the report.
func TestOneWriterKeepsTheOrder(t *testing.T) {
	f := forgotten(t, 12)
	f.agent.writers = 1
	var want, got []string
	for _, v := range f.disk.Volumes() {
		want = append(want, volume.PVName(v.UUID))
	}
	f.agent.client = creations{Interface: f.client, before: func(_ context.Context, pv *corev1.PersistentVolume) error {
		got = append(got, pv.Name)
		return nil
	}}
	f.pass()
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("made in the order %q, the report has %q", got, want)
	}
}

// What goes wrong with some volumes is told of each, keeps no other from being
// published, and free space from being.
func TestOthersArePublishedBesideAFault(t *testing.T) {
	for _, writers := range []int{1, DefaultWriters} {
		for _, bad := range [][]int{{0}, {19}, {3, 4, 11}} {
			t.Run(fmt.Sprintf("%d writers, volumes %v", writers, bad), func(t *testing.T) {
				const volumes = 20
				f := forgotten(t, volumes)
				f.agent.writers = writers
				faults := map[string]error{}
				for _, i := range bad {
					faults[volume.PVName(f.disk.Volumes()[i].UUID)] = errors.New("injected")
				}
				f.agent.client = creations{Interface: f.client, before: func(_ context.Context, pv *corev1.PersistentVolume) error { return faults[pv.Name] }}
				err := f.agent.Pass(t.Context())
				for name := range faults {
					if err == nil || !strings.Contains(err.Error(), "create PV "+name+": injected") {
						t.Errorf("the pass does not tell of %s: %v", name, err)
					}
				}
				if n := len(f.pvs()); n != volumes-len(bad) {
					t.Errorf("%d volumes are published of %d", n, volumes-len(bad))
				}
				if len(f.capacities()) != 0 {
					t.Error("free space is published before all volumes are")
				}
				clear(faults)
				f.pass()
				if len(f.pvs()) != volumes || len(f.capacities()) != 1 {
					t.Errorf("%d volumes and %d capacities are published after another pass", len(f.pvs()), len(f.capacities()))
				}
			})
		}
	}
}

// Volumes that were released together are reserved side by side.
func TestManyVolumesReservedAgain(t *testing.T) {
	f := newFixture(t)
	f.pass()
	for i := range 2 * DefaultWriters {
		f.release(f.mustProvision(fmt.Sprintf("claim-%d", i)))
	}
	f.pass()
	for _, pv := range f.pvs() {
		if ref := pv.Spec.ClaimRef; ref.UID != "" || !strings.HasPrefix(ref.Name, "claim-") || pv.Annotations[annBoundByCtrl] != "" {
			t.Errorf("PV %s is reserved for %+v", pv.Name, ref)
		}
	}
}
