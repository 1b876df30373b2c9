package inventory

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/berth-dev/berth/pkg/placement"
	"github.com/berth-dev/berth/pkg/volume"
)

// homes are what the disks of the nodes know of volumes that the API does not
// show, by claim and by cluster, with the number of reports that say so. Right
// after etcd was lost there are many; otherwise none.
type homes map[string]map[volume.Home]int

// homesIn reads what a node's report says. An entry that cannot be read is from
// another version of Berth, and the barrier then rests on what else is known.
func homesIn(annotations map[string]string) []volume.Home {
	var found []volume.Home
	for text := range strings.FieldsSeq(annotations[volume.AnnotationHomes]) {
		if h, err := volume.ParseHome(text); err == nil {
			found = append(found, h)
		}
	}
	return found
}

func (h homes) count(all []volume.Home, by int) {
	for _, home := range all {
		keys := []string{"claim " + home.Namespace + "/" + home.Claim}
		if !home.Member.IsZero() {
			keys = append(keys, "cluster "+home.Namespace+"/"+home.Member.StatefulSet)
		}
		for _, key := range keys {
			if h[key] == nil {
				h[key] = map[volume.Home]int{}
			}
			if h[key][home] += by; h[key][home] <= 0 {
				delete(h[key], home)
			}
			if len(h[key]) == 0 {
				delete(h, key)
			}
		}
	}
}

// homesFor lists the homes of the request's claims and of its cluster, in order.
func (i *Inventory) homesFor(r placement.Request) []placement.Home {
	if len(i.ledger.homes) == 0 {
		return nil
	}
	found := map[volume.Home]struct{}{}
	collect := func(key string) {
		for home := range i.ledger.homes[key] {
			found[home] = struct{}{}
		}
	}
	for _, c := range r.Claims {
		collect("claim " + c.String())
	}
	if r.Member.Known() {
		collect("cluster " + clusterOf(r.Member))
	}
	var all []placement.Home
	for _, h := range slices.SortedFunc(maps.Keys(found), func(a, b volume.Home) int { return strings.Compare(a.String(), b.String()) }) {
		home := placement.Home{
			Claim:    placement.ClaimName{Namespace: h.Namespace, Name: h.Claim},
			Replicas: h.Member.Replicas, Generation: h.Generation, VG: h.VGUUID, APIServer: h.APIServer,
		}
		if !h.Member.IsZero() {
			home.Member = placement.Member{Namespace: h.Namespace, StatefulSet: h.Member.StatefulSet, Ordinal: h.Member.Ordinal}
			home.Replicas = max(home.Replicas, h.Member.Ordinal+1)
		}
		if g := i.ledger.groups[volume.NodeLabel(h.VGUUID)]; g != nil {
			home.Reported = g.shown && g.seqno >= h.Seqno
		}
		all = append(all, home)
	}
	return all
}

// unknownGeneration is that of a volume whose annotation cannot be read: nobody
// knows that it is lower than another one.
const unknownGeneration = 1 << 30

// generationOf reads the generation of a volume. Without an annotation it is the
// first one.
func generationOf(pv *corev1.PersistentVolume) int {
	text := pv.Annotations[volume.AnnotationGeneration]
	if text == "" {
		return 1
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return unknownGeneration
	}
	return n
}

// isMade tells that the claim has a volume that nobody has given up.
func (i *Inventory) isMade(name placement.ClaimName, pvc *corev1.PersistentVolumeClaim) bool {
	pvs := byIndex[*corev1.PersistentVolume](i.volumes, indexClaim, name.String())
	abandoned := 0
	if pvc != nil {
		abandoned = volume.Abandoned(pvc.Annotations)
	}
	for _, pv := range pvs {
		abandoned = max(abandoned, volume.Abandoned(pv.Annotations))
	}
	return slices.ContainsFunc(pvs, func(pv *corev1.PersistentVolume) bool { return generationOf(pv) > abandoned })
}
