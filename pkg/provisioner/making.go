package provisioner

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/berth-dev/berth/pkg/lvm"
	"github.com/berth-dev/berth/pkg/volume"
)

// What is long about a new volume is its file system, and that is between mkfs and one
// volume that nobody else touches. While it is made, other claims are served and passes
// made, in this process only. What they and this claim need from each other is in the
// report that is read afterwards, before the volume becomes ready.

// making holds the volumes that are being made, and how many file systems are made at
// the same time: more than the processors can make only hinder each other.
type making struct {
	volumes map[string]volume.Tags // by name
	rooms   chan struct{}
}

func newMaking() making {
	return making{volumes: map[string]volume.Tags{}, rooms: make(chan struct{}, min(max(runtime.NumCPU()/2, 1), 4))}
}

// inRoom makes a file system when there is room for one more.
func (m making) inRoom(ctx context.Context, do func() error) error {
	select {
	case m.rooms <- struct{}{}:
		defer func() { <-m.rooms }()
		return do()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// aside lets other acts of this agent go on while f works on the volume of one claim,
// which is in state creating and nobody's but this act's until f has ended.
func (a *Agent) aside(v Volume, f func() error) error {
	name := volume.LVName(v.Tags.Namespace, v.Tags.Claim)
	a.making.volumes[name] = v.Tags
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		delete(a.making.volumes, name)
	}()
	return f()
}

// notBeingMade refuses to begin with a claim whose volume another act is making, when
// the claim was deleted meanwhile and made again.
func (a *Agent) notBeingMade(claim *corev1.PersistentVolumeClaim) error {
	if _, is := a.making.volumes[volume.LVName(claim.Namespace, claim.Name)]; is {
		return fmt.Errorf("volume of claim %s/%s is being made for an earlier claim of this name; it is looked at again", claim.Namespace, claim.Name)
	}
	return nil
}

// noSiblingBeingMade holds invariant I4 for members whose volumes are made at the same
// time: the second one is decided when the first is ready, or is not.
func (a *Agent) noSiblingBeingMade(t volume.Tags) error {
	for _, o := range a.making.volumes {
		if areSiblings(t, o) {
			return fmt.Errorf("volume of claim %s/%s is being made here for member %s of the same cluster; claim %s is looked at again", o.Namespace, o.Claim, o.Member, t.Claim)
		}
	}
	return nil
}

// complete makes a volume in state creating ready, from wherever the last attempt
// left it.
func (a *Agent) complete(ctx context.Context, v Volume, claim *corev1.PersistentVolumeClaim, mkfsOptions []string) (*Volume, error) {
	there := a.clock.Now()
	if err := a.noSibling(v.VG, v.Tags); err != nil {
		return nil, err
	}
	if err := a.finish(ctx, v, mkfsOptions); err != nil {
		return nil, err
	}
	// Others were served meanwhile: the volume is judged once more, as it is now.
	made, err := a.mustFind(ctx, claim, there)
	if err != nil {
		return nil, err
	}
	if made.VG.UUID != v.VG.UUID || made.Tags.FSUUID != v.Tags.FSUUID || made.Tags.State != volume.Creating {
		return nil, fmt.Errorf("volume of claim %s/%s was %s with file system UUID %s and is %s in state %s with %s: it is looked at again",
			claim.Namespace, claim.Name, v, v.Tags.FSUUID, made, made.State(), made.Tags.FSUUID)
	}
	if err := a.noSibling(made.VG, made.Tags); err != nil {
		return nil, err
	}
	return made, a.makeReady(ctx, made)
}

// makeReady writes on the disk that the volume is its claim's.
func (a *Agent) makeReady(ctx context.Context, v *Volume) error {
	off, on := volume.StateTag(volume.Creating), volume.StateTag(volume.Ready)
	shared := a.shared
	if err := a.lvm.SwapTag(ctx, v.VG, v.LV, off, on); err != nil {
		return notAvailable(*v, err)
	}
	v.Tags.State = volume.Ready
	// No report with this number or a higher one is without it, and none that was
	// published before is as high.
	v.VG.Seqno++
	a.changed(shared, v.VG.Name, func(vg *lvm.VG) {
		for i := range vg.LVs {
			if lv := &vg.LVs[i]; lv.UUID == v.LV.UUID {
				lv.Tags = append(slices.DeleteFunc(slices.Clone(lv.Tags), func(tag string) bool { return tag == off }), on)
			}
		}
	})
	return nil
}

// seen is a report that serves several acts, and when it was asked for.
type seen struct {
	report *lvm.Report
	at     time.Time
}

// sharedFor is how long a report serves further claims. It may be as old as that, when
// a volume is made from it, only while claims come one after the other and no other
// agent of the machine can come in between: what this agent does itself is written into
// it or ends it (touched). What is left are hands, and disks that come: those two seconds
// are seconds in which the API server may take as long to answer.
const sharedFor = 2 * time.Second

// lookShared reads the disks, or takes what was read after a moment and is still true.
func (a *Agent) lookShared(ctx context.Context, after time.Time) (*lvm.Report, error) {
	if a.shared != nil && a.shared.at.After(after) && a.clock.Since(a.shared.at) < sharedFor {
		return a.shared.report, a.remember(a.shared.report) // what others report meanwhile
	}
	return a.look(ctx)
}

// touched ends a report whose volumes something is done to. It is called before every
// change of a volume group, and every activation.
func (a *Agent) touched() { a.shared = nil }

// changed writes into a report what serving a claim has changed in a volume group since,
// so that other claims can share it; to the watch it is no news. A nil report stays
// touched.
func (a *Agent) changed(shared *seen, vg string, how func(*lvm.VG)) {
	a.seqnos[vg]++
	if shared == nil {
		return
	}
	for i := range shared.report.VGs {
		if g := &shared.report.VGs[i]; g.Name == vg {
			how(g)
		}
	}
	a.shared = shared
}
