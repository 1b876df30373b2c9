package inventory

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	storagevolume "k8s.io/component-helpers/storage/volume"
	"k8s.io/utils/ptr"

	"github.com/berth-dev/berth/pkg/placement"
	"github.com/berth-dev/berth/pkg/volume"
)

// shelf is an inventory on a fake API server. Objects are put into the stores by
// hand, so that a test decides what has been seen and what has not.
type shelf struct {
	*testing.T
	*Inventory
	client *fake.Clientset
}

func newShelf(t *testing.T) *shelf {
	t.Helper()
	client := fake.NewClientset(system("now"))
	factory := informers.NewSharedInformerFactory(client, 0)
	i, err := New(client, factory)
	if err != nil {
		t.Fatal(err)
	}
	factory.Start(t.Context().Done())
	factory.WaitForCacheSync(t.Context().Done())
	s := &shelf{T: t, Inventory: i, client: client}
	s.see(&storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "berth"}, Provisioner: volume.Provisioner})
	return s
}

func system(uid types.UID) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: metav1.NamespaceSystem, UID: uid}}
}

// see puts objects into the stores.
func (s *shelf) see(objects ...runtime.Object) {
	s.Helper()
	for _, o := range objects {
		var err error
		switch o.(type) {
		case *corev1.PersistentVolume:
			err = s.volumes.GetIndexer().Update(o)
		case *corev1.PersistentVolumeClaim:
			err = s.claims.GetIndexer().Update(o)
		case *corev1.Node:
			err = s.nodes.GetIndexer().Update(o)
		case *storagev1.CSIStorageCapacity:
			err = s.capacities.GetIndexer().Update(o)
		case *storagev1.StorageClass:
			err = s.classes.GetIndexer().Update(o)
		}
		if err != nil {
			s.Fatal(err)
		}
	}
}

// answer makes the API server's lists, other than the informers', return these.
func (s *shelf) answer(resource string, list runtime.Object) {
	s.client.PrependReactor("list", resource, func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, list, nil
	})
}

func (s *shelf) facts(member string, ordinal int) placement.Facts {
	s.Helper()
	f, err := s.LiveFacts(s.Context(), request(member, ordinal))
	if err != nil {
		s.Fatal(err)
	}
	return f
}

// promise promises node n1.
func (s *shelf) promise(m placement.Member, claims ...placement.Claim) {
	s.Helper()
	if reason := s.Promise(m, "n1", placement.Verdict{Action: placement.Allow, Blank: claims}); reason != nil {
		s.Error(reason)
	}
}

func request(set string, ordinal int) placement.Request {
	return placement.Request{
		Member: placement.Member{Namespace: "shop", StatefulSet: set, Ordinal: ordinal},
		Claims: []placement.Claim{claim(fmt.Sprintf("data-%s-%d", set, ordinal))},
	}
}

func claim(name string) placement.Claim {
	return placement.Claim{
		ClaimName: placement.ClaimName{Namespace: "shop", Name: name},
		UID:       "uid-" + name, Class: "berth", Bytes: 10 << 30,
	}
}

func pvcOf(name, selectedNode string) *corev1.PersistentVolumeClaim {
	pvc := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, UID: types.UID("uid-" + name)},
		Spec: corev1.PersistentVolumeClaimSpec{
			StorageClassName: ptr.To("berth"),
			Resources:        corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("10Gi")}},
		},
	}
	if selectedNode != "" {
		metav1.SetMetaDataAnnotation(&pvc.ObjectMeta, storagevolume.AnnSelectedNode, selectedNode)
	}
	return pvc
}

func pvOf(claim, vg string, seqno int, member volume.Member) *corev1.PersistentVolume {
	v := volume.Volume{
		VGUUID: vg, VGName: "berth", VGSeqno: seqno, LVUUID: "lv-" + claim, LVName: "berth-x",
		Tags: volume.Tags{FSUUID: "fs", Generation: 1, APIServer: "now", Member: member},
	}
	pv := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: "pv-" + claim, UID: types.UID("pv-" + claim), Annotations: v.Annotations()},
		Spec: corev1.PersistentVolumeSpec{
			StorageClassName: "berth",
			Capacity:         corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("10Gi")},
			ClaimRef:         &corev1.ObjectReference{Namespace: "shop", Name: claim},
			NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{
				NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{{
					Key: volume.NodeLabel(vg), Operator: corev1.NodeSelectorOpIn, Values: []string{"true"},
				}}}},
			}},
		},
	}
	pv.Annotations[storagevolume.AnnDynamicallyProvisioned] = volume.Provisioner
	return pv
}

func machine(name string, vgs ...string) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{}}}
	for _, vg := range vgs {
		n.Labels[volume.NodeLabel(vg)] = "true"
	}
	return n
}

func capacityOf(node, vg, seqno string) *storagev1.CSIStorageCapacity {
	return &storagev1.CSIStorageCapacity{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: volume.SystemNamespace, Name: node + "-" + vg, UID: types.UID(node + vg),
			Annotations: map[string]string{
				volume.AnnotationNode: node, volume.AnnotationVGUUID: vg, volume.AnnotationVGSeqno: seqno,
			},
		},
		StorageClassName: "berth",
		Capacity:         ptr.To(resource.MustParse("100Gi")),
	}
}

// report puts a capacity object into the store and into the API server's answer.
func (s *shelf) report(capacities ...*storagev1.CSIStorageCapacity) {
	list := &storagev1.CSIStorageCapacityList{}
	for _, c := range capacities {
		s.see(c)
		list.Items = append(list.Items, *c)
	}
	s.answer("csistoragecapacities", list)
}

func TestNothingIsKnownBeforeTheFirstLists(t *testing.T) {
	client := fake.NewClientset()
	i, err := New(client, informers.NewSharedInformerFactory(client, 0))
	if err != nil {
		t.Fatal(err)
	}
	f, err := i.LiveFacts(t.Context(), request("db", 0))
	if err != nil || f.Synced {
		t.Errorf("Facts = synced %v, error %v; want not synced, no error", f.Synced, err)
	}
}

func TestOneInventoryAFactory(t *testing.T) {
	client := fake.NewClientset()
	factory := informers.NewSharedInformerFactory(client, 0)
	if _, err := New(client, factory); err != nil {
		t.Fatal(err)
	}
	if _, err := New(client, factory); err == nil {
		t.Error("a second inventory would keep promises of its own, and was made")
	}
}

func TestHomeIsFoundByLabel(t *testing.T) {
	s := newShelf(t)
	s.see(machine("n1", "g1"), machine("n2", "g2"), pvOf("data-db-0", "g2", 1, volume.Member{StatefulSet: "db", Replicas: 3}))
	want := placement.Facts{
		Synced: true,
		Volumes: []placement.Volume{{
			Name: "pv-data-db-0", LV: "lv-data-db-0", VG: "g2", Class: "berth",
			Claim:  placement.ClaimName{Namespace: "shop", Name: "data-db-0"},
			Member: placement.Member{Namespace: "shop", StatefulSet: "db"}, Replicas: 3,
			APIServer: "now", Nodes: []string{"n2"}, Generation: 1,
		}},
		Nodes:  []placement.Node{{Name: "n2", Room: placement.Room{Node: "n2", Pools: []placement.Pool{}}}},
		Silent: []string{"n1", "n2"}, SilentCount: 2, Unchecked: true,
	}
	if diff := cmp.Diff(want, s.facts("db", 0)); diff != "" {
		t.Errorf("facts (-want +got):\n%s", diff)
	}
}

// A person has edited the annotations. The volume stays its claim's, its member's,
// and a survivor that holds back blank volumes.
func TestDamagedAnnotationsHideNothing(t *testing.T) {
	s := newShelf(t)
	pv := pvOf("data-db-2", "g1", 1, volume.Member{StatefulSet: "db", Ordinal: 2, Replicas: 3})
	for _, a := range []string{volume.AnnotationAPIServer, volume.AnnotationStatefulSet, volume.AnnotationOrdinal} {
		delete(pv.Annotations, a)
	}
	s.see(machine("n1", "g1"), pv)
	s.report(capacityOf("n1", "g1", "1"))
	f := s.facts("db", 0)
	if len(f.Volumes) != 1 {
		t.Fatalf("%d volumes known, want 1", len(f.Volumes))
	}
	v := f.Volumes[0]
	if v.Member != (placement.Member{Namespace: "shop", StatefulSet: "db", Ordinal: 2}) || v.Replicas != 3 || v.APIServer != "" {
		t.Errorf("volume = member %v of %d, API server %q; want shop/db-2 of 3, none", v.Member, v.Replicas, v.APIServer)
	}
}

func TestReports(t *testing.T) {
	// reported looks for a new volume, and then at who has reported.
	reported := func(s *shelf) map[string]bool {
		s.Helper()
		s.facts("db", 0)
		r := map[string]bool{}
		names, silent := s.NodeNames()
		for _, name := range names {
			r[name] = !silent[name]
		}
		return r
	}
	t.Run("a node counts when the API server shows its capacity", func(t *testing.T) {
		s := newShelf(t)
		s.see(machine("n1", "g1"), machine("n2", "g2"))
		s.report(capacityOf("n1", "g1", "1"))
		s.see(capacityOf("n2", "g2", "1")) // in the store only: of a former life
		if diff := cmp.Diff(map[string]bool{"n1": true, "n2": false}, reported(s)); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("no node counts after the API server has lost its memory", func(t *testing.T) {
		s := newShelf(t)
		s.see(machine("n1", "g1"))
		s.report(capacityOf("n1", "g1", "1"))
		if !reported(s)["n1"] {
			t.Fatal("n1 has not reported before")
		}
		if err := s.client.Tracker().Update(corev1.SchemeGroupVersion.WithResource("namespaces"), system("new"), ""); err != nil {
			t.Fatal(err)
		}
		s.answer("csistoragecapacities", &storagev1.CSIStorageCapacityList{})
		if _, err := s.LiveFacts(t.Context(), request("db", 0)); !errors.Is(err, ErrAnotherAPIServer) {
			t.Errorf("error %v, want %v", err, ErrAnotherAPIServer)
		}
		if r := reported(s); r["n1"] {
			t.Error("n1 still counts as reported")
		}
		if f := s.facts("db", 0); f.APIServer != "new" {
			t.Errorf("API server %q, want new", f.APIServer)
		}
	})
	t.Run("a volume that the store has not seen yet stops everything", func(t *testing.T) {
		s := newShelf(t)
		s.see(machine("n1", "g1"))
		s.report(capacityOf("n1", "g1", "1"))
		late := pvOf("data-db-0", "g1", 1, volume.Member{})
		s.answer("persistentvolumes", &corev1.PersistentVolumeList{Items: []corev1.PersistentVolume{*late}})
		if _, err := s.LiveFacts(t.Context(), request("db", 0)); !errors.Is(err, ErrBehind) {
			t.Errorf("error %v, want %v", err, ErrBehind)
		}
		s.see(late)
		if f := s.facts("db", 0); len(f.Volumes) != 1 {
			t.Errorf("%d volumes known, want 1", len(f.Volumes))
		}
	})
	t.Run("an API server that does not answer stops everything", func(t *testing.T) {
		s := newShelf(t)
		s.see(machine("n1", "g1"))
		s.client.PrependReactor("get", "namespaces", func(clienttesting.Action) (bool, runtime.Object, error) {
			return true, nil, context.DeadlineExceeded
		})
		if _, err := s.LiveFacts(t.Context(), request("db", 0)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v, want %v", err, context.DeadlineExceeded)
		}
	})
	t.Run("every volume group of a node has to be shown, by whichever node has it now", func(t *testing.T) {
		s := newShelf(t)
		s.see(machine("n1", "g1", "hidden"), machine("n2", "g2", "moved"), machine("n3", "moved"))
		s.report(capacityOf("n1", "g1", "1"), capacityOf("n2", "g2", "1"), capacityOf("n3", "moved", "1"))
		if diff := cmp.Diff(map[string]bool{"n1": false, "n2": true, "n3": true}, reported(s)); diff != "" {
			t.Error(diff)
		}
	})
}

func TestPromises(t *testing.T) {
	db0 := placement.Member{Namespace: "shop", StatefulSet: "db"}
	want := []placement.Promise{{
		Claim: placement.ClaimName{Namespace: "shop", Name: "data-db-0"}, Member: db0, Node: "n1", VG: "g1", Bytes: 10 << 30,
	}}
	begin := func(t *testing.T, selectedNode string) *shelf {
		s := newShelf(t)
		s.see(machine("n1", "g1"), pvcOf("data-db-0", selectedNode))
		s.report(capacityOf("n1", "g1", "7"))
		return s
	}
	// expect checks what a sibling is told, and what node n1 owes.
	expect := func(s *shelf, when string, promises []placement.Promise, owed int64) {
		s.Helper()
		if diff := cmp.Diff(promises, s.facts("db", 1).Promises); diff != "" {
			s.Errorf("%s: promises (-want +got):\n%s", when, diff)
		}
		if got := s.Room("n1").Pools[0].Promised; got != owed {
			s.Errorf("%s: node n1 owes %d bytes, want %d", when, got, owed)
		}
	}
	t.Run("until the published space has the volume taken off", func(t *testing.T) {
		s := begin(t, "")
		s.promise(db0, claim("data-db-0"))
		expect(s, "when made", want, 10<<30)
		s.see(pvcOf("data-db-0", "n1"))
		expect(s, "when the claim has its node", want, 10<<30)
		pv := pvOf("data-db-0", "g1", 9, volume.Member{StatefulSet: "db", Replicas: 3})
		s.see(pv)
		expect(s, "when the volume appears", nil, 10<<30)
		s.see(capacityOf("n1", "g1", "8"))
		expect(s, "when something else is taken off", nil, 10<<30)
		s.see(capacityOf("n1", "g1", "9"))
		expect(s, "when the space is taken off", nil, 0)
	})
	t.Run("until released", func(t *testing.T) {
		s := begin(t, "")
		s.promise(db0, claim("data-db-0"))
		s.Release([]placement.Claim{claim("data-db-0")})
		s.Release([]placement.Claim{claim("data-db-0")})
		expect(s, "when released twice", nil, 0)
	})
	t.Run("not to a claim that is gone", func(t *testing.T) {
		s := begin(t, "")
		old := claim("data-db-0")
		old.UID = "of-the-claim-that-was-deleted"
		s.promise(db0, old)
		expect(s, "when another claim has its name", nil, 0)
	})
	t.Run("a new leader reads them off the claims and the volumes", func(t *testing.T) {
		s := begin(t, "n1")
		expect(s, "before the volume", want, 10<<30)
		s = begin(t, "n1")
		s.see(pvOf("data-db-0", "g1", 9, volume.Member{StatefulSet: "db", Replicas: 3}))
		expect(s, "before the space is taken off", nil, 10<<30)
	})
	t.Run("no more than there is", func(t *testing.T) {
		s := begin(t, "")
		big := claim("data-db-0")
		big.Bytes = 101 << 30
		reason := s.Promise(db0, "n1", placement.Verdict{Action: placement.Allow, Blank: []placement.Claim{big}})
		if reason == nil || reason.Code != placement.CodeNoSpace {
			t.Errorf("promised 101 GiB of 100: reason %v, want %s", reason, placement.CodeNoSpace)
		}
		expect(s, "when refused", nil, 0)
	})
	t.Run("no node to two members that were judged at the same time", func(t *testing.T) {
		s := begin(t, "")
		s.see(pvcOf("data-db-1", ""))
		s.promise(db0, claim("data-db-0"))
		db1 := placement.Member{Namespace: "shop", StatefulSet: "db", Ordinal: 1}
		reason := s.Promise(db1, "n1", placement.Verdict{Action: placement.Allow, Blank: []placement.Claim{claim("data-db-1")}})
		if reason == nil || reason.Code != placement.CodeMemberOnNode {
			t.Errorf("reason %v, want %s", reason, placement.CodeMemberOnNode)
		}
	})
	t.Run("classes of one group publish one after the other", func(t *testing.T) {
		s := begin(t, "")
		fast := capacityOf("n1", "g1", "7")
		fast.Name, fast.UID, fast.StorageClassName = "n1-fast", "n1-fast", "berth-fast"
		s.see(fast, pvOf("data-db-0", "g1", 9, volume.Member{StatefulSet: "db", Replicas: 3}))
		s.see(capacityOf("n1", "g1", "9"))
		s.facts("db", 1)
		for _, p := range s.Room("n1").Pools {
			if p.Promised != 10<<30 {
				t.Errorf("class %s owes %d bytes, want %d: the other class still publishes what was free before", p.Class, p.Promised, 10<<30)
			}
		}
	})
}

// TestStem: the siblings of a claim are told by name, and strangers are not.
func TestStem(t *testing.T) {
	for _, x := range []struct{ claim, want string }{
		{"data-db-0", "shop/data-db"},
		{"data-db-12", "shop/data-db"},
		{"data-db2-0", "shop/data-db2"},
		{"data-db", ""},
		{"db2", ""},
		{"7", ""},
	} {
		if got := stem("shop", x.claim); got != x.want {
			t.Errorf("stem of %s = %q, want %q", x.claim, got, x.want)
		}
	}
}

// TestConcurrentUse is for the race detector: the scheduler's cycle and many
// binding cycles use one inventory, while the informers fill the stores.
func TestConcurrentUse(t *testing.T) {
	s := newShelf(t)
	s.see(machine("n1", "g1"))
	s.report(capacityOf("n1", "g1", "1"))
	var all sync.WaitGroup
	for n := range 8 {
		all.Go(func() {
			c := claim(fmt.Sprintf("data-db-%d", n))
			for range 50 {
				s.see(pvcOf(c.Name, ""))
				s.promise(placement.Member{}, c)
				if _, err := s.LiveFacts(t.Context(), request("db", n)); err != nil {
					t.Error(err)
				}
				s.Release([]placement.Claim{c})
			}
		})
	}
	all.Wait()
	if p := s.facts("db", 0).Promises; len(p) > 0 {
		t.Errorf("promises %v are left, want none", p)
	}
}

// A report that names another API server is none, until it names this one.
func TestReportToAnotherAPIServer(t *testing.T) {
	s := newShelf(t)
	s.see(machine("n1", "vg1"))
	report := capacityOf("n1", "vg1", "5")
	silent := func(of string) int {
		t.Helper()
		report := report.DeepCopy()
		report.Annotations[volume.AnnotationAPIServer] = of
		s.answer("csistoragecapacities", &storagev1.CSIStorageCapacityList{Items: []storagev1.CSIStorageCapacity{*report}})
		s.see(report)
		return s.facts("galera", 0).SilentCount
	}
	for _, x := range []struct {
		of   string
		want int
	}{{"former", 1}, {"now", 0}} {
		if got := silent(x.of); got != x.want {
			t.Errorf("API server %q: %d nodes are silent, want %d", x.of, got, x.want)
		}
	}
}
