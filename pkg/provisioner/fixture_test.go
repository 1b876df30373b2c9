package provisioner

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/kubernetes/scheme"
	corelisters "k8s.io/client-go/listers/core/v1"
	storagelisters "k8s.io/client-go/listers/storage/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/tools/reference"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v10/controller"

	"github.com/berth-dev/berth/pkg/lvm"
	"github.com/berth-dev/berth/pkg/lvm/lvmtest"
	"github.com/berth-dev/berth/pkg/volume"
)

// fixture is one node: disks in memory, an API in memory, and an agent whose
// caches are brought up to date by hand, so that nothing depends on time.
type fixture struct {
	t       *testing.T
	disk    *lvmtest.Disk
	calls   *lvmtest.Recorder
	client  *fake.Clientset
	links   Links
	agent   *Agent
	events  *record.FakeRecorder
	indexes []cache.Indexer // PVs, classes, nodes, capacities, claims, pods
	uids    int
	storage []lvm.Option
	// unshared is what the agent's self-test finds; nil is an agent without one.
	unshared func(context.Context) []lvm.Finding
}

const nodeName = "n1"

// newFixture starts a node with a volume group "berth" of 64 extents of 4 MiB.
func newFixture(t *testing.T) *fixture { return newFixtureOf(t, 64) }

func newFixtureOf(t *testing.T, extents int64) *fixture {
	disk := lvmtest.NewDisk(extents, "berth")
	f := &fixture{t: t, disk: disk, calls: &lvmtest.Recorder{Next: disk}, links: Links{Dir: filepath.Join(t.TempDir(), "links")}}
	f.wipeAPI()
	f.start(f.calls)
	return f
}

// start starts the agent, anew: everything it kept in memory is gone.
func (f *fixture) start(run lvm.Runner) {
	f.events = record.NewFakeRecorder(1000)
	byName := cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc}
	claims := cache.NewIndexer(cache.MetaNamespaceKeyFunc, byName)
	pvs := cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{byLVUUID: indexByLVUUID, byClaim: indexByClaim})
	classes, nodes, capacities := cache.NewIndexer(cache.MetaNamespaceKeyFunc, byName), cache.NewIndexer(cache.MetaNamespaceKeyFunc, byName), cache.NewIndexer(cache.MetaNamespaceKeyFunc, byName)
	pods := cache.NewIndexer(cache.MetaNamespaceKeyFunc, byName)
	f.indexes = []cache.Indexer{pvs, classes, nodes, capacities, claims, pods}
	f.agent = newAgent(Config{
		Node: nodeName, Links: f.links, Client: f.client, Runner: run,
		Metrics: NewMetrics(prometheus.NewRegistry()), Clock: clocktesting.NewFakeClock(metav1.Now().Time), Private: f.unshared, Storage: f.storage,
	}, view{
		pvs:        pvs,
		claims:     corelisters.NewPersistentVolumeClaimLister(claims),
		classes:    storagelisters.NewStorageClassLister(classes),
		nodes:      corelisters.NewNodeLister(nodes),
		pods:       corelisters.NewPodLister(pods),
		capacities: storagelisters.NewCSIStorageCapacityLister(capacities),
	}, f.events)
	f.sync()
}

// wipeAPI starts with an API that has lost everything; the node has joined again
// and the manifests were applied again.
func (f *fixture) wipeAPI() {
	f.uids += 100
	f.client = fake.NewClientset(
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "kube-system", UID: types.UID(fmt.Sprintf("api-%d", f.uids))}},
		&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: nodeName, UID: types.UID(fmt.Sprintf("node-%d", f.uids))}},
		storageClass("berth", "berth"),
		&appsv1.StatefulSet{
			ObjectMeta: metav1.ObjectMeta{Namespace: "db", Name: "galera"},
			Spec: appsv1.StatefulSetSpec{
				Replicas:             ptr.To[int32](3),
				VolumeClaimTemplates: []corev1.PersistentVolumeClaim{{ObjectMeta: metav1.ObjectMeta{Name: "data"}}},
			},
		},
	)
}

func storageClass(name, vg string) *storagev1.StorageClass {
	return &storagev1.StorageClass{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Provisioner: volume.Provisioner,
		Parameters:        map[string]string{paramVolumeGroup: vg},
		ReclaimPolicy:     ptr.To(corev1.PersistentVolumeReclaimRetain),
		VolumeBindingMode: ptr.To(storagev1.VolumeBindingWaitForFirstConsumer),
	}
}

// sync brings the agent's caches up to date with the API.
func (f *fixture) sync() {
	f.t.Helper()
	ctx, o := f.t.Context(), metav1.ListOptions{}
	pvs, err1 := f.client.CoreV1().PersistentVolumes().List(ctx, o)
	classes, err2 := f.client.StorageV1().StorageClasses().List(ctx, o)
	nodes, err3 := f.client.CoreV1().Nodes().List(ctx, o)
	capacities, err4 := f.client.StorageV1().CSIStorageCapacities(volume.SystemNamespace).List(ctx, o)
	claims, err5 := f.client.CoreV1().PersistentVolumeClaims("").List(ctx, o)
	pods, err6 := f.client.CoreV1().Pods("").List(ctx, o)
	if err := errors.Join(err1, err2, err3, err4, err5, err6, f.indexes[5].Replace(pointers(pods.Items), ""), f.indexes[4].Replace(pointers(claims.Items), ""),
		f.indexes[0].Replace(pointers(pvs.Items), ""), f.indexes[1].Replace(pointers(classes.Items), ""),
		f.indexes[2].Replace(pointers(nodes.Items), ""), f.indexes[3].Replace(pointers(capacities.Items), "")); err != nil {
		f.t.Fatal(err)
	}
}

func pointers[T any](items []T) []any {
	out := make([]any, len(items))
	for i := range items {
		out[i] = &items[i]
	}
	return out
}

// pass makes one pass that must succeed.
func (f *fixture) pass() {
	f.t.Helper()
	f.sync()
	if err := f.agent.Pass(f.t.Context()); err != nil {
		f.t.Fatalf("pass: %v", err)
	}
	f.sync()
}

// claim makes a claim object whose selected node is this one.
func (f *fixture) claim(name, size string) *corev1.PersistentVolumeClaim {
	f.t.Helper()
	f.uids++
	claim := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "db", Name: name, UID: types.UID(fmt.Sprintf("claim-%d", f.uids)),
			Annotations: map[string]string{annSelectedNode: nodeName}},
		Spec: corev1.PersistentVolumeClaimSpec{
			StorageClassName: ptr.To("berth"),
			AccessModes:      []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:        corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(size)}},
		},
	}
	got, err := f.client.CoreV1().PersistentVolumeClaims("db").Create(f.t.Context(), claim, metav1.CreateOptions{})
	if err != nil {
		f.t.Fatal(err)
	}
	return got
}

// provision does what the library does around Provision, saving the PV included.
func (f *fixture) provision(claim *corev1.PersistentVolumeClaim) (controller.ProvisioningState, error) {
	f.t.Helper()
	f.sync()
	class, err := f.client.StorageV1().StorageClasses().Get(f.t.Context(), *claim.Spec.StorageClassName, metav1.GetOptions{})
	if err != nil {
		f.t.Fatal(err)
	}
	pv, state, err := f.agent.Provision(f.t.Context(), controller.ProvisionOptions{StorageClass: class, PVC: claim})
	if err != nil {
		return state, err
	}
	if pv.Spec.ClaimRef, err = reference.GetReference(scheme.Scheme, claim); err != nil {
		f.t.Fatal(err)
	}
	if _, err = f.client.CoreV1().PersistentVolumes().Create(f.t.Context(), pv, metav1.CreateOptions{}); apierrors.IsAlreadyExists(err) {
		err = nil
	}
	f.sync()
	return state, err
}

// mustProvision provisions a claim for which there is no reason to refuse.
func (f *fixture) mustProvision(name string) *corev1.PersistentVolumeClaim {
	f.t.Helper()
	claim := f.claim(name, "10Mi")
	if _, err := f.provision(claim); err != nil {
		f.t.Fatalf("provision %s: %v", name, err)
	}
	return claim
}

// release deletes a claim and does to its PV what the PV controller does.
func (f *fixture) release(claim *corev1.PersistentVolumeClaim) {
	f.t.Helper()
	if err := f.client.CoreV1().PersistentVolumeClaims(claim.Namespace).Delete(context.Background(), claim.Name, metav1.DeleteOptions{}); err != nil {
		f.t.Fatal(err)
	}
	for _, pv := range f.pvs() {
		if ref := pv.Spec.ClaimRef; ref != nil && ref.UID == claim.UID {
			pv.Status.Phase = corev1.VolumeReleased
			pv.Annotations[annBoundByCtrl] = "yes"
			f.update(&pv)
		}
	}
}

func (f *fixture) update(pv *corev1.PersistentVolume) {
	f.t.Helper()
	if _, err := f.client.CoreV1().PersistentVolumes().Update(f.t.Context(), pv, metav1.UpdateOptions{}); err != nil {
		f.t.Fatal(err)
	}
	f.sync()
}

func (f *fixture) pvs() []corev1.PersistentVolume {
	f.t.Helper()
	list, err := f.client.CoreV1().PersistentVolumes().List(f.t.Context(), metav1.ListOptions{})
	if err != nil {
		f.t.Fatal(err)
	}
	return list.Items
}

func (f *fixture) onePV() corev1.PersistentVolume {
	f.t.Helper()
	pvs := f.pvs()
	if len(pvs) != 1 {
		f.t.Fatalf("%d PVs, want 1", len(pvs))
	}
	return pvs[0]
}

func (f *fixture) oneLV() *lvmtest.Volume {
	f.t.Helper()
	lvs := f.disk.Volumes()
	if len(lvs) != 1 {
		f.t.Fatalf("%d logical volumes, want 1", len(lvs))
	}
	return lvs[0]
}

func (f *fixture) capacities() []storagev1.CSIStorageCapacity {
	f.t.Helper()
	list, err := f.client.StorageV1().CSIStorageCapacities(volume.SystemNamespace).List(f.t.Context(), metav1.ListOptions{})
	if err != nil {
		f.t.Fatal(err)
	}
	return list.Items
}

// said returns the events since the last call.
func (f *fixture) said() []string {
	var all []string
	for {
		select {
		case e := <-f.events.Events:
			all = append(all, e)
		default:
			return all
		}
	}
}

// wantEvent fails unless exactly one event of this code was sent, with all parts in it.
func (f *fixture) wantEvent(code string, parts ...string) {
	f.t.Helper()
	all := f.said()
	matching := slices.DeleteFunc(slices.Clone(all), func(e string) bool { return !strings.Contains(e, " "+code+" ") })
	if len(matching) != 1 {
		f.t.Fatalf("%d events %s, want 1, in %q", len(matching), code, all)
	}
	for _, part := range parts {
		if !strings.Contains(matching[0], part) {
			f.t.Errorf("event %q does not say %q", matching[0], part)
		}
	}
}

// writes returns the API calls since the last call that change something.
func (f *fixture) writes() []string {
	var all []string
	for _, action := range f.client.Actions() {
		if !slices.Contains([]string{"get", "list", "watch"}, action.GetVerb()) {
			all = append(all, action.GetVerb()+" "+action.GetResource().Resource)
		}
	}
	f.client.ClearActions()
	return all
}
