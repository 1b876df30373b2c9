package provisioner

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/berth-dev/berth/pkg/volume"
)

// DefaultWriters is how many PersistentVolumes an agent writes at the same time. One
// after the other, a thousand volumes found again wait a thousand times for the way to
// the API server and for its disks. Eight share most of that, and are few beside what
// an API server serves at once (600 requests unless somebody says otherwise), for the
// objects of many agents may be lost together.
const DefaultWriters = 8

// write is what is left to do for a volume on the API, once its disks are in order.
type write func(ctx context.Context) error

// settleAll settles all volumes and returns what became of each, in their order. The
// disks are worked on one after the other; the writes to the API, each of one volume's
// own PersistentVolume, go on beside that, as many at a time as there are writers. All
// have ended when it returns. An error is the context's.
func (a *Agent) settleAll(ctx context.Context, all []Volume) ([]error, error) {
	answers := make([]error, len(all))
	var writers errgroup.Group
	writers.SetLimit(a.writers)
	for i, v := range all {
		if ctx.Err() != nil {
			break // a command that was ended tells nothing about the volume
		}
		next, err := a.settle(ctx, v, all)
		switch {
		case next == nil:
			answers[i] = err
		case a.writers == 1:
			answers[i] = next(ctx) // so that the order of calls is known
		default:
			writers.Go(func() error {
				answers[i] = next(ctx)
				return nil
			})
		}
	}
	_ = writers.Wait() // what went wrong is among the answers
	return answers, ctx.Err()
}

// settle brings one volume home and its PV in line, but for the write that it
// returns. A volume in state creating is left to the claim that it is made for.
func (a *Agent) settle(ctx context.Context, v Volume, all []Volume) (write, error) {
	if v.Err != nil {
		return nil, tagsUnreadable(v)
	}
	switch v.Tags.State {
	case volume.Ready:
	case volume.Trash, volume.Wiping:
		return nil, a.retire(ctx, v, all)
	case volume.Superseded:
		return nil, a.putAside(ctx, v, all)
	default:
		return nil, nil
	}
	if _, err := ofClaim(all, v.Tags.Namespace, v.Tags.Claim); err != nil {
		return nil, err
	}
	s, err := a.rankOf(v, all)
	if err != nil {
		return nil, err
	}
	if why := s.outranks(v); why != "" {
		return nil, a.supersede(ctx, v, why)
	}
	if len(s.equal) > 0 {
		return nil, a.dispute(ctx, v, s.equal)
	}
	pvs, err := a.pvsOf(v)
	if err != nil {
		return nil, err
	}
	a.miss(v, pvs)
	if err := a.bringHome(ctx, v, false); err != nil {
		return nil, err
	}
	step, err := decide(v, pvs)
	if err != nil {
		return nil, err
	}
	switch step {
	case stepPublish:
		if v, err = a.grow(ctx, v, 0); err != nil { // what a crash left unfinished
			return nil, err
		}
		return func(ctx context.Context) error { return a.publish(ctx, v) }, nil
	case stepReserve:
		return func(ctx context.Context) error { return a.reserve(ctx, v, pvs[0]) }, nil
	case stepGrow:
		if patch := unshown(v, pvs[0]); len(patch) > 0 {
			return func(ctx context.Context) error { return a.show(ctx, pvs[0], patch) }, nil
		}
		return nil, a.growForClaim(ctx, v, pvs[0])
	default:
		return nil, nil
	}
}

// withdrawLinks leaves links only to volumes that are there and verified.
func (a *Agent) withdrawLinks(all []Volume) error {
	here := map[string]bool{}
	for _, v := range all {
		here[v.LV.UUID] = a.verified[v.LV.UUID]
	}
	a.verified = here
	return a.links.Keep(here)
}
