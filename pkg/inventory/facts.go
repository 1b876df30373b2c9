package inventory

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagevolume "k8s.io/component-helpers/storage/volume"

	"github.com/berth-dev/berth/pkg/placement"
	"github.com/berth-dev/berth/pkg/volume"
)

// Facts gathers what matters to the request from what is known: a handful of
// look-ups, however many nodes there are. Before somebody acts on a verdict with
// new volumes, Confirm has to say that it was known of the API server that
// answers now.
func (i *Inventory) Facts(r placement.Request) placement.Facts {
	if !i.synced() {
		return placement.Facts{}
	}
	i.catchUp()
	i.mu.RLock()
	defer i.mu.RUnlock()
	l := i.ledger
	f := placement.Facts{
		Synced:      true,
		APIServer:   l.checks.identity,
		Volumes:     i.volumesFor(r),
		Promises:    i.promisesFor(r),
		Homes:       i.homesFor(r),
		Silent:      l.firstFew,
		SilentCount: len(l.silent),
		Unchecked:   l.checks.unchecked(),
	}
	f.Nodes = i.nodesNamed(r, f.Volumes)
	if f.Unchecked {
		i.kick()
	}
	return f
}

// LiveFacts is Facts for those who wait: it first has every report compared with
// the API server where that matters, and makes sure at the end that the API server
// is still the same. On an error nothing may be decided.
func (i *Inventory) LiveFacts(ctx context.Context, r placement.Request) (placement.Facts, error) {
	f := i.Facts(r)
	if !f.Synced || !wantsBlank(r, f.Volumes) {
		return f, nil
	}
	if f.Unchecked {
		if err := i.Prove(ctx); err != nil {
			return placement.Facts{}, fmt.Errorf("compare reports before a new volume for %s: %w", r.Claims[0].ClaimName, err)
		}
		f = i.Facts(r)
	}
	if err := i.Confirm(ctx, f.APIServer); err != nil {
		return placement.Facts{}, fmt.Errorf("ask the API server before a new volume for %s: %w", r.Claims[0].ClaimName, err)
	}
	return f, nil
}

// Unchecked says that reports have come that were not compared with the API
// server yet.
func (i *Inventory) Unchecked() bool {
	i.catchUp()
	i.mu.RLock()
	defer i.mu.RUnlock()
	return i.ledger.checks.unchecked()
}

// Room is what a node offers to new volumes. It costs one look-up. It is as of
// the last Facts, or newer; a node that is not known offers nothing.
func (i *Inventory) Room(node string) placement.Room {
	i.mu.RLock()
	defer i.mu.RUnlock()
	return i.room(node)
}

// LatestRoom is Room as of now.
func (i *Inventory) LatestRoom(node string) placement.Room {
	i.catchUp()
	return i.Room(node)
}

// Publishers are the nodes that publish a volume group.
func (i *Inventory) Publishers(vg string) []string {
	i.catchUp()
	i.mu.RLock()
	defer i.mu.RUnlock()
	g := i.ledger.groups[volume.NodeLabel(vg)]
	if g == nil {
		return nil
	}
	names := make([]string, 0, len(g.capacities))
	for c := range g.capacities {
		names = append(names, c.node)
	}
	return names
}

// MayMove says that a volume has come of which the room may have been promised in
// another group than its own: nobody can tell from its claim that it was not.
func (i *Inventory) MayMove(pv *corev1.PersistentVolume) bool {
	pvc, exists := get[*corev1.PersistentVolumeClaim](i.claims, claimNameOf(pv.Spec.ClaimRef).String())
	if !exists {
		return false // no promise outlives its claim
	}
	node := pvc.Annotations[storagevolume.AnnSelectedNode]
	return !slices.Contains(i.Publishers(pv.Annotations[volume.AnnotationVGUUID]), node)
}

func (i *Inventory) room(name string) placement.Room {
	r := placement.Room{Node: name}
	if n := i.ledger.nodes[name]; n != nil {
		r.Pools = n.pools
	}
	return r
}

// NodeNames lists all nodes, in order, and of each whether it still owes its
// report.
func (i *Inventory) NodeNames() (names []string, silent map[string]bool) {
	i.catchUp()
	i.mu.RLock()
	defer i.mu.RUnlock()
	silent = map[string]bool{}
	for name, n := range i.ledger.nodes {
		if n.exists {
			names = append(names, name)
			_, silent[name] = i.ledger.silent[name]
		}
	}
	slices.Sort(names)
	return names, silent
}

// wantsBlank says that a claim has neither a volume nor one in the making.
func wantsBlank(r placement.Request, volumes []placement.Volume) bool {
	return slices.ContainsFunc(r.Claims, func(c placement.Claim) bool {
		return c.VolumeName == "" && c.SelectedNode == "" && !placement.HasVolume(c, volumes)
	})
}

// volumesFor returns the volumes of the request's claims and of its cluster.
func (i *Inventory) volumesFor(r placement.Request) []placement.Volume {
	found := map[string]*corev1.PersistentVolume{}
	collect := func(index, key string) {
		for _, pv := range byIndex[*corev1.PersistentVolume](i.volumes, index, key) {
			found[pv.Name] = pv
		}
	}
	for _, c := range r.Claims {
		collect(indexClaim, c.String())
	}
	if r.Member.Known() {
		collect(indexCluster, r.Member.Namespace+"/"+r.Member.StatefulSet)
		for _, s := range stems(r) {
			collect(indexStem, s)
		}
	}
	volumes := make([]placement.Volume, 0, len(found))
	for _, name := range slices.Sorted(maps.Keys(found)) {
		volumes = append(volumes, i.volumeOf(found[name], r))
	}
	return volumes
}

// volumeOf reads a PersistentVolume. One with damaged annotations is still the
// volume of its claim, and counts as made for an API server that is gone.
func (i *Inventory) volumeOf(pv *corev1.PersistentVolume, r placement.Request) placement.Volume {
	ref := pv.Spec.ClaimRef
	v := placement.Volume{
		Name:     pv.Name,
		LV:       pv.Annotations[volume.AnnotationLVUUID],
		VG:       pv.Annotations[volume.AnnotationVGUUID],
		Class:    pv.Spec.StorageClassName,
		Claim:    claimNameOf(ref),
		ClaimUID: string(ref.UID),

		Generation: generationOf(pv), Abandoned: volume.Abandoned(pv.Annotations),
	}
	v.Nodes, v.Published = i.carriers(pv)
	v.Member = siblingOf(v.Claim, r)
	if read, err := volume.FromAnnotations(pv.Annotations); err == nil {
		v.APIServer = read.Tags.APIServer
		if m := read.Tags.Member; !m.IsZero() {
			v.Member = placement.Member{Namespace: ref.Namespace, StatefulSet: m.StatefulSet, Ordinal: m.Ordinal}
			v.Replicas = m.Replicas
		}
	}
	// A member proves all ordinals below its own.
	if v.Member.Known() {
		v.Replicas = max(v.Replicas, v.Member.Ordinal+1)
	}
	return v
}

// carriers are the nodes with the label that the volume's affinity asks for.
// published says that one of them, or another, publishes the group.
func (i *Inventory) carriers(pv *corev1.PersistentVolume) (names []string, published bool) {
	if pv.Spec.NodeAffinity == nil || pv.Spec.NodeAffinity.Required == nil {
		return nil, false
	}
	for _, term := range pv.Spec.NodeAffinity.Required.NodeSelectorTerms {
		for _, e := range term.MatchExpressions {
			if g := i.ledger.groups[e.Key]; g != nil {
				published = published || g.published
				for name := range g.carriers {
					names = append(names, name)
				}
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names), published
}

// nodesNamed returns the nodes that volumes and claims point at.
func (i *Inventory) nodesNamed(r placement.Request, volumes []placement.Volume) []placement.Node {
	names := map[string]bool{}
	for _, c := range r.Claims {
		if c.SelectedNode != "" {
			names[c.SelectedNode] = true
		}
	}
	for _, v := range volumes {
		for _, name := range v.Nodes {
			names[name] = true
		}
	}
	var nodes []placement.Node
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if n, exists := get[*corev1.Node](i.nodes, name); exists {
			nodes = append(nodes, i.nodeOf(n))
		}
	}
	return nodes
}

func (i *Inventory) nodeOf(n *corev1.Node) placement.Node {
	node := placement.Node{
		Name:         n.Name,
		Cordoned:     n.Spec.Unschedulable,
		OutOfService: OutOfService(n),
		Room:         i.room(n.Name),
	}
	node.Ready, node.Since = readiness(n)
	return node
}

// OutOfService says that somebody has declared the machine dead.
func OutOfService(n *corev1.Node) bool {
	return slices.ContainsFunc(n.Spec.Taints, func(t corev1.Taint) bool { return t.Key == placement.OutOfServiceTaint })
}

func readiness(n *corev1.Node) (ready bool, since time.Time) {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionTrue, c.LastTransitionTime.Time
		}
	}
	return false, time.Time{}
}

// stems are the stems of the request's claims.
func stems(r placement.Request) []string {
	var all []string
	for _, c := range r.Claims {
		if s := stem(c.Namespace, c.Name); s != "" {
			all = append(all, s)
		}
	}
	return all
}

// siblingOf tells a member of the request's cluster by the stem of its claim.
func siblingOf(c placement.ClaimName, r placement.Request) placement.Member {
	s := stem(c.Namespace, c.Name)
	if s == "" || !r.Member.Known() || !slices.Contains(stems(r), s) {
		return placement.Member{}
	}
	ordinal, err := strconv.Atoi(c.String()[len(s)+1:])
	if err != nil {
		return placement.Member{}
	}
	return placement.Member{Namespace: c.Namespace, StatefulSet: r.Member.StatefulSet, Ordinal: ordinal}
}
