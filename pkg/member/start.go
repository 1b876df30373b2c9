package member

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/klog/v2"

	"github.com/berth-dev/berth/pkg/datadir"
	"github.com/berth-dev/berth/pkg/rebuild"
)

// start acts on the verdict. What the object says may change until the last
// moment, so a step that the object no longer allows leads back to waiting.
func (m *Member) start(ctx context.Context, me rebuild.Report) error {
	w := &rebuild.Waiter{Me: me}
	for {
		state, grant, err := m.await(ctx, w)
		if err != nil {
			return err
		}
		if grant != nil {
			err = m.bootstrap(ctx, w, state, *grant)
		} else {
			err = m.join(ctx, w)
		}
		var again notNow
		if !errors.As(err, &again) {
			return err
		}
		klog.FromContext(ctx).Info("The server is not started yet", "reason", again.Error())
	}
}

// notNow is an error that leads back to waiting: the object, or the way to it,
// does not allow the step now.
type notNow struct {
	why string
	// unknown: the change may have been made.
	unknown bool
}

func (n notNow) Error() string { return n.why }

// commit makes the last change of the object before a server starts.
func (m *Member) commit(ctx context.Context, change func(*rebuild.Cluster) *rebuild.Reason) (rebuild.Cluster, error) {
	var refused *rebuild.Reason
	state, err := m.Store.Update(ctx, func(c *rebuild.Cluster) bool {
		refused = change(c)
		return refused == nil
	})
	switch {
	case err != nil && ctx.Err() != nil:
		return state, ctx.Err()
	case err != nil:
		return state, notNow{why: err.Error(), unknown: true}
	case refused != nil:
		return state, notNow{why: refused.String()}
	}
	return state, nil
}

// bootstrap starts a new epoch. Everything up to Consume can be repeated and
// starts nothing; the flag is written only afterwards, so that no volume keeps
// an instruction to bootstrap that nobody was granted.
func (m *Member) bootstrap(ctx context.Context, w *rebuild.Waiter, seen rebuild.Cluster, grant rebuild.Grant) error {
	if grant.Rule == rebuild.FirstInstall {
		if err := m.install(ctx, grant.Position); err != nil {
			return err
		}
	}
	if err := m.writeLineage(seen, grant, false); err != nil {
		return err
	}
	if err := m.finishInstall(); err != nil {
		return err
	}
	state, err := m.commit(ctx, func(c *rebuild.Cluster) *rebuild.Reason { return w.Consume(c, grant.Attempt, time.Now()) })
	var again notNow
	if errors.As(err, &again) && again.unknown {
		// The grant may be consumed, and the volume knows its epoch: what this process
		// has reported is no longer true. The next one looks at the volume anew.
		return fmt.Errorf("consume the grant of attempt %d, with unknown outcome: %s", grant.Attempt, again.why)
	}
	if err != nil {
		return err
	}
	klog.FromContext(ctx).Info("Grant consumed: bootstrapping", "attempt", grant.Attempt, "position", grant.Position, "rule", grant.Rule)
	if err := datadir.WriteGrastate(m.Volume.Data, grant.Position, true); err != nil {
		return err
	}
	return m.replace(w.Me, state.Addresses(), "--wsrep-new-cluster", "--wsrep-start-position="+grant.Position.String())
}

// join starts the server as a joiner. A sound member takes its own position
// along, so that an incremental transfer is enough; the others leave
// grastate.dat as it is, so that Galera gives them a full transfer.
func (m *Member) join(ctx context.Context, w *rebuild.Waiter) error {
	state, err := m.commit(ctx, func(c *rebuild.Cluster) *rebuild.Reason {
		w.Answering, w.Outside = m.answering(ctx, *c)
		return w.Enter(c, time.Now())
	})
	if err != nil {
		return err
	}
	me := w.Me
	if grant, found := state.Running(); found {
		if err := m.writeLineage(state, *grant, !me.Class.KeepsPosition()); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(m.Volume.Data, 0o750); err != nil {
		return fmt.Errorf("make the data directory: %w", err)
	}
	var extra []string
	if me.Class.KeepsPosition() {
		if err := datadir.WriteGrastate(m.Volume.Data, me.Position, false); err != nil {
			return err
		}
		extra = append(extra, "--wsrep-start-position="+me.Position.String())
	}
	klog.FromContext(ctx).Info("Joining", "class", me.Class, "position", me.Position)
	return m.replace(me, state.Addresses(), extra...)
}

// replace ends this process in favour of the server. Only a failure returns.
func (m *Member) replace(me rebuild.Report, peers []string, extra ...string) error {
	for _, name := range append([]string{"gvwstate.dat"}, datadir.ProcessFiles...) {
		if err := m.setAside(me, name); err != nil {
			return err
		}
	}
	if err := m.lock.Bequeath(); err != nil {
		return err
	}
	return m.Server.Start(append(extra,
		"--wsrep-cluster-address=gcomm://"+strings.Join(peers, ","),
		"--wsrep-node-address="+m.Address,
		"--wsrep-node-name="+m.Pod,
	)...)
}

func (m *Member) writeLineage(c rebuild.Cluster, g rebuild.Grant, fullTransfer bool) error {
	return datadir.WriteLineage(m.Volume.Lineage(), c.Lineage(m.Namespace, m.Cluster, m.Ordinal, g, fullTransfer))
}

// setAside moves a file that was reported out of the data directory. The saved
// view would make the member wait for its old identity, and a transfer's process
// number for a stranger's end; as evidence they are kept.
func (m *Member) setAside(me rebuild.Report, name string) error {
	from := filepath.Join(m.Volume.Data, name)
	if found, err := exists(from); err != nil || !found {
		return err
	}
	dir := filepath.Join(m.Volume.Evidence(), me.Start)
	if err := os.MkdirAll(dir, 0o770); err != nil {
		return fmt.Errorf("set %s aside: %w", name, err)
	}
	if err := os.Rename(from, filepath.Join(dir, name)); err != nil {
		return fmt.Errorf("set %s aside: %w", name, err)
	}
	return datadir.SyncDir(m.Volume.Data)
}
