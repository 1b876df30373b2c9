package member

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"k8s.io/klog/v2"

	"github.com/berth-dev/berth/pkg/datadir"
	"github.com/berth-dev/berth/pkg/rebuild"
)

// Intervals for what cannot be watched: the peers' group ports, and the
// StatefulSet, which the member's role may only get.
const (
	lookAgain    = time.Second
	rescaleAgain = 30 * time.Second
)

// await watches the cluster until this member is to join, or to bootstrap with
// the grant that it answers, to which everybody has agreed, in the state that it
// answers. Meanwhile it keeps its report in the object, issues the grant, agrees
// to it, and reads all its pages.
func (m *Member) await(ctx context.Context, w *rebuild.Waiter) (rebuild.Cluster, *rebuild.Grant, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	states := m.Store.Watch(ctx)
	ticker := time.NewTicker(lookAgain)
	defer ticker.Stop()
	rescales := time.NewTicker(rescaleAgain)
	defer rescales.Stop()
	check := m.verify(ctx, w.Me)
	var state *rebuild.Cluster
	var said rebuild.Reason
	var away outage
	for {
		select {
		case <-ctx.Done():
			return rebuild.Cluster{}, nil, fmt.Errorf("wait for a verdict (last: %s): %w", said, ctx.Err())
		case s, open := <-states:
			if !open {
				return rebuild.Cluster{}, nil, fmt.Errorf("wait for a verdict (last: %s): %w", said, ctx.Err())
			}
			state = &s
		case <-check.ended():
			next, err := m.verified(ctx, check, w)
			if err != nil {
				return rebuild.Cluster{}, nil, err
			}
			check, state = nil, &next
		case <-rescales.C:
			m.rescale(ctx) // a change comes back through the watch
			continue
		case <-ticker.C:
		}
		if state == nil {
			if m.detaches(ctx, &away) {
				return rebuild.Cluster{}, nil, errDetached
			}
			continue
		}
		v, next, err := m.consider(ctx, *state, w)
		if err != nil {
			klog.FromContext(ctx).Info("Cannot write to the GaleraCluster object; waiting and trying again", "err", err)
			if m.detaches(ctx, &away) {
				return rebuild.Cluster{}, nil, errDetached
			}
			continue
		}
		away.over()
		state = &next
		if v.Reason != said {
			m.say(ctx, next, v)
			said = v.Reason
		}
		if grant, ready := w.Ready(next, v, time.Now()); ready && (grant == nil || check == nil) {
			return next, grant, nil
		}
	}
}

// verified reports what the check of the pages found. A grant to a member whose
// pages are bad is void, for the member is no candidate any more.
func (m *Member) verified(ctx context.Context, check *verification, w *rebuild.Waiter) (rebuild.Cluster, error) {
	if check.err != nil {
		return rebuild.Cluster{}, m.unread(ctx, check.err)
	}
	check.judge(ctx, &w.Me)
	return retry(ctx, m, "report the check of the pages", func() (rebuild.Cluster, error) {
		return m.Store.Update(ctx, func(c *rebuild.Cluster) bool {
			me := w.Me
			if r, found := c.Member(me.Ordinal); found && r.Is(me) && me.Class == r.Class {
				me.Agreed = r.Agreed
			}
			c.Put(me)
			return true
		})
	})
}

// rescale takes a changed number of replicas over: a member that waits for one
// that is no longer wanted would wait for ever.
func (m *Member) rescale(ctx context.Context) {
	shape, err := m.Workload.Shape(ctx, m.Cluster)
	if err == nil {
		_, err = m.Store.Update(ctx, func(c *rebuild.Cluster) bool {
			changed := c.Replicas != shape.Replicas || c.FirstOrdinal != shape.FirstOrdinal
			c.Replicas, c.FirstOrdinal = shape.Replicas, shape.FirstOrdinal
			return changed
		})
	}
	if err != nil {
		klog.FromContext(ctx).V(2).Info("Cannot look for a changed number of replicas", "err", err)
	}
}

// consider takes a step in a state: what the verdict asks of a member that still
// waits. It answers the verdict and the state it holds for.
func (m *Member) consider(ctx context.Context, c rebuild.Cluster, w *rebuild.Waiter) (rebuild.Verdict, rebuild.Cluster, error) {
	w.Answering, w.Outside = m.answering(ctx, c)
	trial := c.Clone()
	next, v, _, changes := w.Act(&trial, time.Now(), m.NewUUID)
	if !changes {
		*w = next
		return v, c, nil
	}
	var broken error
	written, err := m.Store.Update(ctx, func(c *rebuild.Cluster) (changed bool) {
		var promise int64
		next, v, promise, changed = w.Act(c, time.Now(), m.NewUUID)
		if promise > 0 {
			broken = datadir.WritePromise(m.Volume.Promise(), promise)
		}
		return changed && broken == nil
	})
	*w = next // also when it is not known whether the write has arrived
	return v, written, errors.Join(err, broken)
}

// answering tries all other members' group ports at once, and tells those that
// can be joined from those that are in no Primary component. Every reported
// address is tried, whatever the report says: an answer proves a server, also
// when the object is older than it.
func (m *Member) answering(ctx context.Context, c rebuild.Cluster) (answering, outside []int) {
	var mutex sync.Mutex
	var tries sync.WaitGroup
	for _, r := range c.Members {
		if r.Ordinal == m.Ordinal || r.Address == "" || r.Address == m.Address {
			continue
		}
		tries.Go(func() {
			if !m.Answers(ctx, r.Address) {
				return
			}
			out := m.Outside(ctx, r.Address)
			mutex.Lock()
			defer mutex.Unlock()
			if out {
				outside = append(outside, r.Ordinal)
			} else {
				answering = append(answering, r.Ordinal)
			}
		})
	}
	tries.Wait()
	slices.Sort(answering)
	slices.Sort(outside)
	return answering, outside
}

// say tells people about a verdict: on the pod, and, so that it is not said by
// every member, on the StatefulSet by the waiting one of the lowest ordinal.
func (m *Member) say(ctx context.Context, c rebuild.Cluster, v rebuild.Verdict) {
	kind := normal
	if v.Action == rebuild.Refuse {
		kind = warning
	}
	klog.FromContext(ctx).Info("Verdict", "action", v.Action, "rule", v.Rule)
	m.announce(ctx, kind, v.Reason)
	speaker := slices.IndexFunc(c.Members, func(r rebuild.Report) bool { return r.State == rebuild.Waiting })
	if speaker < 0 || c.Members[speaker].Ordinal != m.Ordinal {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, eventTimeout)
	defer cancel()
	if err := m.Workload.ClusterEvent(ctx, m.Cluster, kind, string(v.Reason.Code), v.Reason.String()); err != nil {
		klog.FromContext(ctx).V(2).Info("No event written", "err", err)
	}
}
