package inventory

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/client-go/tools/cache"

	"github.com/berth-dev/berth/pkg/placement"
	"github.com/berth-dev/berth/pkg/volume"
)

// TestTwin lets objects come, change and go in random orders, and holds the ledger
// that followed the changes to one that a new leader builds from what is there:
// nothing is lost on the way, nothing is counted twice.
func TestTwin(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 0))
		s := newShelf(t)
		for step := range 80 {
			s.disturb(r)
			if r.IntN(3) > 0 {
				continue // several changes at once
			}
			got, want := s.picture(), s.twin().picture()
			if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Fatalf("seed %d, step %d: what a new leader sees (-) and the ledger (+):\n%s", seed, step, diff)
			}
		}
	}
}

// disturb changes one object.
func (s *shelf) disturb(r *rand.Rand) {
	s.Helper()
	n, vg := fmt.Sprintf("n%d", r.IntN(4)), fmt.Sprintf("g%d", r.IntN(4))
	ordinal := r.IntN(3)
	claim := fmt.Sprintf("data-db-%d", ordinal)
	gone := r.IntN(4) == 0
	var store cache.Indexer
	var o any
	switch r.IntN(4) {
	case 0:
		m := machine(n, vg)
		if r.IntN(5) == 0 {
			m.Labels[placement.StorageLabel] = placement.StorageNone
		}
		store, o = s.nodes.GetIndexer(), m
	case 1:
		c := capacityOf(n, vg, fmt.Sprint(r.IntN(10)))
		c.Name = n // a volume group made anew keeps the name of the object
		c.Capacity = resource.NewQuantity(r.Int64N(100)<<30, resource.BinarySI)
		store, o = s.capacities.GetIndexer(), c
	case 2:
		store, o = s.volumes.GetIndexer(), pvOf(claim, vg, r.IntN(10), volume.Member{StatefulSet: "db", Ordinal: ordinal, Replicas: 3})
	default:
		pvc := pvcOf(claim, []string{"", n}[r.IntN(2)])
		store, o = s.claims.GetIndexer(), pvc
	}
	change := store.Update
	if gone {
		change = store.Delete
	}
	if err := change(o); err != nil {
		s.Fatal(err)
	}
}

// twin is a new inventory of the same objects, with the same checks.
func (s *shelf) twin() *shelf {
	s.Helper()
	t := newShelf(s.T)
	for _, x := range []struct{ from, to cache.SharedIndexInformer }{
		{s.nodes, t.nodes}, {s.capacities, t.capacities}, {s.volumes, t.volumes}, {s.claims, t.claims},
	} {
		for _, o := range x.from.GetIndexer().List() {
			if err := x.to.GetIndexer().Add(o); err != nil {
				s.Fatal(err)
			}
		}
	}
	return t
}

// picture is all that an inventory tells, in a fixed order.
func (s *shelf) picture() map[string]any {
	s.Helper()
	list := &storagev1.CSIStorageCapacityList{}
	for _, c := range typed[*storagev1.CSIStorageCapacity](s.capacities.GetIndexer().List()) {
		list.Items = append(list.Items, *c)
	}
	s.answer("csistoragecapacities", list)
	s.answer("persistentvolumes", &corev1.PersistentVolumeList{})
	if err := s.Prove(s.Context()); err != nil {
		s.Fatal(err)
	}
	names, silent := s.NodeNames()
	rooms := map[string]placement.Room{}
	for _, name := range names {
		rooms[name] = s.Room(name)
	}
	facts := s.Facts(request("db", 0))
	slices.SortFunc(facts.Promises, func(a, b placement.Promise) int { return strings.Compare(a.Claim.Name, b.Claim.Name) })
	sizes := s.Sizes()
	return map[string]any{"names": names, "silent": silent, "rooms": rooms, "facts": facts, "sizes": sizes}
}
