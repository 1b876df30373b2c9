package inventory

import (
	"strconv"
	"sync"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	storagevolume "k8s.io/component-helpers/storage/volume"

	"github.com/berth-dev/berth/pkg/placement"
	"github.com/berth-dev/berth/pkg/volume"
)

// promises are the new volumes that this scheduler has promised to claims. They
// bridge what the API cannot show yet: from the choice of a node until the claim
// says so, and from the volume's appearance until the published free space has
// it taken off. In between, and for whoever leads next, the claims themselves
// tell (indexMaking).
type promises struct {
	mu      sync.Mutex
	byClaim map[placement.ClaimName]promise
}

type promise struct {
	claim  placement.Claim
	member placement.Member
	node   string
}

func newPromises() *promises {
	return &promises{byClaim: map[placement.ClaimName]promise{}}
}

// Promise keeps room for the claims on the node until their volumes are counted
// in what the node publishes, or until Release.
func (i *Inventory) Promise(m placement.Member, node string, claims []placement.Claim) {
	i.promises.mu.Lock()
	defer i.promises.mu.Unlock()
	for _, c := range claims {
		i.promises.byClaim[c.ClaimName] = promise{claim: c, member: m, node: node}
	}
}

// Release takes the promise back. It may be called more than once.
func (i *Inventory) Release(claims []placement.Claim) {
	i.promises.mu.Lock()
	defer i.promises.mu.Unlock()
	for _, c := range claims {
		if i.promises.byClaim[c.ClaimName].claim.UID == c.UID {
			delete(i.promises.byClaim, c.ClaimName)
		}
	}
}

// promisesFor lists what is promised anywhere, with the members of the request's
// cluster marked as such.
func (i *Inventory) promisesFor(r placement.Request) []placement.Promise {
	var all []placement.Promise
	add := func(c placement.Claim, m placement.Member, node string) {
		if !m.Known() {
			m = siblingOf(c.ClaimName, r)
		}
		all = append(all, placement.Promise{
			Claim: c.ClaimName, Member: m, Node: node, Bytes: c.Bytes,
			VG: i.poolOf(node, c.Class).VG,
		})
	}
	open := i.openPromises()
	for _, p := range open {
		add(p.claim, p.member, p.node)
	}
	for _, pvc := range byIndex[*corev1.PersistentVolumeClaim](i.claims, indexMaking, making) {
		if _, known := open[nameOf(pvc)]; known || !i.beingMade(pvc) {
			continue
		}
		add(claimOf(pvc), placement.Member{}, pvc.Annotations[storagevolume.AnnSelectedNode])
	}
	return all
}

// beingMade says that the claim is ours and that its volume is not there yet.
func (i *Inventory) beingMade(pvc *corev1.PersistentVolumeClaim) bool {
	provisioner, _ := i.provisioner(storagevolume.GetPersistentVolumeClaimClass(pvc))
	return provisioner == volume.Provisioner &&
		len(byIndex[*corev1.PersistentVolume](i.volumes, indexClaim, keyOf(pvc))) == 0
}

// openPromises drops the promises that are kept or void and returns the others.
func (i *Inventory) openPromises() map[placement.ClaimName]promise {
	i.promises.mu.Lock()
	defer i.promises.mu.Unlock()
	open := make(map[placement.ClaimName]promise, len(i.promises.byClaim))
	for name, p := range i.promises.byClaim {
		if i.isOpen(p) {
			open[name] = p
		} else {
			delete(i.promises.byClaim, name)
		}
	}
	return open
}

// isOpen says that the promised bytes are not yet taken off what the node
// publishes, and that somebody still wants them.
func (i *Inventory) isOpen(p promise) bool {
	pvc, exists := get[*corev1.PersistentVolumeClaim](i.claims, p.claim.String())
	if !exists || string(pvc.UID) != p.claim.UID {
		return false
	}
	made := byIndex[*corev1.PersistentVolume](i.volumes, indexClaim, p.claim.String())
	if len(made) == 0 {
		return true
	}
	published := i.poolOf(p.node, p.claim.Class)
	for _, pv := range made {
		// The metadata's sequence number orders the two without a clock.
		if seqno, err := strconv.Atoi(pv.Annotations[volume.AnnotationVGSeqno]); err == nil &&
			pv.Annotations[volume.AnnotationVGUUID] == published.VG && published.seqno < seqno {
			return true
		}
	}
	return false
}

// published is a pool with the revision of the volume group that it describes.
type published struct {
	placement.Pool
	seqno int
}

func (i *Inventory) poolOf(node, class string) published {
	for _, c := range byIndex[*storagev1.CSIStorageCapacity](i.capacities, indexNode, node) {
		if c.StorageClassName == class {
			seqno, err := strconv.Atoi(c.Annotations[volume.AnnotationVGSeqno])
			if err != nil {
				seqno = 0 // counts as older than everything: the promise stays open
			}
			return published{Pool: placement.Pool{VG: c.Annotations[volume.AnnotationVGUUID]}, seqno: seqno}
		}
	}
	return published{}
}
