package provisioner

import (
	"fmt"
	"math/rand/v2"
	"strconv"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/berth-dev/berth/pkg/volume"
)

// judgeReports holds what I3 rests on: who publishes a group's free space to an API
// server has shown it every volume that was ready in that group, at that moment or
// before. The sequence number of the group's metadata says what was ready then.
func (w *world) judgeReports() {
	for _, c := range w.capacityObjects() {
		if c.Annotations[volume.AnnotationAPIServer] != w.identity() {
			continue // counts as no report
		}
		seqno, err := strconv.Atoi(c.Annotations[volume.AnnotationVGSeqno])
		w.must(err)
		for _, m := range w.machines {
			for _, v := range m.survey(w) {
				known := w.volumes[v.LV.UUID]
				if v.VG.UUID == c.Annotations[volume.AnnotationVGUUID] && known.state == volume.Ready && known.readyAt <= seqno && known.life < w.life {
					w.fail("I3: %s says that all volumes of group %s are on the API, and %s of %s never was", c.Annotations[volume.AnnotationNode], v.VG.Name, v, known.claim)
				}
			}
		}
	}
}

// identity is how agents and scheduler tell this API server's life from another one.
func (w *world) identity() string { return fmt.Sprintf("life-%d", w.life) }

// refusePVs has the API server refuse what agents write to PersistentVolumes, as an
// admission webhook does that is down, or has it take them again.
func (w *world) refusePVs(*rand.Rand) string {
	w.refusesPVs = !w.refusesPVs
	return fmt.Sprint(w.refusesPVs)
}

// refuses says that the API server does not take a call of an agent.
func (w *world) refuses(verb string, r schema.GroupVersionResource) bool {
	return w.refusesPVs && r == pvResource && verb != "get" && verb != "list"
}
