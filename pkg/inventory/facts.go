package inventory

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"

	"github.com/berth-dev/berth/pkg/placement"
	"github.com/berth-dev/berth/pkg/volume"
)

// Facts gathers what matters to the request. For claims that have their volumes
// that is a handful of look-ups. For a claim without one it is every node, and a
// look at the API server itself, whose error is returned: nothing may then be
// decided.
func (i *Inventory) Facts(ctx context.Context, r placement.Request) (placement.Facts, error) {
	if !i.synced() {
		return placement.Facts{}, nil
	}
	f := placement.Facts{Synced: true, Volumes: i.volumesFor(r)}
	if !wantsBlank(r, f.Volumes) {
		f.Nodes = i.nodesNamed(r, f.Volumes)
		return f, nil
	}
	reported, err := i.confirm(ctx)
	if err != nil {
		return placement.Facts{}, fmt.Errorf("ask the API server before a new volume for %s: %w", r.Claims[0].ClaimName, err)
	}
	// Only now do the stores hold every volume that was published before the
	// reports that the nodes are trusted for.
	f.APIServer = reported.identity
	f.Volumes = i.volumesFor(r)
	f.Promises = i.promisesFor(r)
	f.Nodes = i.allNodes(reported)
	return f, nil
}

// wantsBlank says that a claim has neither a volume nor one in the making.
func wantsBlank(r placement.Request, volumes []placement.Volume) bool {
	return slices.ContainsFunc(r.Claims, func(c placement.Claim) bool {
		return c.VolumeName == "" && c.SelectedNode == "" &&
			!slices.ContainsFunc(volumes, func(v placement.Volume) bool { return v.Claim == c.ClaimName })
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
		Claim:    placement.ClaimName{Namespace: ref.Namespace, Name: ref.Name},
		ClaimUID: string(ref.UID),
		Nodes:    i.carriers(pv),
	}
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
func (i *Inventory) carriers(pv *corev1.PersistentVolume) []string {
	if pv.Spec.NodeAffinity == nil || pv.Spec.NodeAffinity.Required == nil {
		return nil
	}
	var names []string
	for _, term := range pv.Spec.NodeAffinity.Required.NodeSelectorTerms {
		for _, e := range term.MatchExpressions {
			if strings.HasPrefix(e.Key, volume.NodeLabelPrefix) {
				for _, n := range byIndex[*corev1.Node](i.nodes, indexVG, e.Key) {
					names = append(names, n.Name)
				}
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
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
			nodes = append(nodes, nodeOf(n, nil))
		}
	}
	return nodes
}

// allNodes returns every node with what it offers and whether it has reported.
func (i *Inventory) allNodes(r reported) []placement.Node {
	all := typed[*corev1.Node](i.nodes.GetIndexer().List())
	nodes := make([]placement.Node, 0, len(all))
	for _, n := range all {
		node := nodeOf(n, byIndex[*storagev1.CSIStorageCapacity](i.capacities, indexNode, n.Name))
		node.Reported = r.complete(n)
		nodes = append(nodes, node)
	}
	return nodes
}

func nodeOf(n *corev1.Node, capacities []*storagev1.CSIStorageCapacity) placement.Node {
	node := placement.Node{
		Name:        n.Name,
		Cordoned:    n.Spec.Unschedulable,
		Storageless: n.Labels[placement.StorageLabel] == placement.StorageNone,
		Pools:       map[string]placement.Pool{},
	}
	node.Ready, node.Since = readiness(n)
	for _, c := range capacities {
		if c.Capacity != nil {
			node.Pools[c.StorageClassName] = placement.Pool{
				VG:   c.Annotations[volume.AnnotationVGUUID],
				Free: c.Capacity.Value(),
			}
		}
	}
	return node
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
