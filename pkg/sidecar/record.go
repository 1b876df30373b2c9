package sidecar

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"slices"
	"time"

	"k8s.io/klog/v2"

	"github.com/berth-dev/berth/pkg/datadir"
	"github.com/berth-dev/berth/pkg/member"
	"github.com/berth-dev/berth/pkg/rebuild"
	"github.com/berth-dev/berth/pkg/wsrep"
)

// recorder is what was written last.
type recorder struct {
	labelled *bool
	volume   datadir.Position
	peers    []string
	object   rebuild.Sighting
	written  time.Time // into the object
	failing  bool
}

// record writes down how far the server has come, on change: on the volume, so
// that a redo log that loses its end is seen, and into the object, so that
// members left behind do not start a cluster.
func (s *Sidecar) record(ctx context.Context) {
	tick := time.NewTicker(s.RecordInterval)
	defer tick.Stop()
	var last recorder
	for {
		err := s.recordOnce(ctx, &last)
		if err != nil && !last.failing && ctx.Err() == nil {
			klog.FromContext(ctx).Info("Cannot write down how far the server has come; trying again", "err", err)
		}
		last.failing = err != nil
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (s *Sidecar) recordOnce(ctx context.Context, last *recorder) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	before, unread := s.savedView()
	status, err := s.Server.Status(ctx)
	ready := s.unready(status, err) == ""
	s.metrics.server(status, ready)
	errs := []error{s.label(ctx, last, ready)}
	if err != nil || !status.InPrimary() {
		return errors.Join(errs...) // a server that is not there yet, or not any more, is no error of recording
	}
	sighting := rebuild.Sighting{Position: datadir.Undefined, View: status.View}
	v, err := s.savedView()
	if v.ID == before.ID && len(v.Members) == len(status.View) {
		sighting.ID = v.ID
	}
	errs = append(errs, cmp.Or(unread, err))
	if p := status.Position(); p.IsReal() {
		if err := s.makeDurable(ctx, last, p); err != nil {
			errs = append(errs, err)
		} else {
			sighting.Position = p
		}
	}
	return errors.Join(append(errs, s.tell(ctx, last, sighting))...)
}

// savedView is the last Primary view that the server has saved, if any. The server saves a view at once, and shows it when it has
// applied everything from before it.
func (s *Sidecar) savedView() (datadir.View, error) {
	view, _, err := datadir.ReadGvwstate(s.Volume.Data)
	if err != nil || view == nil {
		return datadir.View{}, err
	}
	return *view, nil
}

// makeDurable sees that a position that the server has committed is on disk, and
// notes it there.
func (s *Sidecar) makeDurable(ctx context.Context, last *recorder, p datadir.Position) error {
	if p == last.volume {
		return nil
	}
	if err := s.Server.FlushLogs(ctx); err != nil {
		return err
	}
	if err := datadir.WriteCommitted(s.Volume.Committed(), p); err != nil {
		return err
	}
	last.volume = p
	s.metrics.recorded.Set(float64(p.Seqno))
	return nil
}

// heartbeat is how often an idle server is written as seen.
const heartbeat = time.Minute

// tell writes a sighting into the object, when there is news and not too often. A
// changed view is written at once: when the power goes next, it may be what
// excuses a member.
func (s *Sidecar) tell(ctx context.Context, last *recorder, sighting rebuild.Sighting) error {
	changed := sighting.ID != last.object.ID || !slices.Equal(sighting.View, last.object.View)
	news := changed || sighting.Position != last.object.Position
	age := time.Since(last.written)
	if s.Store == nil || !changed && age < s.ObjectInterval || !news && age < heartbeat {
		return nil
	}
	late, err := s.unreported()
	if err != nil {
		return err
	}
	rescale := s.rescale(ctx)
	state, err := s.Store.Update(ctx, func(c *rebuild.Cluster) bool {
		rescale(c)
		if late != nil {
			report(c, *late)
		}
		c.Witness(sighting)
		if r, found := c.Member(s.Ordinal); found && r.PodUID == s.PodUID {
			r.Seen = time.Now().UTC().Format(time.RFC3339)
			if sighting.Position.IsReal() {
				r.Observed = &sighting.Position
			}
		}
		return true
	})
	if err != nil {
		return err
	}
	last.object, last.written = sighting, time.Now()
	return errors.Join(s.remember(last, state), s.catchUp(state, sighting.Position))
}

// rescale gives what takes a changed number of replicas over: while all servers
// run nobody else does, and who was scaled away is not known to be unwanted.
func (s *Sidecar) rescale(ctx context.Context) func(*rebuild.Cluster) {
	if s.Shape == nil {
		return func(*rebuild.Cluster) {}
	}
	shape, err := s.Shape(ctx)
	if err != nil { // it may be deleted, to be made again
		klog.FromContext(ctx).V(2).Info("Cannot look for a changed number of replicas", "err", err)
		return func(*rebuild.Cluster) {}
	}
	return func(c *rebuild.Cluster) { c.Replicas, c.FirstOrdinal = shape.Replicas, shape.FirstOrdinal }
}

// unreported is the report of a member that started its server without an API
// server.
func (s *Sidecar) unreported() (*rebuild.Report, error) {
	content, err := os.ReadFile(member.UnreportedFile(s.RunDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var r rebuild.Report
	if err == nil {
		err = json.Unmarshal(content, &r)
	}
	if err != nil || r.PodUID != s.PodUID {
		return nil, err
	}
	return &r, nil
}

// report makes up for a report that could not be given before the server started.
func report(c *rebuild.Cluster, late rebuild.Report) {
	r, found := c.Member(late.Ordinal)
	if found && r.Is(late) {
		return
	}
	if found {
		late.Volume = r.Volume // the claim's; its name could not be asked for
	}
	late.State = rebuild.Started
	c.Put(late)
}

// remember keeps the members' addresses on the volume, for a start without an
// API server.
func (s *Sidecar) remember(last *recorder, c rebuild.Cluster) error {
	peers := c.Addresses()
	if slices.Equal(peers, last.peers) {
		return nil
	}
	if err := datadir.WritePeers(s.Volume.Peers(), peers); err != nil {
		return err
	}
	last.peers = peers
	return nil
}

// catchUp notes the epoch of the cluster on the volume of a member that joined
// without an API server: else its data would look like another epoch's.
func (s *Sidecar) catchUp(c rebuild.Cluster, p datadir.Position) error {
	g, running := c.Running()
	if !running || !p.IsReal() || g.Position.UUID != p.UUID || g.Position.Seqno > p.Seqno {
		return nil
	}
	lineage, err := datadir.ReadLineage(s.Volume.Lineage())
	if err != nil || lineage == nil || lineage.Newest().Attempt >= g.Attempt || lineage.Ordinal != s.Ordinal {
		return err
	}
	return datadir.WriteLineage(s.Volume.Lineage(), c.Lineage(lineage.Namespace, lineage.Cluster, lineage.Ordinal, *g, false))
}

// label keeps the pod's label.
func (s *Sidecar) label(ctx context.Context, last *recorder, ready bool) error {
	if s.Label == nil || last.labelled != nil && *last.labelled == ready {
		return nil
	}
	if err := s.Label(ctx, ready); err != nil {
		return err
	}
	last.labelled = &ready
	return nil
}

var _ Server = (*wsrep.Server)(nil)
