package provisioner

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"
)

// asking is the informer of PersistentVolumes as the library has it. The library looks
// at one when it changes, and then at the next resync only; what it does when one
// changes is all that it can be asked.
type asking struct {
	cache.SharedIndexInformer
	library cache.ResourceEventHandler
}

// AddEventHandlerWithResyncPeriod implements cache.SharedIndexInformer.
func (i *asking) AddEventHandlerWithResyncPeriod(handler cache.ResourceEventHandler, period time.Duration) (cache.ResourceEventHandlerRegistration, error) {
	i.library = handler
	return i.SharedIndexInformer.AddEventHandlerWithResyncPeriod(handler, period)
}

// again has the library look at a PersistentVolume soon.
func (i *asking) again(pv *corev1.PersistentVolume) { i.library.OnUpdate(pv, pv) }

// askAgain has the library ask once more for each deletion that is due of a volume
// that was not here in the pass before. While its disks were away the library was
// told that it is another node's, or was refused. The group is noted before this, so
// that a change that the library sees meanwhile is either answered rightly or in the
// cache already.
func (a *Agent) askAgain(all []Volume) error {
	here := make(map[string]bool, len(all))
	for _, v := range all {
		here[v.LV.UUID] = true
		if a.present[v.LV.UUID] {
			continue
		}
		pvs, err := a.pvsOf(v)
		if err != nil {
			return err
		}
		for _, pv := range pvs {
			if pv.Status.Phase == corev1.VolumeReleased && pv.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimDelete {
				a.ask(pv)
			}
		}
	}
	a.present = here
	return nil
}
