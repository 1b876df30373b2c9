package inventory

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"

	"github.com/berth-dev/berth/pkg/volume"
)

var (
	// ErrBehind says that the API server has volumes that the stores have not.
	ErrBehind = errors.New("the scheduler has not seen all volumes yet")
	// ErrAnotherAPIServer says that the API server is not the one to which the
	// nodes have reported.
	ErrAnotherAPIServer = errors.New("the API server has lost its memory since the nodes reported")
)

// checks remembers which capacity objects are proof that their node has reported.
//
// A capacity object proves that its node's volumes are in the API, not that they
// are in our store: each kind has a watch of its own, and nothing orders the two.
// And after the API server has lost its memory the store may still hold objects
// of its former life. So an object counts once a list from the API server itself
// has shown it, and the store has every volume of a list taken after that, and
// only under the identity that the API server had then and that the object itself
// names. An object that changes
// keeps its UID, and its proof: agents publish volumes before capacity.
type checks struct {
	identity string
	shown    map[types.UID]bool   // what the list said
	objects  map[string]types.UID // in the store, by key
	open     map[types.UID]struct{}
}

func newChecks() checks {
	return checks{shown: map[types.UID]bool{}, objects: map[string]types.UID{}, open: map[types.UID]struct{}{}}
}

func (c *checks) proven(uid types.UID) bool { return c.shown[uid] }

// meet takes note of a capacity object in the store.
func (c *checks) meet(key string, uid types.UID) {
	if c.objects[key] != uid {
		c.forget(key)
	}
	c.objects[key] = uid
	if !c.shown[uid] { // not compared yet, or no proof before it changed
		c.open[uid] = struct{}{}
	}
}

func (c *checks) forget(key string) {
	uid := c.objects[key]
	delete(c.objects, key)
	delete(c.shown, uid)
	delete(c.open, uid)
}

// unchecked says that there is something to compare with the API server.
func (c *checks) unchecked() bool { return c.identity == "" || len(c.open) > 0 }

// close enters what a list from the API server of this identity has shown of the
// objects that were in the store before it.
func (c *checks) close(identity string, asked map[types.UID]struct{}, listed map[types.UID]struct{}) {
	if identity != c.identity {
		c.reset()
		c.identity = identity
	}
	for _, uid := range c.objects {
		_, shown := listed[uid]
		if _, was := asked[uid]; was || shown {
			c.shown[uid] = shown
			delete(c.open, uid)
		}
	}
}

// reset forgets all proof, because the API server is another one.
func (c *checks) reset() {
	c.identity = ""
	clear(c.shown)
	for _, uid := range c.objects {
		c.open[uid] = struct{}{}
	}
}

// Confirm makes sure that the API server is still the one that the facts were
// gathered under. It asks the API server itself, after it was called. Nobody may
// act on a verdict with new volumes before that.
func (i *Inventory) Confirm(ctx context.Context, apiServer string) error {
	identity, err := i.oracle.ask(ctx)
	if err != nil {
		return err
	}
	if identity == apiServer {
		return nil
	}
	i.mu.Lock()
	if i.ledger.checks.identity != identity {
		i.ledger.checks.reset()
		i.ledger.review()
	}
	i.mu.Unlock()
	i.kick()
	return fmt.Errorf("confirm API server %s, which is %s now: %w", apiServer, identity, ErrAnotherAPIServer)
}

// Prove compares the reports in the store with the API server, if there are any
// that were not compared yet. It lists capacities first and volumes second, so
// that the volumes include all that were published before the capacities.
func (i *Inventory) Prove(ctx context.Context) error {
	i.proving.Lock()
	defer i.proving.Unlock()
	i.catchUp()
	asked, needed := i.openChecks()
	if !needed {
		return nil
	}
	identity, err := i.oracle.ask(ctx)
	if err != nil {
		return err
	}
	list, err := i.client.StorageV1().CSIStorageCapacities(volume.SystemNamespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list capacities: %w", err)
	}
	listed := make(map[types.UID]struct{}, len(list.Items))
	for n := range list.Items {
		// Whoever published it may have seen the volumes of a former API server only.
		// Older agents do not say which one they saw.
		if of := list.Items[n].Annotations[volume.AnnotationAPIServer]; of == "" || of == identity {
			listed[list.Items[n].UID] = struct{}{}
		}
	}
	if err := i.seenAllVolumes(ctx); err != nil {
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.ledger.checks.close(identity, asked, listed)
	i.ledger.review()
	return nil
}

// openChecks returns the capacity objects that have to be compared, and whether
// anything has.
func (i *Inventory) openChecks() (asked map[types.UID]struct{}, needed bool) {
	i.mu.RLock()
	defer i.mu.RUnlock()
	c := &i.ledger.checks
	asked = make(map[types.UID]struct{}, len(c.objects))
	for _, uid := range c.objects {
		asked[uid] = struct{}{}
	}
	return asked, c.unchecked()
}

// seenAllVolumes says that the store has every volume of a list made now.
func (i *Inventory) seenAllVolumes(ctx context.Context) error {
	list, err := i.client.CoreV1().PersistentVolumes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list volumes: %w", err)
	}
	for n := range list.Items {
		pv := &list.Items[n]
		if !isOurs(pv) {
			continue
		}
		if seen, exists := get[*corev1.PersistentVolume](i.volumes, pv.Name); !exists || seen.UID != pv.UID {
			return fmt.Errorf("look for volume %s: %w", pv.Name, ErrBehind)
		}
	}
	return nil
}

// review adds everything up anew, after checks have changed.
func (l *ledger) review() {
	for _, g := range l.groups {
		l.touchedGroups[g] = struct{}{}
	}
	for name := range l.nodes {
		l.touchedNodes[name] = struct{}{}
	}
	l.settle()
}

// Run compares new reports with the API server as they come, until ctx ends, so
// that no pod has to wait for it. Each time that nothing is left to compare, it
// calls proven.
func (i *Inventory) Run(ctx context.Context, proven func()) {
	logger := klog.FromContext(ctx)
	const first, last = 50 * time.Millisecond, 5 * time.Second
	delay := first
	for {
		var again <-chan time.Time
		if i.synced() {
			attempt, cancel := context.WithTimeout(ctx, proveTimeout)
			err := i.Prove(attempt)
			cancel()
			if err == nil {
				delay = first
				proven()
			} else {
				logger.V(2).Info("Reports are not compared with the API server yet", "err", err, "retry", delay)
				again = time.After(delay)
				delay = min(2*delay, last)
			}
		} else {
			again = time.After(first)
		}
		select {
		case <-again:
		case <-i.kicked:
		case <-ctx.Done():
			return
		}
	}
}

// kick has Run look at once.
func (i *Inventory) kick() {
	select {
	case i.kicked <- struct{}{}:
	default:
	}
}
