package inventory

import (
	"sync"
	"sync/atomic"

	"k8s.io/client-go/tools/cache"
)

// kind is a kind of object that the ledger follows.
type kind int

const (
	nodes kind = iota
	capacities
	volumes
	claims
	classes
	kinds int = iota
)

// journal remembers which objects have changed since the ledger last looked.
//
// A store calls its index functions inside every write, under its lock, with the
// old object and the new one. That is the only notice that cannot come late: an
// event handler of ours may run after the scheduler's, which then has a pod
// decided on what the ledger does not know yet. The index itself stays empty.
type journal struct {
	changed atomic.Bool

	mu   sync.Mutex
	keys [kinds]map[string]struct{}
}

// indexer is an index function that notes every object of a kind.
func (j *journal) indexer(k kind) cache.IndexFunc {
	return func(o any) ([]string, error) {
		j.note(k, o)
		return nil, nil
	}
}

// handler notes what is gone after a list: the store is then replaced as a whole,
// and only handlers hear of the objects that the list did not have.
func (j *journal) handler(k kind) cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{DeleteFunc: func(o any) { j.note(k, o) }}
}

func (j *journal) note(k kind, o any) {
	key, err := cache.DeletionHandlingMetaNamespaceKeyFunc(o)
	if err != nil {
		return // not an object, so nothing that the ledger could look up
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.keys[k] == nil {
		j.keys[k] = map[string]struct{}{}
	}
	j.keys[k][key] = struct{}{}
	j.changed.Store(true)
}

// take returns the keys of the changed objects by kind, and forgets them.
func (j *journal) take() [kinds]map[string]struct{} {
	j.mu.Lock()
	defer j.mu.Unlock()
	keys := j.keys
	j.keys = [kinds]map[string]struct{}{}
	j.changed.Store(false)
	return keys
}
