package inventory

import (
	corev1 "k8s.io/api/core/v1"
	storagevolume "k8s.io/component-helpers/storage/volume"

	"github.com/berth-dev/berth/pkg/placement"
	"github.com/berth-dev/berth/pkg/volume"
)

// making are the volumes that somebody waits for and that the API does not show
// yet. Three witnesses follow each other. From the choice of a node until the
// claim says so, it is the promise of this scheduler. Then it is the claim's
// selected node, which whoever leads next reads, too. From the volume's
// appearance until the published free space has it taken off, it is the volume
// itself, and the group counts it.
type making struct {
	promises  map[placement.ClaimName]*birth
	births    map[placement.ClaimName]*birth
	byStem    map[string]map[placement.ClaimName]*birth
	byCluster map[string]map[placement.ClaimName]*birth
}

// birth is a volume that is being made, or is going to be.
type birth struct {
	claim  placement.ClaimName
	uid    string
	class  string
	bytes  int64
	node   string
	member placement.Member // not known when only the claim tells
	group  *group           // nil until the node publishes the class
	vg     string
}

func newMaking() making {
	return making{
		promises:  map[placement.ClaimName]*birth{},
		births:    map[placement.ClaimName]*birth{},
		byStem:    map[string]map[placement.ClaimName]*birth{},
		byCluster: map[string]map[placement.ClaimName]*birth{},
	}
}

// Promise keeps room on the node for the verdict's new volumes, until their
// volumes are counted in what the node publishes, or until Release. It judges the
// node once more, and promises nothing when it does not fit any longer.
func (i *Inventory) Promise(m placement.Member, node string, v placement.Verdict) *placement.Reason {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.apply()
	if j := v.Judge(i.room(node)); !j.Fits {
		return &j.Reason
	}
	if reason := i.rival(m, node, v.Blank); reason != nil {
		return reason
	}
	for _, c := range v.Blank {
		i.ledger.making.promises[c.ClaimName] = &birth{
			claim: c.ClaimName, uid: c.UID, class: c.Class, bytes: c.Bytes, node: node, member: m,
		}
		i.applyClaim(c.ClaimName)
	}
	i.ledger.settle()
	return nil
}

// rival finds a sibling that was promised the node after the facts were gathered.
func (i *Inventory) rival(m placement.Member, node string, blank []placement.Claim) *placement.Reason {
	for _, p := range i.promisesFor(placement.Request{Member: m, Claims: blank}) {
		if p.Node == node && m.Sibling(p.Member) {
			reason := placement.MemberOnNode(node, p.Member)
			return &reason
		}
	}
	return nil
}

// Release takes the promise back. It may be called more than once.
func (i *Inventory) Release(claims []placement.Claim) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, c := range claims {
		if p := i.ledger.making.promises[c.ClaimName]; p != nil && p.uid == c.UID {
			delete(i.ledger.making.promises, c.ClaimName)
			i.applyClaim(c.ClaimName)
		}
	}
	i.ledger.settle()
}

// applyClaim finds out whether a volume is being made for the claim, and where.
func (i *Inventory) applyClaim(name placement.ClaimName) {
	l := i.ledger
	old := l.making.births[name]
	b := i.birth(name, old)
	if old == b && (b == nil || b.group == l.groupOf(b)) {
		return
	}
	l.remove(old)
	l.add(b)
}

// birth returns what is being made for a claim, or nil. It ends promises that are
// kept or void.
func (i *Inventory) birth(name placement.ClaimName, old *birth) *birth {
	promises := i.ledger.making.promises
	pvc, exists := get[*corev1.PersistentVolumeClaim](i.claims, name.String())
	made := i.isMade(name, pvc)
	if p := promises[name]; p != nil && (!exists || made || string(pvc.UID) != p.uid) {
		delete(promises, name)
	}
	switch p := promises[name]; {
	case !exists || made:
		return nil
	case pvc.Spec.VolumeName != "":
		// Bound to a volume that the store has not seen yet: it is still coming.
		if old != nil && old.uid == string(pvc.UID) {
			return old
		}
		return p
	case pvc.Annotations[storagevolume.AnnSelectedNode] != "" && i.provisionedByUs(pvc):
		c := claimOf(pvc)
		b := &birth{claim: name, uid: c.UID, class: c.Class, bytes: c.Bytes, node: c.SelectedNode}
		if old != nil && old.uid == b.uid && old.node == b.node {
			b.member = old.member
		}
		return b
	default:
		return p
	}
}

func (i *Inventory) provisionedByUs(pvc *corev1.PersistentVolumeClaim) bool {
	provisioner, _ := i.provisioner(storagevolume.GetPersistentVolumeClaimClass(pvc))
	return provisioner == volume.Provisioner
}

// groupOf is the group in which a volume is being made, once it is known.
func (l *ledger) groupOf(b *birth) *group {
	if c := l.pool(b.node, b.class); c != nil {
		return c.group
	}
	return nil
}

func (l *ledger) remove(b *birth) {
	if b == nil {
		return
	}
	m := &l.making
	delete(m.births, b.claim)
	drop(m.byStem, stem(b.claim.Namespace, b.claim.Name), b.claim)
	drop(m.byCluster, clusterOf(b.member), b.claim)
	delete(l.node(b.node).making, b.claim)
	l.touchedNodes[b.node] = struct{}{}
	if b.group != nil {
		delete(b.group.making, b)
		l.touchedGroups[b.group] = struct{}{}
	}
}

func (l *ledger) add(b *birth) {
	if b == nil {
		return
	}
	m := &l.making
	m.births[b.claim] = b
	enter(m.byStem, stem(b.claim.Namespace, b.claim.Name), b)
	enter(m.byCluster, clusterOf(b.member), b)
	n := l.node(b.node)
	if n.making == nil {
		n.making = map[placement.ClaimName]struct{}{}
	}
	n.making[b.claim] = struct{}{}
	b.group, b.vg = nil, ""
	if c := l.pool(b.node, b.class); c != nil {
		b.group, b.vg = c.group, c.vg
		b.group.making[b] = struct{}{}
		l.touchedGroups[b.group] = struct{}{}
	}
}

func enter(index map[string]map[placement.ClaimName]*birth, key string, b *birth) {
	if key == "" {
		return
	}
	if index[key] == nil {
		index[key] = map[placement.ClaimName]*birth{}
	}
	index[key][b.claim] = b
}

func drop(index map[string]map[placement.ClaimName]*birth, key string, claim placement.ClaimName) {
	delete(index[key], claim)
	if len(index[key]) == 0 {
		delete(index, key)
	}
}

// promisesFor lists what is being made for the request's claims and its cluster.
func (i *Inventory) promisesFor(r placement.Request) []placement.Promise {
	m := i.ledger.making
	found := map[placement.ClaimName]*birth{}
	for _, c := range r.Claims {
		if b := m.births[c.ClaimName]; b != nil {
			found[c.ClaimName] = b
		}
	}
	if r.Member.Known() {
		for claim, b := range m.byCluster[clusterOf(r.Member)] {
			found[claim] = b
		}
		for _, s := range stems(r) {
			for claim, b := range m.byStem[s] {
				found[claim] = b
			}
		}
	}
	var promises []placement.Promise
	for _, b := range found {
		member := b.member
		if !member.Known() {
			member = siblingOf(b.claim, r)
		}
		promises = append(promises, placement.Promise{Claim: b.claim, Member: member, Node: b.node, VG: b.vg, Bytes: b.bytes})
	}
	return promises
}
