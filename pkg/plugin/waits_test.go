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
	"k8s.io/klog/v2"
	fwk "k8s.io/kube-scheduler/framework"
	"k8s.io/utils/ptr"

	"github.com/berth-dev/berth/pkg/inventory"
	"github.com/berth-dev/berth/pkg/placement"
	"github.com/berth-dev/berth/pkg/volume"
)

// TestNoWakeIsMissed lets objects come, change and go in random orders while pods
// wait. A pod is decided anew only when a hint wakes it, as in the scheduler. After
// each event no pod may have a place that its last verdict did not give it: it
// would wait for ever, beside that place.
func TestNoWakeIsMissed(t *testing.T) {
	asked, woken := 0, 0
	for seed := range uint64(200) {
		y := newDormitory(t, seed)
		for range 120 {
			resource, old, now := y.disturb()
			for _, pod := range y.pods {
				asked++
				if y.wakes(pod, resource, old, now) {
					woken++
					y.decide(pod)
				}
			}
			y.prove()
			for _, pod := range y.pods {
				missed := maps.Clone(y.places(pod))
				maps.DeleteFunc(missed, func(node string, _ bool) bool { return y.known[pod.Name][node] })
				if len(missed) > 0 {
					t.Fatalf("seed %d: %s sleeps and may go to %v, after an event of %s: %v to %v\nlast verdict %+v",
						seed, pod.Name, slices.Collect(maps.Keys(missed)), resource, old, now, y.last[pod.Name])
				}
			}
		}
	}
	t.Logf("%d of %d hints wake", woken, asked)
	if woken*2 > asked {
		t.Errorf("%d of %d hints wake a pod: they are not narrow", woken, asked)
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
		T: t, Rand: rand.New(rand.NewPCG(seed, 1)), plugin: &VolumeHome{inventory: i}, client: client,
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
	d.prove()
	verdict := d.verdict(pod)
	d.plugin.waits.enter(pod, verdict)
	d.last[pod.Name], d.known[pod.Name] = verdict, d.places(pod)
}

func (d *dormitory) verdict(pod *corev1.Pod) placement.Verdict {
	request, reason := d.plugin.inventory.Request(pod)
	if reason != nil {
		return placement.Verdict{Action: placement.Refuse, Reason: *reason}
	}
	return placement.Decide(request, d.plugin.inventory.Facts(request))
}

// places are the nodes to which the plugin would let the pod go now.
func (d *dormitory) places(pod *corev1.Pod) map[string]bool {
	verdict := d.verdict(pod)
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

// wakes asks the hint, as the scheduler does.
func (d *dormitory) wakes(pod *corev1.Pod, resource fwk.EventResource, old, now any) bool {
	d.Helper()
	for _, e := range d.plugin.events() {
		if e.Event.Resource != resource {
			continue
		}
		hint, err := e.QueueingHintFn(klog.Background(), pod, old, now)
		if err != nil {
			d.Fatal(err)
		}
		return hint == fwk.Queue
	}
	return false // an event in which nobody is interested
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
	if v := d.verdict(pod); v.Action == placement.Allow && d.plugin.inventory.Promise(request.Member, node, v) == nil {
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
	return &storagev1.CSIStorageCapacity{
		ObjectMeta: metav1.ObjectMeta{Namespace: volume.SystemNamespace, Name: node, UID: d.uid(), Annotations: map[string]string{
			volume.AnnotationNode: node, volume.AnnotationVGUUID: vg, volume.AnnotationVGSeqno: strconv.Itoa(d.IntN(6)),
		}},
		StorageClassName: "berth",
		Capacity:         resource.NewQuantity(d.Int64N(30)<<30, resource.BinarySI),
	}
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
	return c
}

// TestHintsAreNarrow has pods wait for different things, and an event of each kind:
// it wakes those whom it can help, and nobody else.
func TestHintsAreNarrow(t *testing.T) {
	d := newDormitory(t, 0)
	for _, store := range d.stores {
		if err := store.Replace(nil, ""); err != nil {
			t.Fatal(err)
		}
	}
	capacity := func(free int64, seqno string) *storagev1.CSIStorageCapacity {
		c := d.capacity("n1", "g1")
		c.UID, c.Capacity = "n1", resource.NewQuantity(free<<30, resource.BinarySI)
		c.Annotations[volume.AnnotationVGSeqno] = seqno
		return c
	}
	revised := func(pod *corev1.Pod, seqno string) *corev1.PersistentVolume {
		pv := d.volume(pod, "g1")
		pv.UID, pv.Spec.ClaimRef.UID = "pv", ""
		pv.Annotations[volume.AnnotationAPIServer], pv.Annotations[volume.AnnotationVGSeqno] = "now", seqno
		return pv
	}
	away, full := d.pods[0], d.pods[2] // db-0 waits for its node, web-0 for room
	d.plugin.waits.enter(away, placement.Verdict{Action: placement.Refuse, Reason: placement.Reason{Code: placement.CodeHomeNotReady, Node: "n1"}})
	d.plugin.waits.enter(full, placement.Verdict{Action: placement.Allow, Blank: []placement.Claim{{
		ClaimName: placement.ClaimName{Namespace: "shop", Name: "data-web-0"}, Class: "berth", Bytes: 10 << 30,
	}}})
	for _, x := range []struct {
		name     string
		resource fwk.EventResource
		old, now any
		stored   any // what the store has when the hint is asked
		woken    []string
	}{
		{"room for the one that waits for it", fwk.CSIStorageCapacity, capacity(1, "1"), capacity(20, "1"), capacity(20, "1"), []string{"web-0"}},
		{"more room, and not enough", fwk.CSIStorageCapacity, capacity(1, "1"), capacity(2, "1"), capacity(2, "1"), nil},
		{"less room", fwk.CSIStorageCapacity, capacity(30, "1"), capacity(20, "1"), capacity(20, "1"), nil},
		{"a revision without room", fwk.CSIStorageCapacity, capacity(1, "1"), capacity(1, "2"), capacity(1, "2"), nil},
		{"the own volume", fwk.PersistentVolume, nil, revised(away, "1"), nil, []string{"db-0"}},
		{"a revision of the own volume", fwk.PersistentVolume, revised(away, "1"), revised(away, "2"), nil, nil},
		{"a sibling's volume, for the one that waits for its node", fwk.PersistentVolume, nil, revised(d.pods[1], "1"), nil, nil},
		{"a sibling's volume, for the one that keeps away from it", fwk.PersistentVolume, nil, revised(d.pods[3], "1"), nil, []string{"web-0"}},
	} {
		t.Run(x.name, func(t *testing.T) {
			if x.stored != nil {
				if err := d.stores[fwk.CSIStorageCapacity].Update(x.stored); err != nil {
					t.Fatal(err)
				}
			} else if err := d.stores[fwk.CSIStorageCapacity].Replace(nil, ""); err != nil {
				t.Fatal(err)
			}
			var woken []string
			for _, pod := range []*corev1.Pod{away, full} {
				if d.wakes(pod, x.resource, x.old, x.now) {
					woken = append(woken, pod.Name)
				}
			}
			if !slices.Equal(woken, x.woken) {
				t.Errorf("%v are woken, want %v", woken, x.woken)
			}
		})
	}
}
