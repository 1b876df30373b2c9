package member

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"k8s.io/klog/v2"

	"github.com/berth-dev/berth/pkg/rebuild"
)

// Intervals for what cannot be watched: the peers' group ports, and the
// StatefulSet, which the member's role may only get.
const (
	lookAgain    = time.Second
	rescaleAgain = 30 * time.Second
)

// await watches the cluster until this member is to join, or to bootstrap with
// a grant that everybody has agreed to. Meanwhile it keeps its report in the
// object, issues the grant when it is the one chosen, and agrees to others'. It
// answers the verdict and the state it was seen in.
func (m *Member) await(ctx context.Context, me rebuild.Report) (rebuild.Verdict, rebuild.Cluster, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	states := m.Store.Watch(ctx)
	ticker := time.NewTicker(lookAgain)
	defer ticker.Stop()
	rescales := time.NewTicker(rescaleAgain)
	defer rescales.Stop()
	var state *rebuild.Cluster
	var said rebuild.Reason
	for {
		select {
		case <-ctx.Done():
			return rebuild.Verdict{}, rebuild.Cluster{}, fmt.Errorf("wait for a verdict (last: %s): %w", said, ctx.Err())
		case s, open := <-states:
			if !open {
				return rebuild.Verdict{}, rebuild.Cluster{}, fmt.Errorf("wait for a verdict (last: %s): %w", said, ctx.Err())
			}
			state = &s
		case <-rescales.C:
			m.rescale(ctx) // a change comes back through the watch
			continue
		case <-ticker.C:
		}
		if state == nil {
			continue
		}
		v, next, err := m.consider(ctx, *state, me)
		if err != nil {
			klog.FromContext(ctx).Info("Cannot write to the GaleraCluster object; waiting and trying again", "err", err)
			continue
		}
		state = &next
		if v.Reason != said {
			m.say(ctx, v)
			said = v.Reason
		}
		if ready(next, v, me) {
			return v, next, nil
		}
	}
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

// consider decides on a state and does what the verdict asks of a member that
// still waits. It answers the verdict and the state it holds for.
func (m *Member) consider(ctx context.Context, c rebuild.Cluster, me rebuild.Report) (rebuild.Verdict, rebuild.Cluster, error) {
	if r, found := c.Member(me.Ordinal); !found || !r.Is(me) || r.State != me.State {
		// The object was lost, or restored from before this start.
		klog.FromContext(ctx).Info("This start's report is not in the GaleraCluster object: reporting again")
		next, err := m.Store.Update(ctx, func(c *rebuild.Cluster) bool { c.Put(me); return true })
		if err != nil {
			return rebuild.Verdict{}, c, err
		}
		c = next
	}
	c.Answering = m.answering(ctx, c)
	v := rebuild.Decide(c).For(c, me)
	if v.Action != rebuild.Bootstrap {
		return v, c, nil
	}
	next, err := m.Store.Update(ctx, func(c *rebuild.Cluster) bool {
		v = rebuild.Decide(*c).For(*c, me)
		issued := v.Action == rebuild.Bootstrap && v.Member == me.Ordinal && c.Issue(v, m.NewUUID())
		agreed := c.Agree(me, v)
		return issued || agreed
	})
	return v, next, err
}

// ready says whether a verdict lets this member go on.
func ready(c rebuild.Cluster, v rebuild.Verdict, me rebuild.Report) bool {
	switch v.Action {
	case rebuild.Join:
		return true
	case rebuild.Bootstrap:
		g, open := c.OpenGrant(v)
		return open && g.Member == me.Ordinal && len(c.Dissenters(g)) == 0
	}
	return false
}

// answering tries all other members' group ports at once. Every reported
// address is tried, whatever the report says: an answer proves a server, also
// when the object is older than it.
func (m *Member) answering(ctx context.Context, c rebuild.Cluster) []int {
	var mutex sync.Mutex
	var answering []int
	var tries sync.WaitGroup
	for _, r := range c.Members {
		if r.Ordinal == m.Ordinal || r.Address == "" || r.Address == m.Address {
			continue
		}
		tries.Go(func() {
			if m.Answers(ctx, r.Address) {
				mutex.Lock()
				defer mutex.Unlock()
				answering = append(answering, r.Ordinal)
			}
		})
	}
	tries.Wait()
	slices.Sort(answering)
	return answering
}

func (m *Member) say(ctx context.Context, v rebuild.Verdict) {
	kind := normal
	if v.Action == rebuild.Refuse {
		kind = warning
	}
	klog.FromContext(ctx).Info("Verdict", "action", v.Action, "rule", v.Rule)
	m.announce(ctx, kind, v.Reason)
}
