package loopback

import (
	"context"
	"sync"
	"time"

	"github.com/berth-dev/berth/pkg/rebuild"
)

// Decision is a grant and the time that it took, as the API server told both to
// a reader beside the members.
type Decision struct {
	Attempt int64
	// Took is from the last of the reports on which the grant rests until the grant.
	// It is 0 when one event brought both.
	Took time.Duration
}

// Decisions times the decisions of a cluster.
type Decisions struct {
	stop func()

	mutex    sync.Mutex
	reported map[string]time.Time // by the start of the container that waits
	attempt  int64
	made     []Decision
}

// TimeDecisions watches the object until Stop is called. It has begun when it
// returns.
func (c *Cluster) TimeDecisions(ctx context.Context) *Decisions {
	ctx, cancel := context.WithCancel(ctx)
	d := &Decisions{reported: map[string]time.Time{}}
	states := c.Watch(ctx)
	first := <-states
	if grant, found := first.LastGrant(); found {
		d.attempt = grant.Attempt
	}
	var wait sync.WaitGroup
	wait.Go(func() {
		for state := range states {
			d.note(state, time.Now())
		}
	})
	d.stop = sync.OnceFunc(func() { cancel(); wait.Wait() })
	return d
}

// Stop ends the watch.
func (d *Decisions) Stop() { d.stop() }

// Made are the decisions since the watch began, in their order.
func (d *Decisions) Made() []Decision {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	return append([]Decision(nil), d.made...)
}

// note takes over what a state has that the one before had not.
func (d *Decisions) note(state rebuild.Cluster, now time.Time) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	for _, ordinal := range state.Expected() {
		if r, found := state.Member(ordinal); found && r.State == rebuild.Waiting {
			if _, known := d.reported[r.Start]; !known {
				d.reported[r.Start] = now
			}
		}
	}
	grant, found := state.LastGrant()
	if !found || grant.Attempt <= d.attempt {
		return
	}
	d.attempt = grant.Attempt
	last := time.Time{}
	for _, r := range grant.Reports {
		if r.State != rebuild.Waiting { // excused by a proof: nobody waited for it
			continue
		}
		at, known := d.reported[r.Start]
		if !known {
			at = now // the event that brought the grant brought the report too
		}
		if at.After(last) {
			last = at
		}
	}
	d.made = append(d.made, Decision{Attempt: grant.Attempt, Took: now.Sub(last)})
}
