package plugin

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/cache"
	storagevolume "k8s.io/component-helpers/storage/volume"
	fwk "k8s.io/kube-scheduler/framework"
	"k8s.io/utils/ptr"

	"github.com/berth-dev/berth/pkg/inventory"
	"github.com/berth-dev/berth/pkg/placement"
	"github.com/berth-dev/berth/pkg/volume"
)

// TestNoWakeIsMissed lets objects come, change and go in random orders while pods
// wait. A pod is decided anew only when a change wakes it, as in the scheduler, and
// sometimes the change comes while its verdict is being found. After each change no
// pod may have a place that its last verdict did not give it: it would wait for ever,
// beside that place. That the index finds all whom a change helps is held as well.
func TestNoWakeIsMissed(t *testing.T) {
	asked, woken := 0, 0
	for seed := range uint64(200) {
		y := newDormitory(t, seed)
		for range 120 {
			var resource fwk.EventResource
			var old, now any
			disturb := func() {
				resource, old, now = y.disturb()
				y.hear(resource, old, now)
			}
			if y.IntN(4) == 0 { // just when one of them is being decided on
				y.decideBeside(y.pods[y.IntN(len(y.pods))], disturb)
			} else {
				disturb()
			}
			for _, pod := range y.pods {
				asked++
				if y.due(pod) {
					woken++
					y.decide(pod)
				}
			}
			y.prove()
			y.plugin.sleepers.hear(proof())
			for _, pod := range y.pods {
				if y.due(pod) {
					y.decide(pod)
				}
				missed := maps.Clone(y.places(pod))
				maps.DeleteFunc(missed, func(node string, _ bool) bool { return y.known[pod.Name][node] })
				if len(missed) > 0 {
					t.Fatalf("seed %d: %s sleeps and may go to %v, after a change of %s: %v to %v\nlast verdict %+v",
						seed, pod.Name, slices.Collect(maps.Keys(missed)), resource, old, now, y.last[pod.Name])
				}
			}
		}
	}
	t.Logf("%d of %d questions wake", woken, asked)
	if woken*2 > asked {
		t.Errorf("%d of %d changes wake a pod: they are not narrow", woken, asked)
	}
}

// dormitory is where pods wait: the plugin on stores that are filled by hand.
type dormitory struct {
	*testing.T
	*rand.Rand
	plugin *VolumeHome
	client *fake.Clientset
	stores map[fwk.EventResource]cache.Indexer
	pods   []*corev1.Pod
	last   map[string]placement.Verdict
	known  map[string]map[string]bool // places that the last verdict gave
	debts  map[string]string          // pods with a promise, and their nodes
}

func newDormitory(t *testing.T, seed uint64) *dormitory {
	t.Helper()
	client := fake.NewClientset(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: metav1.NamespaceSystem, UID: "now"}})
	factory := informers.NewSharedInformerFactory(client, 0)
	i, err := inventory.New(client, factory)
	if err != nil {
		t.Fatal(err)
	}
	factory.Start(t.Context().Done())
	factory.WaitForCacheSync(t.Context().Done())
	core, storage := factory.Core().V1(), factory.Storage().V1()
	d := &dormitory{
		T: t, Rand: rand.New(rand.NewPCG(seed, 1)), client: client,
		plugin: &VolumeHome{inventory: i, sleepers: newSleepers(func(*corev1.Pod) {})},
		stores: map[fwk.EventResource]cache.Indexer{
			fwk.PersistentVolume: core.PersistentVolumes().Informer().GetIndexer(), fwk.PersistentVolumeClaim: core.PersistentVolumeClaims().Informer().GetIndexer(),
			fwk.Node: core.Nodes().Informer().GetIndexer(), fwk.CSIStorageCapacity: storage.CSIStorageCapacities().Informer().GetIndexer(),
		},
		last: map[string]placement.Verdict{}, known: map[string]map[string]bool{}, debts: map[string]string{},
	}
	class := &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "berth"}, Provisioner: volume.Provisioner}
	if err := storage.StorageClasses().Informer().GetIndexer().Add(class); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"db-0", "db-1", "web-0", "web-1"} {
		d.pods = append(d.pods, &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, UID: types.UID(name), OwnerReferences: []metav1.OwnerReference{{
				Kind: "StatefulSet", Name: name[:len(name)-2], Controller: ptr.To(true),
			}}},
			Spec: corev1.PodSpec{Volumes: []corev1.Volume{{VolumeSource: corev1.VolumeSource{
				PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data-" + name},
			}}}},
		})
	}
	for range 25 {
		d.disturb()
	}
	d.prove()
	for _, pod := range d.pods {
		d.decide(pod)
	}
	return d
}

// decide is what PreFilter does, and notes the places that the pod has then.
func (d *dormitory) decide(pod *corev1.Pod) {
	d.Helper()
	d.decideBeside(pod, func() {})
}

// decideBeside has something change after the facts were read. The places are those
// of the facts.
func (d *dormitory) decideBeside(pod *corev1.Pod, disturb func()) {
	d.Helper()
	d.prove()
	d.plugin.sleepers.begin(pod)
	verdict, request, facts := d.verdict(pod)
	d.last[pod.Name], d.known[pod.Name] = verdict, d.places(pod)
	disturb()
	d.plugin.sleepers.enter(pod, waitOf(pod, verdict, request, facts))
}

// due says that the pod is to be tried again.
func (d *dormitory) due(pod *corev1.Pod) bool {
	s := d.plugin.sleepers
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pods[pod.UID].due
}

func (d *dormitory) verdict(pod *corev1.Pod) (placement.Verdict, placement.Request, placement.Facts) {
	request, reason := d.plugin.inventory.Request(pod)
	if reason != nil {
		return placement.Verdict{Action: placement.Refuse, Reason: *reason}, request, placement.Facts{}
	}
	facts := d.plugin.inventory.Facts(request)
	return placement.Decide(request, facts), request, facts
}

// places are the nodes to which the plugin would let the pod go now.
func (d *dormitory) places(pod *corev1.Pod) map[string]bool {
	verdict, _, _ := d.verdict(pod)
	places := map[string]bool{}
	switch verdict.Action {
	case placement.Pin:
		places[verdict.Node] = true
	case placement.Allow:
		for n := range 4 {
			node := fmt.Sprintf("n%d", n)
			places[node] = verdict.Judge(d.plugin.inventory.Room(node)).Fits
		}
	}
	maps.DeleteFunc(places, func(_ string, fits bool) bool { return !fits })
	return places
}

// hear tells of a change as the informers do, and holds the index to finding all
// whom it helps.
func (d *dormitory) hear(resource fwk.EventResource, old, now any) {
	d.Helper()
	c, matters := d.changeOf(resource, old, now)
	if !matters {
		return
	}
	found := d.plugin.sleepers.concerned(change{keys: c.keys, all: c.all, help: func(wait) bool { return false }})
	for _, pod := range d.pods {
		w, known := d.plugin.sleepers.of(pod.UID)
		if _, is := found[pod.UID]; known && !is && c.help(w) {
			d.Fatalf("the index does not find %s, whom a change of %s helps: %v to %v", pod.Name, resource, old, now)
		}
	}
	d.plugin.sleepers.hear(c)
}

// changeOf is what the handlers of informers make of an event.
func (d *dormitory) changeOf(resource fwk.EventResource, old, now any) (change, bool) {
	p := d.plugin
	switch resource {
	case fwk.PersistentVolume:
		return p.volumeChange(of[corev1.PersistentVolume](d, old), of[corev1.PersistentVolume](d, now))
	case fwk.PersistentVolumeClaim:
		return p.claimChange(of[corev1.PersistentVolumeClaim](d, old), of[corev1.PersistentVolumeClaim](d, now))
	case fwk.Node:
		return p.nodeChange(of[corev1.Node](d, old), of[corev1.Node](d, now))
	case fwk.CSIStorageCapacity:
		return p.capacityChange(of[storagev1.CSIStorageCapacity](d, old), of[storagev1.CSIStorageCapacity](d, now))
	case fwk.StorageClass:
		return classChange(of[storagev1.StorageClass](d, old), of[storagev1.StorageClass](d, now))
	}
	if assumed := of[corev1.Pod](d, old); assumed != nil {
		return p.departure(assumed.Spec.NodeName), true
	}
	return change{}, false
}

func of[T any](d *dormitory, o any) *T {
	t, err := as[T](o)
	if err != nil {
		d.Fatal(err)
	}
	return t
}

// prove has all reports compared with an API server that has what the stores have.
func (d *dormitory) prove() {
	d.Helper()
	list := &storagev1.CSIStorageCapacityList{}
	for _, o := range d.stores[fwk.CSIStorageCapacity].List() {
		list.Items = append(list.Items, *o.(*storagev1.CSIStorageCapacity))
	}
	d.client.PrependReactor("list", "csistoragecapacities", func(clienttesting.Action) (bool, runtime.Object, error) { return true, list, nil })
	err := d.plugin.inventory.Prove(d.Context())
	d.client.ReactionChain = d.client.ReactionChain[1:]
	if err != nil {
		d.Fatal(err)
	}
}

// disturb changes one object, or gives or takes a promise, and returns the event.
func (d *dormitory) disturb() (r fwk.EventResource, old, now any) {
	d.Helper()
	n, vg := d.IntN(4), fmt.Sprintf("g%d", d.IntN(4))
	node := fmt.Sprintf("n%d", n)
	if d.IntN(3) > 0 {
		vg = fmt.Sprintf("g%d", n) // where it belongs, mostly
	}
	pod := d.pods[d.IntN(len(d.pods))]
	var o metav1.Object
	switch d.IntN(9) {
	case 0, 1:
		r, o = fwk.Node, d.node(node, vg)
	case 2, 3, 4:
		r, o = fwk.CSIStorageCapacity, d.capacity(node, vg)
	case 5:
		r, o = fwk.PersistentVolume, d.volume(pod, vg)
	case 6, 7:
		r, o = fwk.PersistentVolumeClaim, d.claim(pod, node)
	default:
		return d.promise(pod, node)
	}
	key, err := cache.MetaNamespaceKeyFunc(o)
	if err != nil {
		d.Fatal(err)
	}
	store := d.stores[r]
	before, exists, _ := store.GetByKey(key)
	if exists && d.IntN(4) == 0 {
		if err := store.Delete(before); err != nil {
			d.Fatal(err)
		}
		return r, before, nil
	}
	if exists && d.IntN(4) > 0 {
		o.SetUID(before.(metav1.Object).GetUID())
	}
	if err := store.Update(o); err != nil {
		d.Fatal(err)
	}
	if !exists {
		return r, nil, o
	}
	return r, before, o
}

// promise gives the pod room on the node, or takes back what it has, of which the
// scheduler tells as of a pod that was deleted.
func (d *dormitory) promise(pod *corev1.Pod, node string) (fwk.EventResource, any, any) {
	request, reason := d.plugin.inventory.Request(pod)
	if reason != nil {
		return fwk.AssignedPod, nil, nil
	}
	if held := d.debts[pod.Name]; held != "" {
		delete(d.debts, pod.Name)
		d.plugin.inventory.Release(request.Claims)
		assumed := pod.DeepCopy()
		assumed.Spec.NodeName = held
		return fwk.AssignedPod, assumed, nil
	}
	if v, _, _ := d.verdict(pod); v.Action == placement.Allow && d.plugin.inventory.Promise(request.Member, node, v) == nil {
		d.debts[pod.Name] = node
	}
	return fwk.AssignedPod, nil, nil
}

func (d *dormitory) uid() types.UID { return types.UID(strconv.Itoa(d.Int())) }

func (d *dormitory) node(name, vg string) *corev1.Node {
	ready := corev1.ConditionTrue
	if d.IntN(4) == 0 {
		ready = corev1.ConditionUnknown
	}
	labels := map[string]string{volume.NodeLabel(vg): "true"}
	if d.IntN(6) == 0 {
		labels = map[string]string{placement.StorageLabel: placement.StorageNone}
	}
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: d.uid(), Labels: labels},
		Spec:       corev1.NodeSpec{Unschedulable: d.IntN(6) == 0},
		Status:     corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: ready}}},
	}
}

func (d *dormitory) capacity(node, vg string) *storagev1.CSIStorageCapacity {
	c := &storagev1.CSIStorageCapacity{
		ObjectMeta: metav1.ObjectMeta{Namespace: volume.SystemNamespace, Name: node, UID: d.uid(), Annotations: map[string]string{
			volume.AnnotationNode: node, volume.AnnotationVGUUID: vg, volume.AnnotationVGSeqno: strconv.Itoa(d.IntN(6)),
		}},
		StorageClassName: "berth",
		Capacity:         resource.NewQuantity(d.Int64N(30)<<30, resource.BinarySI),
	}
	if d.IntN(6) == 0 { // its disks know of somebody's
		pod := d.pods[d.IntN(len(d.pods))]
		c.Annotations[volume.AnnotationHomes] = volume.Home{
			Namespace: "shop", Claim: "data-" + pod.Name, Generation: 1, VGUUID: fmt.Sprintf("g%d", d.IntN(4)), Seqno: d.IntN(6),
			APIServer: []string{"now", "before"}[d.IntN(2)],
			Member:    volume.Member{StatefulSet: pod.OwnerReferences[0].Name, Ordinal: int(pod.Name[len(pod.Name)-1] - '0'), Replicas: 2},
		}.String()
	}
	return c
}

func (d *dormitory) volume(pod *corev1.Pod, vg string) *corev1.PersistentVolume {
	claim := "data-" + pod.Name
	v := volume.Volume{
		VGUUID: vg, VGName: "berth", VGSeqno: d.IntN(6), LVUUID: "lv-" + pod.Name, LVName: volume.LVName("shop", claim),
		Tags: volume.Tags{FSUUID: "fs", Generation: 1, APIServer: []string{"now", "before"}[d.IntN(2)],
			Member: volume.Member{StatefulSet: pod.OwnerReferences[0].Name, Ordinal: int(pod.Name[len(pod.Name)-1] - '0'), Replicas: 2}},
	}
	pv := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: "pv-" + pod.Name, UID: d.uid(), Annotations: v.Annotations()},
		Spec: corev1.PersistentVolumeSpec{
			StorageClassName: "berth", Capacity: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("10Gi")},
			ClaimRef: &corev1.ObjectReference{Namespace: "shop", Name: claim, UID: []types.UID{"", "gone", types.UID("claim-" + pod.Name)}[d.IntN(3)]},
			NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
				MatchExpressions: []corev1.NodeSelectorRequirement{{Key: volume.NodeLabel(vg), Operator: corev1.NodeSelectorOpIn, Values: []string{"true"}}},
			}}}},
		},
	}
	pv.Annotations[storagevolume.AnnDynamicallyProvisioned] = volume.Provisioner
	return pv
}

func (d *dormitory) claim(pod *corev1.Pod, node string) *corev1.PersistentVolumeClaim {
	c := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "data-" + pod.Name, UID: types.UID("claim-" + pod.Name), Annotations: map[string]string{}},
		Spec: corev1.PersistentVolumeClaimSpec{
			StorageClassName: ptr.To("berth"),
			Resources:        corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("10Gi")}},
		},
	}
	if held := d.debts[pod.Name]; held != "" {
		node = held // VolumeBinding writes what was promised
	}
	if d.IntN(2) == 0 {
		c.Annotations[storagevolume.AnnSelectedNode] = node
	}
	if d.IntN(6) == 0 {
		c.Annotations[volume.AnnotationAbandoned] = "1"
	}
	return c
}
