package provisioner

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	corelisters "k8s.io/client-go/listers/core/v1"
	storagelisters "k8s.io/client-go/listers/storage/v1"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"

	"github.com/berth-dev/berth/pkg/inventory"
	"github.com/berth-dev/berth/pkg/lvm"
	"github.com/berth-dev/berth/pkg/lvm/lvmtest"
	"github.com/berth-dev/berth/pkg/placement"
	"github.com/berth-dev/berth/pkg/volume"
)

// world is a cluster in memory: machines with disks, an API server, agents,
// and what stands around them (PV controller, scheduler, users). Nothing in it
// happens by itself: each step of a sequence is one act, and what somebody has
// seen of the API is older than the API by as much as the sequence wants.
type world struct {
	t        testing.TB
	api      *apiServer
	client   kubernetes.Interface // without faults
	clock    *clocktesting.FakeClock
	machines []*machine
	life     int // of the API server
	// refusesPVs says that agents cannot write PersistentVolumes.
	refusesPVs bool
	writers    int // of each agent: with one, the order of its calls is known

	inventory    *inventory.Inventory // the scheduler's
	seen         informers.SharedInformerFactory
	empty        *fake.Clientset // feeds its stores nothing: syncScheduler does
	endScheduler context.CancelFunc

	model
	busy []*agentProcess // in the middle of an act
	dir  string
}

// machine is a node's hardware.
type machine struct {
	name   string // of the hardware
	node   string // of its Node object
	on     bool
	disk   *lvmtest.Disk
	links  Links
	agents []*agentProcess
	foul   *lvmtest.Volume // fills the group
}

// agentProcess is an agent that runs, with its memory.
type agentProcess struct {
	*Agent
	machine *machine
	gate    *gate
	stores  []cache.Indexer // PVs, claims, classes, nodes, capacities
	unsaved map[types.UID]*corev1.PersistentVolume
}

func newWorld(t testing.TB, empty *fake.Clientset, writers int) *world {
	w := &world{t: t, empty: empty, writers: writers, api: newAPIServer(), clock: clocktesting.NewFakeClock(time.Unix(1_800_000_000, 0)), dir: t.TempDir(), model: newModel()}
	w.client = w.api.client(nil)
	for i, extents := range []int64{24, 24, 24, 0} { // the last is a spare without disks
		m := &machine{name: fmt.Sprintf("m%d", i), node: fmt.Sprintf("n%d", i), on: true, disk: lvmtest.NewDisk(0)}
		m.disk.NumberFrom(1000 * (i + 1))
		if extents > 0 {
			m.disk.AddGroup(fmt.Sprintf("vg%d", i), extents, "pool")
		}
		m.links = Links{Dir: filepath.Join(w.dir, m.name)}
		w.machines = append(w.machines, m)
	}
	w.wipe()
	w.restartScheduler()
	for _, m := range w.machines {
		w.startAgent(m)
	}
	return w
}

// wipe leaves an API server that knows the machines and the manifests only.
func (w *world) wipe() {
	w.life++
	ctx := context.Background()
	pvs, claims, capacities := w.pvs(), w.claims(), w.capacityObjects()
	for _, pv := range pvs {
		w.must(w.api.tracker.Delete(pvResource, "", pv.Name))
	}
	for _, c := range claims {
		w.must(w.api.tracker.Delete(claimResource, c.Namespace, c.Name))
	}
	for _, c := range capacities {
		w.must(w.api.tracker.Delete(capacityResource, c.Namespace, c.Name))
	}
	for _, n := range w.nodes() {
		w.must(w.api.tracker.Delete(nodeResource, "", n.Name))
	}
	if w.life > 1 {
		w.must(w.api.tracker.Delete(namespaces, "", metav1.NamespaceSystem))
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: metav1.NamespaceSystem, UID: types.UID(w.identity())}}
	_, err := w.client.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{})
	w.must(err)
	for _, m := range w.machines {
		w.join(m)
	}
	if w.life > 1 {
		return
	}
	sc := storageClass("berth", "")
	sc.Parameters = map[string]string{paramVolumeGroupTag: "pool"}
	_, err = w.client.StorageV1().StorageClasses().Create(ctx, sc, metav1.CreateOptions{})
	w.must(err)
	_, err = w.client.AppsV1().StatefulSets("db").Create(ctx, &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: "db", Name: "galera"},
		Spec: appsv1.StatefulSetSpec{Replicas: ptr.To[int32](3),
			VolumeClaimTemplates: []corev1.PersistentVolumeClaim{{ObjectMeta: metav1.ObjectMeta{Name: "data"}}}},
	}, metav1.CreateOptions{})
	w.must(err)
}

// join makes the Node object of a machine.
func (w *world) join(m *machine) {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: m.node}}
	_, err := w.client.CoreV1().Nodes().Create(context.Background(), node, metav1.CreateOptions{})
	w.must(err)
	w.ready(m.node, m.on)
}

func (w *world) ready(name string, on bool) {
	node, err := w.client.CoreV1().Nodes().Get(context.Background(), name, metav1.GetOptions{})
	w.must(err)
	status := corev1.ConditionFalse
	if on {
		status = corev1.ConditionTrue
	}
	// A person says which machines have no disks.
	i := slices.IndexFunc(w.machines, func(m *machine) bool { return m.node == name })
	if node.Labels == nil {
		node.Labels = map[string]string{}
	}
	delete(node.Labels, placement.StorageLabel)
	if len(w.machines[i].disk.Groups()) == 0 {
		node.Labels[placement.StorageLabel] = placement.StorageNone
	}
	node.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: status}}
	_, err = w.client.CoreV1().Nodes().Update(context.Background(), node, metav1.UpdateOptions{})
	w.must(err)
}

// startAgent starts one more agent on a machine: nothing in memory.
func (w *world) startAgent(m *machine) *agentProcess {
	g := &gate{machine: m}
	p := &agentProcess{machine: m, gate: g, unsaved: map[types.UID]*corev1.PersistentVolume{}}
	client := w.api.client(func(a clienttesting.Action) (bool, runtime.Object, error) {
		var o runtime.Object
		var err error
		if w.refuses(a.GetVerb(), a.GetResource()) {
			return true, nil, apierrors.NewInternalError(errRefused)
		}
		if cut := g.meet(g.ctx, func() { _, o, err = w.api.react(a) }); cut != nil {
			return true, nil, cut
		}
		return true, o, err
	})
	byName := cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc}
	p.stores = []cache.Indexer{
		cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{byLVUUID: indexByLVUUID, byClaim: indexByClaim}), cache.NewIndexer(cache.MetaNamespaceKeyFunc, byName),
		cache.NewIndexer(cache.MetaNamespaceKeyFunc, byName), cache.NewIndexer(cache.MetaNamespaceKeyFunc, byName), cache.NewIndexer(cache.MetaNamespaceKeyFunc, byName),
	}
	events := record.NewFakeRecorder(1)
	go func() {
		for range events.Events { // nobody reads them, and nobody waits for them
		}
	}()
	p.Agent = newAgent(Config{
		Node: m.node, Links: m.links, Client: client, Runner: g, Metrics: NewMetrics(prometheus.NewRegistry()), Clock: w.clock, Writers: w.writers,
	}, view{
		pods: corelisters.NewPodLister(cache.NewIndexer(cache.MetaNamespaceKeyFunc, byName)),
		pvs:  p.stores[0], claims: corelisters.NewPersistentVolumeClaimLister(p.stores[1]), classes: storagelisters.NewStorageClassLister(p.stores[2]),
		nodes: corelisters.NewNodeLister(p.stores[3]), capacities: storagelisters.NewCSIStorageCapacityLister(p.stores[4]),
	}, events)
	w.sync(p, nil)
	m.agents = append(m.agents, p)
	return p
}

// sync brings an agent's caches up to date: all, or each with even odds.
func (w *world) sync(p *agentProcess, r *rand.Rand) {
	classes, err := w.client.StorageV1().StorageClasses().List(context.Background(), metav1.ListOptions{})
	w.must(err)
	for i, items := range [][]any{pointers(w.pvs()), pointers(w.claims()), pointers(classes.Items), pointers(w.nodes()), pointers(w.capacityObjects())} {
		if r == nil || r.IntN(2) == 0 {
			w.must(p.stores[i].Replace(items, ""))
		}
	}
}

// restartScheduler starts it anew: its stores are empty, and it has no memory.
func (w *world) restartScheduler() {
	if w.endScheduler != nil {
		w.endScheduler()
	}
	var ctx context.Context
	ctx, w.endScheduler = context.WithCancel(w.t.Context())
	w.seen = informers.NewSharedInformerFactory(w.empty, 0)
	var err error
	w.inventory, err = inventory.New(w.client, w.seen)
	w.must(err)
	w.seen.Start(ctx.Done())
	for !w.schedulerSynced() {
		time.Sleep(time.Millisecond) // the informers' goroutines read an empty list
	}
	w.syncScheduler(nil)
}

// syncScheduler brings the scheduler's stores up to date: all, or each with even
// odds.
func (w *world) syncScheduler(r *rand.Rand) {
	classes, err := w.client.StorageV1().StorageClasses().List(context.Background(), metav1.ListOptions{})
	w.must(err)
	core, storage := w.seen.Core().V1(), w.seen.Storage().V1()
	for i, items := range [][]any{pointers(w.pvs()), pointers(w.claims()), pointers(classes.Items), pointers(w.nodes()), pointers(w.capacityObjects())} {
		store := []cache.Indexer{core.PersistentVolumes().Informer().GetIndexer(), core.PersistentVolumeClaims().Informer().GetIndexer(),
			storage.StorageClasses().Informer().GetIndexer(), core.Nodes().Informer().GetIndexer(), storage.CSIStorageCapacities().Informer().GetIndexer()}[i]
		if r != nil && r.IntN(2) == 0 {
			continue
		}
		stay := map[string]bool{}
		for _, o := range items {
			key, err := cache.MetaNamespaceKeyFunc(o)
			w.must(err)
			stay[key] = true
			w.must(store.Update(o))
		}
		for _, o := range store.List() {
			if key, err := cache.MetaNamespaceKeyFunc(o); err == nil && !stay[key] {
				w.must(store.Delete(o))
			}
		}
	}
}

func (w *world) must(err error) {
	if err != nil {
		w.t.Helper()
		w.t.Fatal(err)
	}
}

func (w *world) pvs() []corev1.PersistentVolume {
	list, err := w.client.CoreV1().PersistentVolumes().List(context.Background(), metav1.ListOptions{})
	w.must(err)
	return list.Items
}

func (w *world) claims() []corev1.PersistentVolumeClaim {
	list, err := w.client.CoreV1().PersistentVolumeClaims("").List(context.Background(), metav1.ListOptions{})
	w.must(err)
	return list.Items
}

func (w *world) nodes() []corev1.Node {
	list, err := w.client.CoreV1().Nodes().List(context.Background(), metav1.ListOptions{})
	w.must(err)
	return list.Items
}

func (w *world) capacityObjects() []storagev1.CSIStorageCapacity {
	list, err := w.client.StorageV1().CSIStorageCapacities(volume.SystemNamespace).List(context.Background(), metav1.ListOptions{})
	w.must(err)
	return list.Items
}

// freeAgents are those of machines that are on, and not in the middle of an act.
func (w *world) freeAgents() []*agentProcess {
	var all []*agentProcess
	for _, m := range w.machines {
		if m.on {
			all = append(all, m.agents...)
		}
	}
	return slices.DeleteFunc(all, func(p *agentProcess) bool { return slices.Contains(w.busy, p) })
}

// agent returns one of them, if there is one.
func (w *world) agent(r *rand.Rand) *agentProcess {
	all := w.freeAgents()
	if len(all) == 0 {
		return nil
	}
	return all[r.IntN(len(all))]
}

// idle says that none of the machine's agents is in the middle of an act.
func (w *world) idle(m *machine) bool {
	return !slices.ContainsFunc(w.busy, func(p *agentProcess) bool { return p.machine == m })
}

// holder is the machine in which a claim's data lies now, or nil.
func (w *world) holder(claim string) *machine {
	var found *machine
	for _, m := range w.machines {
		for _, v := range m.survey(w) {
			if v.Err != nil || v.Tags.State != volume.Ready || v.Tags.Claim != claim {
				continue
			}
			if w.isGivenUp(v) {
				continue
			}
			if known := w.volumes[v.LV.UUID]; known != nil && known.used {
				return m
			}
			found = m
		}
	}
	return found
}

// holderOfAny is the machine that has some volume of a claim, finished or not.
func (w *world) holderOfAny(claim string) *machine {
	for _, m := range w.machines {
		for _, v := range m.survey(w) {
			if v.Err == nil && (v.Tags.State == volume.Ready || v.Tags.State == volume.Creating) && v.Tags.Claim == claim && !w.isGivenUp(v) {
				return m
			}
		}
	}
	return nil
}

func (w *world) isGivenUp(v Volume) bool {
	known := w.volumes[v.LV.UUID]
	return known != nil && known.givenUp
}

// survey reads a machine's disks as lvm shows them.
func (m *machine) survey(w *world) []Volume {
	report, err := lvm.New(m.disk).Report(context.Background())
	w.must(err)
	return Survey(report)
}

func (m *machine) String() string {
	state := "off"
	if m.on {
		state = "on"
	}
	return strings.Join([]string{m.name, "as", m.node, state}, " ")
}

// end stops what the world started.
func (w *world) end() {
	w.endScheduler()
	for _, m := range w.machines {
		m.agents = nil
	}
}

func (w *world) schedulerSynced() bool {
	f := w.inventory.Facts(placement.Request{})
	return f.Synced
}
