package provisioner

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/berth-dev/berth/pkg/volume"
)

// orphanAfter is how long a volume waits for its claim to be made again before
// it is called an orphan. It only reports; nothing is ever removed for its age.
const orphanAfter = 24 * time.Hour

// orphanKind says why a volume has no claim; it is the label of a metric.
type orphanKind string

const (
	notOrphan     orphanKind = ""
	orphanUnmade  orphanKind = "unfinished" // its claim went away while it was being made
	orphanOld     orphanKind = "superseded" // its claim has another volume
	orphanWaiting orphanKind = "retained"   // its claim is gone for longer than orphanAfter
)

// orphan tells whether nobody asks for the volume. One in the trash has its
// deadline, and of one that cannot be read nobody knows whose it is.
func (a *Agent) orphan(v Volume) (orphanKind, error) {
	if v.Err != nil || v.Tags.State.Deleted() {
		return notOrphan, nil
	}
	if v.Tags.State == volume.Superseded {
		return orphanOld, nil
	}
	_, err := a.claims.PersistentVolumeClaims(v.Tags.Namespace).Get(v.Tags.Claim)
	if !apierrors.IsNotFound(err) {
		return notOrphan, err
	}
	if v.Tags.State == volume.Creating {
		return orphanUnmade, nil
	}
	pvs, err := a.pvsOf(v)
	if err != nil || len(pvs) != 1 || pvs[0].Status.Phase != corev1.VolumeAvailable {
		return notOrphan, err // it has a problem of its own, or is about to be reserved
	}
	since := pvs[0].Status.LastPhaseTransitionTime
	if since == nil || a.clock.Since(since.Time) < orphanAfter {
		return notOrphan, nil
	}
	return orphanWaiting, nil
}

// reportOrphans counts the volumes that nobody asks for, and says each once.
func (a *Agent) reportOrphans(f *facts) error {
	a.metrics.orphans.Reset()
	a.metrics.orphanBytes.Reset()
	for _, v := range f.volumes {
		kind, err := a.orphan(v)
		if err != nil {
			return fmt.Errorf("look for the claim of %s: %w", v, err)
		}
		if kind == notOrphan {
			continue
		}
		a.metrics.orphans.WithLabelValues(v.VG.Name, string(kind)).Inc()
		a.metrics.orphanBytes.WithLabelValues(v.VG.Name, string(kind)).Add(float64(v.LV.Size))
		a.notices.say(f.node, v.LV.UUID, orphaned(v, kind))
	}
	return nil
}
