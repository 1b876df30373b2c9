package inventory

import (
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-dev/berth/pkg/placement"
	"github.com/berth-dev/berth/pkg/volume"
)

// ledger is what follows from all objects together. Every entry is derived from
// the stores, except the promises of this scheduler and the checks of reports.
type ledger struct {
	nodes      map[string]*node
	capacities map[string]*capacity // by key
	volumes    map[string]*held     // by name of the PersistentVolume
	groups     map[string]*group    // by node label of the volume group
	making     making
	homes      homes
	silent     map[string]struct{} // nodes that have not reported
	firstFew   []string            // of silent, in order

	checks checks

	// touched is what has to be added up anew before the lock is given back.
	touchedGroups map[*group]struct{}
	touchedNodes  map[string]struct{}
}

func newLedger() *ledger {
	return &ledger{
		nodes:         map[string]*node{},
		capacities:    map[string]*capacity{},
		volumes:       map[string]*held{},
		groups:        map[string]*group{},
		making:        newMaking(),
		homes:         homes{},
		silent:        map[string]struct{}{},
		checks:        newChecks(),
		touchedGroups: map[*group]struct{}{},
		touchedNodes:  map[string]struct{}{},
	}
}

// node is a node, or one that publishes capacity and has no Node object (yet).
type node struct {
	exists, storageless bool
	labels              []string // of volume groups
	capacities          []*capacity
	making              map[placement.ClaimName]struct{}
	pools               []placement.Pool // replaced and never changed: readers keep it
}

// capacity is what a node says of a class.
type capacity struct {
	key, node, class string
	group            *group
	vg               string
	free             int64
	offered          bool // free is known
	seqno            int
	uid              types.UID
	homes            []volume.Home
}

// held is a logical volume in a group.
type held struct {
	claim  placement.ClaimName
	member placement.Member
	group  *group
	bytes  int64
	seqno  int
}

// catchUp brings the ledger up to what the stores hold now.
func (i *Inventory) catchUp() {
	if !i.journal.changed.Load() {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.apply()
}

// apply enters the journal into the ledger. The caller holds the lock.
func (i *Inventory) apply() {
	changed := i.journal.take()
	for name := range changed[nodes] {
		i.applyNode(name)
	}
	stale := map[placement.ClaimName]struct{}{}
	for key := range changed[capacities] {
		i.applyCapacity(key, stale)
	}
	for name := range changed[volumes] {
		i.applyVolume(name, stale)
	}
	if len(changed[classes]) > 0 {
		for _, pvc := range typed[*corev1.PersistentVolumeClaim](i.claims.GetIndexer().List()) {
			stale[nameOf(pvc)] = struct{}{}
		}
	}
	for key := range changed[claims] {
		namespace, name, _ := strings.Cut(key, "/")
		stale[placement.ClaimName{Namespace: namespace, Name: name}] = struct{}{}
	}
	for name := range stale {
		i.applyClaim(name)
	}
	i.ledger.settle()
}

func (i *Inventory) applyNode(name string) {
	l := i.ledger
	n := l.node(name)
	var labels []string
	o, exists := get[*corev1.Node](i.nodes, name)
	if exists {
		labels = groupLabels(o)
	}
	for _, label := range n.labels {
		if !slices.Contains(labels, label) {
			g := l.group(label)
			delete(g.carriers, name)
			l.touchedGroups[g] = struct{}{}
		}
	}
	for _, label := range labels {
		l.group(label).carriers[name] = struct{}{}
	}
	n.exists, n.labels = exists, labels
	n.storageless = exists && o.Labels[placement.StorageLabel] == placement.StorageNone
	l.touchedNodes[name] = struct{}{}
}

func (i *Inventory) applyCapacity(key string, stale map[placement.ClaimName]struct{}) {
	l := i.ledger
	touch := func(c *capacity) {
		l.touchedGroups[c.group] = struct{}{}
		l.touchedNodes[c.node] = struct{}{}
		// What is being made there may have learnt its group.
		for claim := range l.node(c.node).making {
			stale[claim] = struct{}{}
		}
	}
	if old := l.capacities[key]; old != nil {
		touch(old)
		l.homes.count(old.homes, -1)
		delete(old.group.capacities, old)
		n := l.node(old.node)
		n.capacities = slices.DeleteFunc(n.capacities, func(c *capacity) bool { return c == old })
		delete(l.capacities, key)
	}
	o, exists := get[*storagev1.CSIStorageCapacity](i.capacities, key)
	if !exists || Publisher(o) == "" {
		l.checks.forget(key)
		return
	}
	vg := o.Annotations[volume.AnnotationVGUUID]
	c := &capacity{
		key: key, node: Publisher(o), class: o.StorageClassName, vg: vg, uid: o.UID,
		group: l.group(volume.NodeLabel(vg)),
		seqno: seqnoOf(o.Annotations, 0), // unreadable is older than everything: promises stay open
	}
	c.homes = homesIn(o.Annotations)
	l.homes.count(c.homes, 1)
	if o.Capacity != nil {
		c.free, c.offered = o.Capacity.Value(), true
	}
	l.capacities[key] = c
	c.group.capacities[c] = struct{}{}
	n := l.node(c.node)
	n.capacities = append(n.capacities, c)
	l.checks.meet(key, c.uid)
	touch(c)
}

func (i *Inventory) applyVolume(name string, stale map[placement.ClaimName]struct{}) {
	l := i.ledger
	if old := l.volumes[name]; old != nil {
		stale[old.claim] = struct{}{}
		delete(old.group.volumes, old)
		l.touchedGroups[old.group] = struct{}{}
		delete(l.volumes, name)
	}
	pv, exists := get[*corev1.PersistentVolume](i.volumes, name)
	if !exists || !isOurs(pv) || pv.Spec.ClaimRef == nil {
		return
	}
	size := pv.Spec.Capacity[corev1.ResourceStorage]
	h := &held{
		claim:  claimNameOf(pv.Spec.ClaimRef),
		member: memberOfVolume(pv),
		group:  l.group(volume.NodeLabel(pv.Annotations[volume.AnnotationVGUUID])),
		bytes:  size.Value(),
		seqno:  seqnoOf(pv.Annotations, -1), // unreadable counts as taken off
	}
	l.volumes[name] = h
	h.group.volumes[h] = struct{}{}
	l.touchedGroups[h.group] = struct{}{}
	stale[h.claim] = struct{}{}
}

// seqnoOf reads the revision of a volume group that an object describes.
func seqnoOf(annotations map[string]string, unreadable int) int {
	seqno, err := strconv.Atoi(annotations[volume.AnnotationVGSeqno])
	if err != nil {
		return unreadable
	}
	return seqno
}

// node returns the entry of a node, made when it is new.
func (l *ledger) node(name string) *node {
	n := l.nodes[name]
	if n == nil {
		n = &node{}
		l.nodes[name] = n
	}
	return n
}

// pool returns the group that serves a class on a node, if it is known.
func (l *ledger) pool(nodeName, class string) *capacity {
	n := l.nodes[nodeName]
	if n == nil {
		return nil
	}
	k := slices.IndexFunc(n.capacities, func(c *capacity) bool { return c.class == class })
	if k < 0 {
		return nil
	}
	return n.capacities[k]
}

// settle adds up anew what was touched.
func (l *ledger) settle() {
	for g := range l.touchedGroups {
		if g.settle(&l.checks) {
			for name := range g.carriers {
				l.touchedNodes[name] = struct{}{}
			}
		}
		for c := range g.capacities {
			l.touchedNodes[c.node] = struct{}{}
		}
		if g.empty() {
			delete(l.groups, g.label)
		}
	}
	silenceChanged := false
	for name := range l.touchedNodes {
		n := l.node(name)
		n.offer()
		silent := n.exists && !n.storageless && !l.complete(n)
		if _, was := l.silent[name]; was != silent {
			silenceChanged = true
			if silent {
				l.silent[name] = struct{}{}
			} else {
				delete(l.silent, name)
			}
		}
		if !n.exists && len(n.capacities) == 0 && len(n.making) == 0 {
			delete(l.nodes, name)
		}
	}
	if silenceChanged {
		l.firstFew = firstFew(l.silent)
	}
	clear(l.touchedGroups)
	clear(l.touchedNodes)
}

// offer writes down what the node has for new volumes.
func (n *node) offer() {
	pools := make([]placement.Pool, 0, len(n.capacities))
	for _, c := range n.capacities {
		if c.offered {
			pools = append(pools, placement.Pool{
				Class: c.class, VG: c.vg, Free: c.free, Promised: c.group.promised, Members: c.group.members,
			})
		}
	}
	n.pools = pools
}

// complete says that the node has reported, and with all the volume groups that
// its labels promise: an agent publishes no capacity for a volume group with a
// volume that it cannot show, and its label stays when the disks do not answer.
func (l *ledger) complete(n *node) bool {
	for _, label := range n.labels {
		if g := l.groups[label]; g == nil || !g.shown {
			return false
		}
	}
	return slices.ContainsFunc(n.capacities, func(c *capacity) bool { return l.checks.proven(c.uid) })
}

// firstFew returns the first names in order, as many as a reader can use.
func firstFew(names map[string]struct{}) []string {
	few := make([]string, 0, placement.MostSilent+1)
	for name := range names {
		k, _ := slices.BinarySearch(few, name)
		if k < placement.MostSilent {
			few = slices.Insert(few, k, name)
			few = few[:min(len(few), placement.MostSilent)]
		}
	}
	return few
}
