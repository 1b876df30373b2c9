package inventory

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/berth-dev/berth/pkg/volume"
)

// ErrBehind says that the API server has volumes that the stores have not.
var ErrBehind = errors.New("the scheduler has not seen all volumes yet")

// reports remembers which capacity objects are proof that their node has
// reported.
//
// A capacity object proves that its node's volumes are in the API, not that they
// are in our store: each kind has a watch of its own, and nothing orders the two.
// And after the API server has lost its memory the store may still hold objects
// of its former life. So an object counts once a list from the API server itself
// has shown it, and the store has every volume of a list taken after that, and
// only under the identity that the API server had then.
type reports struct {
	client kubernetes.Interface

	mu       sync.Mutex
	identity string
	proven   map[types.UID]bool
}

func newReports(client kubernetes.Interface) *reports {
	return &reports{client: client, proven: map[types.UID]bool{}}
}

// reported is who has reported to the API server of this identity.
type reported struct {
	identity string
	nodes    map[string]bool
	labels   map[string]bool // of volume groups, on whichever node
}

// complete says that the node has reported, and with all the volume groups that
// its labels promise: an agent publishes no capacity for a volume group with a
// volume that it cannot show, and its label stays when the disks do not answer.
func (r reported) complete(n *corev1.Node) bool {
	for label := range n.Labels {
		if strings.HasPrefix(label, volume.NodeLabelPrefix) && !r.labels[label] {
			return false
		}
	}
	return r.nodes[n.Name]
}

// confirm finds out who has reported. It costs one small read from the API
// server, and two lists when there are new capacity objects.
func (i *Inventory) confirm(ctx context.Context) (reported, error) {
	ctx, cancel := context.WithTimeout(ctx, liveTimeout)
	defer cancel()
	i.reports.mu.Lock()
	defer i.reports.mu.Unlock()

	system, err := i.reports.client.CoreV1().Namespaces().Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
	if err != nil {
		return reported{}, fmt.Errorf("read the API server's identity: %w", err)
	}
	if identity := string(system.UID); identity != i.reports.identity {
		i.reports.identity, i.reports.proven = identity, map[types.UID]bool{}
	}
	r, unproven := i.reported()
	if unproven {
		if err := i.prove(ctx); err != nil {
			return reported{}, err
		}
		r, _ = i.reported()
	}
	return r, nil
}

// reported reads the proven capacity objects in the store, and says whether there
// are others.
func (i *Inventory) reported() (r reported, unproven bool) {
	r = reported{identity: i.reports.identity, nodes: map[string]bool{}, labels: map[string]bool{}}
	for _, c := range typed[*storagev1.CSIStorageCapacity](i.capacities.GetIndexer().List()) {
		switch {
		case publisher(c) == "":
		case i.reports.proven[c.UID]:
			r.nodes[publisher(c)] = true
			r.labels[volume.NodeLabel(c.Annotations[volume.AnnotationVGUUID])] = true
		default:
			unproven = true
		}
	}
	return r, unproven
}

// prove lists capacities first and volumes second, so that the volumes include
// all that were published before the capacities.
func (i *Inventory) prove(ctx context.Context) error {
	capacities, err := i.reports.client.StorageV1().CSIStorageCapacities(volume.SystemNamespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list capacities: %w", err)
	}
	volumes, err := i.reports.client.CoreV1().PersistentVolumes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list volumes: %w", err)
	}
	for n := range volumes.Items {
		pv := &volumes.Items[n]
		if !isOurs(pv) {
			continue
		}
		if seen, exists := get[*corev1.PersistentVolume](i.volumes, pv.Name); !exists || seen.UID != pv.UID {
			return fmt.Errorf("look for volume %s: %w", pv.Name, ErrBehind)
		}
	}
	proven := make(map[types.UID]bool, len(capacities.Items))
	for n := range capacities.Items {
		proven[capacities.Items[n].UID] = true
	}
	i.reports.proven = proven
	return nil
}
