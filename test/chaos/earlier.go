package chaos

import (
	"context"
	"errors"
	"sync"

	"github.com/berth-dev/berth/pkg/rebuild"
	"github.com/berth-dev/berth/test/loopback"
)

// earlier remembers how the object was when all members waited, before anybody
// had started: the state that an old snapshot of etcd may hold.
type earlier struct {
	cluster *loopback.Cluster
	forget  func()

	mutex sync.Mutex
	state *rebuild.Cluster
}

// remember watches the object until forget is called.
func remember(ctx context.Context, c *loopback.Cluster) *earlier {
	ctx, cancel := context.WithCancel(ctx)
	e := &earlier{cluster: c}
	var wait sync.WaitGroup
	wait.Go(func() {
		for state := range c.Watch(ctx) {
			if allWait(state) {
				e.mutex.Lock()
				e.state = &state
				e.mutex.Unlock()
			}
		}
	})
	e.forget = func() { cancel(); wait.Wait() }
	return e
}

func allWait(c rebuild.Cluster) bool {
	for _, ordinal := range c.Expected() {
		if r, found := c.Member(ordinal); !found || r.State != rebuild.Waiting {
			return false
		}
	}
	return c.Replicas > 0
}

// restore puts the object back.
func (e *earlier) restore(ctx context.Context) error {
	e.mutex.Lock()
	state := e.state
	e.mutex.Unlock()
	if state == nil {
		return errors.New("restore the object: no moment was seen at which all members waited")
	}
	return e.cluster.Restore(ctx, *state)
}
