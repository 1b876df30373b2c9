//go:build controlplane

package provisioner

import (
	"context"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2/ktesting"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"

	"github.com/berth-dev/berth/pkg/lvm"
	"github.com/berth-dev/berth/pkg/lvm/lvmtest"
	"github.com/berth-dev/berth/pkg/volume"
	"github.com/berth-dev/berth/test/controlplane"
)

// This test runs the agent, with disks in memory and with the rights that the
// manifests give it, against a real API server and the real PV controller. It
// wants their binaries (package controlplane):
//
//	go test -tags controlplane -run ControlPlane ./pkg/provisioner

type controlPlane struct {
	*controlplane.ControlPlane
	t      *testing.T
	client kubernetes.Interface
}

// startControlPlane starts one with an empty memory, and applies the manifests.
func startControlPlane(t *testing.T) *controlPlane {
	t.Helper()
	cp := &controlPlane{t: t, ControlPlane: controlplane.ForTest(t, controlplane.Config{Controllers: []string{
		"persistentvolume-binder-controller", "persistentvolumeclaim-protection-controller", "persistentvolume-protection-controller",
	}})}
	var err error
	if cp.client, err = kubernetes.NewForConfig(cp.Config()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"namespace.yaml", "storageclass.yaml", "provisioner.yaml", "admission.yaml"} {
		cp.kubectl("", "apply", "-f", "../../manifests/base/"+name)
	}
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: nodeName}}
	if _, err := cp.client.CoreV1().Nodes().Create(t.Context(), node, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	return cp
}

// agent runs an agent with the token that its pod would have.
func (cp *controlPlane) agent(disk lvm.Runner, links Links) (stop func()) {
	cp.t.Helper()
	return cp.agentOn(nodeName, disk, links)
}

func (cp *controlPlane) agentOn(node string, disk lvm.Runner, links Links) (stop func()) {
	cp.t.Helper()
	client := cp.agentOf(node)
	_, ctx := ktesting.NewTestContext(cp.t)
	ctx, cancel := context.WithCancel(ctx)
	service, err := New(ctx, Config{
		Node: node, Interval: time.Second, Links: links, Client: client, Runner: disk,
		Metrics: NewMetrics(prometheus.NewRegistry()), Clock: clock.RealClock{},
	})
	if err != nil {
		cp.t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- service.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			cp.t.Error(err)
		}
	}
}

// bay is a machine whose disks can be changed while it runs.
type bay struct{ atomic.Pointer[lvmtest.Disk] }

// Run implements lvm.Runner.
func (b *bay) Run(ctx context.Context, site, name string, args ...string) ([]byte, error) {
	return b.Load().Run(ctx, site, name, args...)
}

func TestControlPlane(t *testing.T) {
	disk, links := lvmtest.NewDisk(64, "berth"), Links{Dir: filepath.Join(t.TempDir(), "links")}
	cp := startControlPlane(t)
	stopAgent := cp.agent(disk, links)

	cp.claim("data-galera-0", "berth", true)
	first := cp.bound("data-galera-0")
	cp.until("capacity without the volume", func(ctx context.Context) bool {
		all, err := cp.client.StorageV1().CSIStorageCapacities(volume.SystemNamespace).List(ctx, metav1.ListOptions{})
		return err == nil && len(all.Items) == 1 && all.Items[0].Capacity.Value() == 61*lvmtest.ExtentSize
	})
	lv := disk.Volumes()[0]
	lv.Data = true

	// The claim is deleted and made again, and no scheduler selects a node: the
	// reservation alone brings it home.
	cp.delete("data-galera-0")
	cp.until("PV reserved again", func(ctx context.Context) bool {
		pv, err := cp.client.CoreV1().PersistentVolumes().Get(ctx, first, metav1.GetOptions{})
		return err == nil && pv.Spec.ClaimRef != nil && pv.Spec.ClaimRef.UID == "" && pv.Status.Phase == corev1.VolumeAvailable
	})
	cp.claim("data-galera-0", "berth", false)
	if again := cp.bound("data-galera-0"); again != first {
		t.Errorf("the claim was bound to %s and is bound to %s", first, again)
	}

	// The claim and its PV are deleted; the claim is made again and its node
	// selected, so PV and Provision race for it.
	cp.delete("data-galera-0")
	cp.kubectl("", "delete", "pv", first, "--wait=false")
	cp.claim("data-galera-0", "berth", true)
	if again := cp.bound("data-galera-0"); again != first {
		t.Errorf("the claim was bound to %s and is bound to %s", first, again)
	}

	// A class that says nothing of use: the event on the claim names the fix.
	cp.kubectl("apiVersion: storage.k8s.io/v1\nkind: StorageClass\nmetadata: {name: bad}\n"+
		"provisioner: "+volume.Provisioner+"\nreclaimPolicy: Retain\nvolumeBindingMode: WaitForFirstConsumer\n",
		"create", "-f", "-")
	cp.claim("wrong", "bad", true)
	cp.event("wrong", "parameter volumeGroup is missing: name the LVM volume group")
	// A volume group that this node lacks: the event names it, and the node is unselected.
	cp.kubectl("apiVersion: storage.k8s.io/v1\nkind: StorageClass\nmetadata: {name: fast}\n"+
		"provisioner: "+volume.Provisioner+"\nreclaimPolicy: Retain\nvolumeBindingMode: WaitForFirstConsumer\nparameters: {volumeGroup: nvme}\n",
		"create", "-f", "-")
	cp.claim("elsewhere", "fast", true)
	cp.event("elsewhere", `has no volume group "nvme"`)
	cp.event(nodeName, `has no volume group "nvme"`)
	cp.until("node unselected", func(ctx context.Context) bool {
		claim, err := cp.client.CoreV1().PersistentVolumeClaims("default").Get(ctx, "elsewhere", metav1.GetOptions{})
		return err == nil && claim.Annotations[annSelectedNode] == ""
	})

	// The node that was to make a volume has left: the choice is taken back.
	cp.claim("stranded", "berth", false)
	cp.kubectl("", "annotate", "pvc", "stranded", annSelectedNode+"=gone")
	cp.event("stranded", "node gone, which was to make the volume")
	cp.until("node unselected", func(ctx context.Context) bool {
		claim, err := cp.client.CoreV1().PersistentVolumeClaims("default").Get(ctx, "stranded", metav1.GetOptions{})
		return err == nil && claim.Annotations[annSelectedNode] == ""
	})

	// A pod that passes the scheduler by: its claim is told why nothing happens.
	cp.claim("bypassed", "berth", false)
	cp.kubectl("", "create", "serviceaccount", "default")
	cp.kubectl("apiVersion: v1\nkind: Pod\nmetadata: {name: hurried}\nspec:\n  nodeName: "+nodeName+"\n"+
		"  containers: [{name: main, image: none}]\n  volumes: [{name: data, persistentVolumeClaim: {claimName: bypassed}}]\n", "create", "-f", "-")
	cp.event("bypassed", "pod hurried names node "+nodeName+" itself")

	// Everything is switched off and the API's memory is lost.
	stopAgent()
	cp.Stop()
	disk.PowerCycle()
	cp = startControlPlane(t)
	stopAgent = cp.agent(disk, links)
	cp.until("PV published from tags", func(ctx context.Context) bool {
		pv, err := cp.client.CoreV1().PersistentVolumes().Get(ctx, first, metav1.GetOptions{})
		return err == nil && pv.Status.Phase == corev1.VolumeAvailable
	})
	cp.claim("data-galera-0", "berth", true)
	if again := cp.bound("data-galera-0"); again != first {
		t.Errorf("the claim was bound to %s and is bound to %s", first, again)
	}
	// The claim grows. Then a person gives it up, and then thinks better of it.
	cp.kubectl("", "patch", "pvc", "data-galera-0", "-p", `{"spec":{"resources":{"requests":{"storage":"40Mi"}}}}`)
	cp.until("PV and claim have grown", func(ctx context.Context) bool {
		pv, err := cp.client.CoreV1().PersistentVolumes().Get(ctx, first, metav1.GetOptions{})
		claim, err2 := cp.client.CoreV1().PersistentVolumeClaims("default").Get(ctx, "data-galera-0", metav1.GetOptions{})
		return err == nil && err2 == nil && pv.Spec.Capacity.Storage().Value() == 40<<20 && claim.Status.Capacity.Storage().Value() == 40<<20
	})
	cp.kubectl("", "patch", "pv", first, "-p", `{"spec":{"persistentVolumeReclaimPolicy":"Delete"}}`)
	cp.delete("data-galera-0")
	cp.event(first, "has outlived its memory")
	cp.kubectl("", "annotate", "pv", first, volume.AnnotationConfirmDelete+"="+lv.UUID)
	cp.until("PV of the deleted volume gone", func(ctx context.Context) bool {
		_, err := cp.client.CoreV1().PersistentVolumes().Get(ctx, first, metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	})
	if _, err := Undelete(t.Context(), lvm.New(disk), cp.client, "default/data-galera-0"); err != nil {
		t.Error(err)
	}
	cp.claim("data-galera-0", "berth", true)
	if again := cp.bound("data-galera-0"); again != first {
		t.Errorf("the claim was bound to %s and is bound to %s", first, again)
	}
	// It is deleted while its agent is stopped, and its disks come to an agent that runs.
	stopAgent()
	cp.kubectl("", "annotate", "pv", first, volume.AnnotationConfirmDelete+"="+lv.UUID)
	cp.kubectl("", "patch", "pv", first, "-p", `{"spec":{"persistentVolumeReclaimPolicy":"Delete"}}`)
	cp.delete("data-galera-0")
	cp.until("PV released", func(ctx context.Context) bool {
		pv, err := cp.client.CoreV1().PersistentVolumes().Get(ctx, first, metav1.GetOptions{})
		return err == nil && pv.Status.Phase == corev1.VolumeReleased
	})
	var machine bay
	machine.Store(lvmtest.NewDisk(0))
	defer cp.agent(&machine, links)()
	cp.event(nodeName, `has no volume group "berth"`)
	machine.Store(disk)
	cp.until("PV of the volume that came gone", func(ctx context.Context) bool {
		_, err := cp.client.CoreV1().PersistentVolumes().Get(ctx, first, metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	})
	if all := disk.Volumes(); len(all) != 1 || all[0] != lv || lv.Formats != 1 || len(disk.Violations()) != 0 {
		t.Errorf("volumes: %+v, violations: %v", all, disk.Violations())
	}
}

// claim makes a claim; a selected one looks as if the scheduler had chosen the node.
func (cp *controlPlane) claim(name, class string, selected bool) {
	cp.t.Helper()
	claim := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PersistentVolumeClaimSpec{
			StorageClassName: ptr.To(class),
			AccessModes:      []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:        corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("10Mi")}},
		},
	}
	if selected {
		claim.Annotations = map[string]string{annSelectedNode: nodeName}
	}
	if _, err := cp.client.CoreV1().PersistentVolumeClaims("default").Create(cp.t.Context(), claim, metav1.CreateOptions{}); err != nil {
		cp.t.Fatal(err)
	}
}

func (cp *controlPlane) delete(name string) {
	cp.t.Helper()
	cp.kubectl("", "delete", "pvc", name)
}

// bound waits for a claim to be bound and returns the name of its PV.
func (cp *controlPlane) bound(name string) (pv string) {
	cp.t.Helper()
	cp.until(name+" bound", func(ctx context.Context) bool {
		claim, err := cp.client.CoreV1().PersistentVolumeClaims("default").Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false
		}
		pv = claim.Spec.VolumeName
		return claim.Status.Phase == corev1.ClaimBound
	})
	return pv
}

func (cp *controlPlane) event(about, text string) {
	cp.t.Helper()
	cp.until("event on "+about, func(ctx context.Context) bool {
		all, err := cp.client.CoreV1().Events("default").List(ctx, metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("involvedObject.name", about).String()})
		if err != nil {
			return false
		}
		for _, e := range all.Items {
			if strings.Contains(e.Message, text) {
				return true
			}
		}
		return false
	})
}

// until waits for something that several processes bring about together.
func (cp *controlPlane) until(what string, happened func(ctx context.Context) bool) {
	cp.t.Helper()
	ctx, cancel := context.WithTimeout(cp.t.Context(), 3*time.Minute)
	defer cancel()
	started := time.Now()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for !happened(ctx) {
		select {
		case <-ctx.Done():
			cp.t.Fatalf("%s: not within a minute", what)
		case <-ticker.C:
		}
	}
	cp.t.Logf("%s: %s", what, time.Since(started).Round(time.Millisecond))
}

func (cp *controlPlane) kubectl(stdin string, args ...string) {
	cp.t.Helper()
	if _, err := cp.Kubectl(cp.t.Context(), stdin, args...); err != nil {
		cp.t.Fatal(err)
	}
}
