package provisioner

import (
	"context"
	"errors"

	"k8s.io/klog/v2"

	"github.com/berth-dev/berth/pkg/lvm/filesystem"
	"github.com/berth-dev/berth/pkg/volume"
)

// bringHome makes a ready volume usable: active, known by its file system's
// UUID, and linked. It costs commands only for a volume that was not verified
// since the agent started, or that has lost its device or link since.
func (a *Agent) bringHome(ctx context.Context, v Volume) error {
	if v.LV.Active && a.verified[v.LV.UUID] && a.links.Points(v.LV.UUID, v.LV.Path) {
		return nil
	}
	delete(a.verified, v.LV.UUID)
	if !v.LV.Active {
		if err := a.lvm.Activate(ctx, v.VG, v.LV); err != nil {
			return notAvailable(v, err)
		}
	}
	if err := a.recognise(ctx, v); err != nil {
		return err
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
	content, err := filesystem.Probe(ctx, a.run, v.LV.Path)
	if err != nil {
		return notAvailable(v, err)
	}
	if v.Tags.FSType != filesystem.None && !isOwn(v, content) {
		return contentUnknown(v, content)
	}
	return nil
}

func isOwn(v Volume, c filesystem.Content) bool {
	return c.Type == v.Tags.FSType && c.UUID == v.Tags.FSUUID
}

// finish makes a volume in state creating ready, from wherever the last attempt
// left it. A file system is made only on a device that was read and is empty.
func (a *Agent) finish(ctx context.Context, v Volume, mkfsOptions []string) error {
	if err := a.safety.refuses(); err != nil {
		return err
	}
	if !v.LV.Active {
		if err := a.lvm.Activate(ctx, v.VG, v.LV); err != nil {
			return notAvailable(v, err)
		}
	}
	content, err := filesystem.Probe(ctx, a.run, v.LV.Path)
	if err != nil {
		return notAvailable(v, err)
	}
	switch {
	case content.IsEmpty() && v.Tags.FSType == filesystem.None:
	case content.IsEmpty():
		if err := filesystem.Make(ctx, a.run, v.LV.Path, v.Tags.FSType, v.Tags.FSUUID, mkfsOptions...); err != nil {
			return notAvailable(v, err)
		}
		if content, err = filesystem.Probe(ctx, a.run, v.LV.Path); err != nil {
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
	if err := a.lvm.SwapTag(ctx, v.VG, v.LV, volume.StateTag(volume.Creating), volume.StateTag(volume.Ready)); err != nil {
		return notAvailable(v, err)
	}
	return nil
}

// isReason tells a refusal, which retrying does not mend, from a failed step.
func isReason(err error) (Reason, bool) {
	var r Reason
	ok := errors.As(err, &r)
	return r, ok
}
