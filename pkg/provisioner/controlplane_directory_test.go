//go:build controlplane

package provisioner

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2/ktesting"
	"k8s.io/utils/clock"

	"github.com/berth-dev/berth/pkg/lvm"
	"github.com/berth-dev/berth/pkg/lvm/directory"
	"github.com/berth-dev/berth/pkg/volume"
)

// A node without lvm, with real directories, against a real API server and PV
// controller, with the rights and the policies of the manifests.
func TestControlPlaneDirectory(t *testing.T) {
	base := filepath.Join(t.TempDir(), "base")
	group := directory.New(base, func(string) ([]string, error) { return nil, nil })
	if err := errors.Join(os.Mkdir(base, 0o755), group.Make()); err != nil {
		t.Fatal(err)
	}
	storage := []lvm.Option{lvm.Beside(group), lvm.WithoutLVM()}
	cp := startControlPlane(t)
	agent := func() (stop func()) {
		_, ctx := ktesting.NewTestContext(t)
		ctx, cancel := context.WithCancel(ctx)
		service, err := New(ctx, Config{
			Node: nodeName, Interval: time.Second, Links: Links{Dir: filepath.Join(t.TempDir(), "links")}, Client: cp.agentOf(nodeName),
			Storage: storage, Metrics: NewMetrics(prometheus.NewRegistry()), Clock: clock.RealClock{},
		})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error)
		go func() { done <- service.Run(ctx) }()
		return func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}
	volumeOf := func(name string) *corev1.PersistentVolume {
		t.Helper()
		pv, err := cp.client.CoreV1().PersistentVolumes().Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return pv
	}
	class := func(name, parameters string) {
		cp.kubectl("apiVersion: storage.k8s.io/v1\nkind: StorageClass\nmetadata: {name: "+name+"}\nprovisioner: "+volume.Provisioner+
			"\nreclaimPolicy: Retain\nvolumeBindingMode: WaitForFirstConsumer\nparameters: {"+parameters+"}\n", "create", "-f", "-")
	}
	class("dirs", "backend: dir")
	class("raid-dirs", "backend: dir, type: raid1")
	stop := agent()

	cp.claim("data-galera-0", "dirs", true)
	first := cp.bound("data-galera-0")
	if err := os.WriteFile(filepath.Join(volumeOf(first).Spec.Local.Path, "rows"), []byte("of a user"), 0o600); err != nil {
		t.Fatal(err)
	}
	holds := func(pv string) {
		t.Helper()
		if raw, err := os.ReadFile(filepath.Join(volumeOf(pv).Spec.Local.Path, "rows")); err != nil || string(raw) != "of a user" || pv != first {
			t.Errorf("PV %s holds %q, %v; the first was %s", pv, raw, err, first)
		}
	}
	cp.until("capacity with the volume's number", func(ctx context.Context) bool {
		all, err := cp.client.StorageV1().CSIStorageCapacities(volume.SystemNamespace).List(ctx, metav1.ListOptions{})
		vg, err2 := group.Read()
		return err == nil && err2 == nil && len(all.Items) == 1 && all.Items[0].Annotations[volume.AnnotationVGUUID] == vg.UUID &&
			all.Items[0].Annotations[volume.AnnotationVGSeqno] == strconv.Itoa(vg.Seqno)
	})
	cp.claim("wrong", "raid-dirs", true)
	cp.event("wrong", "parameter type contradicts backend dir")

	// The objects are lost while the agent is away; another claim comes first.
	stop()
	cp.delete("data-galera-0")
	cp.kubectl("", "delete", "pv", first)
	cp.claim("data-galera-1", "dirs", true)
	cp.claim("data-galera-0", "dirs", true)
	stop = agent()
	defer func() { stop() }()
	holds(cp.bound("data-galera-0"))
	if other := cp.bound("data-galera-1"); other == first {
		t.Error("another claim has the directory")
	}

	// Deleted, had back, and bound to its claim again.
	cp.kubectl("", "patch", "pv", first, "-p", `{"spec":{"persistentVolumeReclaimPolicy":"Delete"}}`)
	cp.delete("data-galera-0")
	cp.until("PV of the deleted volume gone", func(ctx context.Context) bool {
		_, err := cp.client.CoreV1().PersistentVolumes().Get(ctx, first, metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	})
	if _, err := Undelete(t.Context(), lvm.New(nil, storage...), cp.client, "default/data-galera-0"); err != nil {
		t.Fatal(err)
	}
	cp.claim("data-galera-0", "dirs", true)
	holds(cp.bound("data-galera-0"))
}
