package inventory

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-dev/berth/pkg/placement"
	"github.com/berth-dev/berth/pkg/volume"
)

func homeOf(ordinal, seqno int, vg string) volume.Home {
	return volume.Home{Namespace: "shop", Claim: fmt.Sprintf("data-db-%d", ordinal), Member: volume.Member{StatefulSet: "db", Ordinal: ordinal, Replicas: 3},
		Generation: 1, Seqno: seqno, VGUUID: vg, APIServer: "old"}
}

// etcd is wiped, and the first node to return holds none of the cluster's volumes.
// What its report says of them holds blank volumes back until their own nodes
// have spoken.
func TestHomesHoldBlankVolumesBack(t *testing.T) {
	s := newShelf(t)
	said := capacityOf("n9", "g9", "7")
	said.Annotations[volume.AnnotationHomes] = strings.Join([]string{homeOf(0, 5, "g0").String(), homeOf(1, 5, "g1").String(), "of-another-version"}, " ")
	s.answer("persistentvolumes", &corev1.PersistentVolumeList{})
	s.see(machine("n9", "g9"))
	s.report(said)
	verdict := func(ordinal int, want placement.Code) {
		t.Helper()
		if v := placement.Decide(request("db", ordinal), s.facts("db", ordinal)); v.Reason.Code != want {
			t.Errorf("member %d: %s %s, want %q", ordinal, v.Action, v.Reason, want)
		}
	}
	verdict(0, placement.CodeHomeAway)
	verdict(1, placement.CodeHomeAway)
	verdict(2, placement.CodeMemberNotFound)
	if v := placement.Decide(request("other", 0), s.facts("other", 0)); v.Action != placement.Allow {
		t.Errorf("a cluster that nobody remembers: %+v", v)
	}
	if f := s.facts("db", 1); len(f.Homes) != 2 {
		t.Errorf("homes %+v", f.Homes)
	}

	// The home's group reports, as it was before the volume: an old snapshot.
	s.see(machine("n1", "g1"))
	s.report(said, capacityOf("n1", "g1", "4"))
	verdict(1, placement.CodeHomeAway)
	// And as it is now, without the volume: then only its siblings' word stands.
	fresh := capacityOf("n1", "g1", "6")
	fresh.Name, fresh.UID = "n1-again", types.UID("again")
	old := capacityOf("n1", "g1", "4")
	if err := s.capacities.GetStore().Delete(old); err != nil {
		t.Fatal(err)
	}
	s.report(said, fresh)
	verdict(1, placement.CodeMemberNotFound)

	// A person gives it up by name, on the claim or on a volume.
	r := request("db", 1)
	pvc := pvcOf("data-db-1", "")
	pvc.Annotations = map[string]string{volume.AnnotationAbandoned: "1"}
	s.see(pvc)
	r.Claims[0] = claimOf(pvc)
	f, err := s.LiveFacts(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if v := placement.Decide(r, f); v.Action != placement.Allow {
		t.Errorf("given up: %s %s", v.Action, v.Reason)
	}
	verdict(0, placement.CodeHomeAway)

	// The report no longer names them.
	later := said.DeepCopy()
	delete(later.Annotations, volume.AnnotationHomes)
	s.report(later, fresh)
	verdict(0, "")
	if n := len(s.ledger.homes); n != 0 {
		t.Errorf("%d homes are still kept", n)
	}
}

// The volume that was given up holds no room and no promise, and the new one does.
func TestAbandonedVolumeIsNotTheClaims(t *testing.T) {
	s := newShelf(t)
	old := pvOf("data-db-0", "g1", 1, volume.Member{StatefulSet: "db", Replicas: 3})
	old.Name, old.Spec.ClaimRef.UID = "old", "of-the-former-claim"
	old.Annotations[volume.AnnotationAbandoned] = "1"
	s.answer("persistentvolumes", &corev1.PersistentVolumeList{Items: []corev1.PersistentVolume{*old}})
	home := machine("n2", "g2")
	home.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	s.see(machine("n1", "g1"), home, old, pvcOf("data-db-0", ""))
	s.report(capacityOf("n2", "g2", "7"))
	f := s.facts("db", 0)
	v := placement.Decide(request("db", 0), f)
	if v.Action != placement.Allow || len(v.Blank) != 1 {
		t.Fatalf("%s %s", v.Action, v.Reason)
	}
	if reason := s.Promise(request("db", 0).Member, "n2", v); reason != nil {
		t.Fatal(reason)
	}
	if got := s.LatestRoom("n2").Pools[0].Promised; got != claim("x").Bytes {
		t.Errorf("%d bytes are promised on n2", got)
	}
	fresh := pvOf("data-db-0", "g2", 7, volume.Member{StatefulSet: "db", Replicas: 3})
	fresh.Annotations[volume.AnnotationGeneration] = "2"
	s.see(fresh)
	if v := placement.Decide(request("db", 0), s.facts("db", 0)); v.Action != placement.Pin || v.Node != "n2" {
		t.Errorf("%s %s %s", v.Action, v.Node, v.Reason)
	}
	if got := s.LatestRoom("n2").Pools[0].Promised; got != 0 {
		t.Errorf("%d bytes are promised on n2 beside the volume", got)
	}
}
