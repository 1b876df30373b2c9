package provisioner

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"

	"k8s.io/klog/v2"

	"github.com/berth-dev/berth/pkg/lvm/filesystem"
	"github.com/berth-dev/berth/pkg/volume"
)

// bringHome makes a ready volume usable: active, known by its file system's
// UUID, and linked. It costs commands only for a volume that was not verified
// since the agent started, or that has lost its device or link since; one that
// was just made, and recognised then, is not probed once more.
func (a *Agent) bringHome(ctx context.Context, v Volume, recognised bool) error {
	if v.LV.Active && a.verified[v.LV.UUID] && a.links.Points(v.LV.UUID, v.LV.Path) {
		return nil
	}
	delete(a.verified, v.LV.UUID)
	if !v.LV.Active {
		if err := a.lvm.Activate(ctx, v.VG, v.LV); err != nil {
			return notAvailable(v, err)
		}
	}
	if !recognised {
		if err := a.recognise(ctx, v); err != nil {
			return err
		}
	}
	if err := a.links.Set(v.LV.UUID, v.LV.Path); err != nil {
		return notAvailable(v, err)
	}
	a.verified[v.LV.UUID] = true
	klog.FromContext(ctx).V(2).Info("Volume is home", "lv", v.String(), "claim", klog.KRef(v.Tags.Namespace, v.Tags.Claim), "lvUUID", v.LV.UUID)
	return nil
}

// recognise looks whether the volume holds what its tags say. Of a raw volume
// only its user knows what is to be in it: the LV UUID is all its identity.
func (a *Agent) recognise(ctx context.Context, v Volume) error {
	if v.VG.Dir != "" {
		return v.LV.Err // the report has compared it with its record
	}
	content, certain := a.ahead[v.LV.UUID]
	if !certain {
		var err error
		if content, err = filesystem.Probe(ctx, a.run, v.LV.Path); err != nil {
			return notAvailable(v, err)
		}
	}
	if v.Tags.FSType != filesystem.None && !isOwn(v, content) {
		return contentUnknown(v, content)
	}
	return nil
}

// manyProbes is from how many on volumes are probed together, before the pass asks
// for them one by one: after a start all of them have to be. probesTogether is how
// many one command probes.
const manyProbes, probesTogether = 16, 128

// probeAhead probes the active volumes that are not home yet, when they are many,
// and returns what is certain, by LV UUID.
func (a *Agent) probeAhead(ctx context.Context, all []Volume) map[string]filesystem.Content {
	todo := map[string]string{} // LV UUID by device
	for _, v := range all {
		if v.Err == nil && v.Tags.State == volume.Ready && v.LV.Active && v.VG.Dir == "" && !a.verified[v.LV.UUID] {
			todo[v.LV.Path] = v.LV.UUID
		}
	}
	if len(todo) < manyProbes {
		return nil
	}
	ahead := map[string]filesystem.Content{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for devices := range slices.Chunk(slices.Sorted(maps.Keys(todo)), probesTogether) {
		wg.Go(func() {
			found := filesystem.ProbeAll(ctx, a.run, devices)
			mu.Lock()
			defer mu.Unlock()
			for _, device := range devices {
				if content, certain := found[device]; certain {
					ahead[todo[device]] = content
				}
			}
		})
	}
	wg.Wait()
	return ahead
}

func isOwn(v Volume, c filesystem.Content) bool {
	return c.Type == v.Tags.FSType && c.UUID == v.Tags.FSUUID
}

// finish makes the file system of a volume in state creating, from wherever the last
// attempt left it: only on a device that was read and is empty.
func (a *Agent) finish(ctx context.Context, v Volume, mkfsOptions []string) error {
	if err := a.safety.refuses(); err != nil {
		return err
	}
	if v.VG.MissingPVs > 0 {
		return vgPartial(v.VG.Name, a.node, v.VG.MissingPVs)
	}
	if !v.LV.Active {
		if err := a.lvm.Activate(ctx, v.VG, v.LV); err != nil {
			return notAvailable(v, err)
		}
	}
	if v.VG.Dir != "" {
		return nil
	}
	return a.aside(v, func() error { return a.format(ctx, v, mkfsOptions) })
}

// format makes the file system of a volume in state creating, where it is not
// there and complete.
func (a *Agent) format(ctx context.Context, v Volume, mkfsOptions []string) error {
	content, err := filesystem.Probe(ctx, a.run, v.LV.Path)
	if err != nil {
		return notAvailable(v, err)
	}
	switch {
	case content.IsEmpty() && v.Tags.FSType == filesystem.None:
	case content.IsEmpty():
		if err := a.making.inRoom(ctx, func() error {
			return filesystem.Make(ctx, a.run, v.LV.Path, v.Tags.FSType, v.Tags.FSUUID, mkfsOptions...)
		}); err != nil {
			return notAvailable(v, err)
		}
		if content, err = filesystem.Superblock(ctx, a.run, v.LV.Path); err != nil {
			return notAvailable(v, err)
		}
		if !isOwn(v, content) {
			return contentUnknown(v, content)
		}
	case isOwn(v, content):
		if err := filesystem.Check(ctx, a.run, v.LV.Path, v.Tags.FSType); err != nil {
			return fsIncomplete(v, err)
		}
	default:
		return contentUnknown(v, content)
	}
	return nil
}

// isReason tells a refusal, which retrying does not mend, from a failed step.
func isReason(err error) (Reason, bool) {
	var r Reason
	ok := errors.As(err, &r)
	return r, ok
}
