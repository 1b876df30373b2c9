package provisioner

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"

	"github.com/berth-dev/berth/pkg/lvm/lvmtest"
	"github.com/berth-dev/berth/pkg/volume"
)

// model is what must be true whatever the product thinks: who owns which volume,
// what users asked for, and where data was written.
type model struct {
	volumes map[string]*logical // by LV UUID, of all that ever were
	asked   map[string]bool     // LV UUIDs that a user wants deleted
	open    map[string]bool     // claims whose PV was lost and not published again
	names   int
	problem string
	at      int               // the call that goes wrong in a path, see disturbed; 0 is none, -1 is past
	wrong   fault             // and how
	refused map[string]string // what the scheduler said last of a claim
	reached map[string]int    // what the sequences came to, so that one can see that they do
}

// logical is what the model knows of a logical volume.
type logical struct {
	claim    string
	state    volume.State
	deadline int64
	data     bool
	used     bool // bound to its claim once: before that no data can be in it
	fsUUID   string
	size     int64 // in bytes
	life     int   // of the API server that had a PV of it last
	readyAt  int   // the sequence number of its group with which it was seen ready
	twin     bool  // one of two, see isTwin

	generation int
	givenUp    bool // by a person, and the API has not forgotten it
	wasGivenUp bool // once
}

// serves says that the volume may be its claim's.
func (v *logical) serves() bool { return v.state == volume.Ready && !v.givenUp }

// lone is the one ready volume of a claim.
type lone struct {
	volume  Volume
	machine *machine
	used    bool
}

func newModel() model {
	return model{volumes: map[string]*logical{}, asked: map[string]bool{}, open: map[string]bool{}, refused: map[string]string{}, reached: map[string]int{}}
}

func (w *world) fail(format string, args ...any) {
	if w.problem == "" {
		w.problem = fmt.Sprintf(format, args...)
	}
}

func (w *world) written(claim string, v *lvmtest.Volume) {
	known := w.volumes[v.UUID]
	switch {
	case known == nil || known.claim != claim:
		w.fail("I1: claim %s is bound to volume %s, which is not its own", claim, v.Name)
	default:
		if !known.data {
			w.reached["written"]++
		}
		known.data, known.fsUUID = true, v.FSUUID
	}
}

// known says that some ready volume is the claim's.
func (w *world) known(claim string) bool {
	for _, v := range w.volumes {
		if v.claim == claim && v.serves() {
			return true
		}
	}
	return false
}

// inUse says that the claim's volume was bound to it once.
func (w *world) inUse(claim string) bool {
	for _, v := range w.volumes {
		if v.claim == claim && v.serves() && v.used {
			return true
		}
	}
	return false
}

// twice says that a claim has a second volume, on another machine, because disks
// moved between its making and its first use. That is for a person to end.
func (w *world) twice(claim string) bool {
	n := 0
	for _, v := range w.volumes {
		if v.claim == claim && v.state == volume.Ready {
			n++
		}
	}
	return n > 1
}

// judgeDecision looks at where the scheduler sends a claim, before it is done: I3 as
// far as it has seen the volume, I5. Where the API shows it otherwise, it is up to the
// agent to make none (judgeVolume).
func (w *world) judgeDecision(claim, node string, blank bool) {
	if !blank {
		return
	}
	if home := w.holder(claim); home != nil && home.node != node && w.inUse(claim) {
		if w.schedulerIsBehind(claim) {
			w.reached["claim sent astray by a watch that lags"]++
			return
		}
		w.fail("I3: a blank volume for %s on %s, and its data is on %s", claim, node, home)
	}
	w.judgeRoom(claim, node)
}

// schedulerIsBehind says that the API shows a volume of the claim otherwise than the
// scheduler has seen it.
func (w *world) schedulerIsBehind(claim string) bool {
	seen := w.seen.Core().V1().PersistentVolumes().Informer().GetStore()
	return slices.ContainsFunc(w.pvs(), func(pv corev1.PersistentVolume) bool {
		o, exists, err := seen.GetByKey(pv.Name)
		w.must(err)
		return pv.Spec.ClaimRef != nil && pv.Spec.ClaimRef.Name == claim && (!exists || o.(*corev1.PersistentVolume).ResourceVersion != pv.ResourceVersion)
	})
}

// judgeRoom holds I5 where the scheduler could know: it has seen the group as it
// is. It knows of every claim that it sent, and of their requests what it has seen.
func (w *world) judgeRoom(claim, node string) {
	i := slices.IndexFunc(w.machines, func(m *machine) bool { return m.node == node })
	for _, o := range w.seen.Storage().V1().CSIStorageCapacities().Informer().GetStore().List() {
		c := o.(*storagev1.CSIStorageCapacity)
		for _, g := range w.machines[i].disk.Groups() {
			free := g.Free * lvmtest.ExtentSize
			if c.Annotations[volume.AnnotationNode] != node || c.Annotations[volume.AnnotationVGUUID] != g.UUID || c.Capacity.Value() != free {
				continue
			}
			for _, other := range w.claims() {
				waits := other.Annotations[annSelectedNode] == node && w.holderOfAny(other.Name) == nil
				if other.Name == claim || waits {
					free -= w.requestSeen(&other)
				}
			}
			if free < 0 {
				w.fail("I5: %s is sent to %s, which is promised %d bytes more than it has", claim, node, -free)
			}
		}
	}
}

// requestSeen is what the scheduler knows that the claim asks for.
func (w *world) requestSeen(c *corev1.PersistentVolumeClaim) int64 {
	o, _, err := w.seen.Core().V1().PersistentVolumeClaims().Informer().GetStore().Get(c)
	w.must(err)
	if seen, known := o.(*corev1.PersistentVolumeClaim); known && seen.UID == c.UID {
		return requested(seen)
	}
	return requested(c)
}

// judge compares the world with the model after an act.
func (w *world) judge() {
	now := map[string]bool{}
	ready := map[string]*lone{}
	for _, m := range w.machines {
		w.judgeMachine(m, now, ready)
	}
	for uuid, v := range w.volumes {
		if now[uuid] || v.state == "" {
			continue
		}
		if !v.state.Deleted() || !w.asked[uuid] || v.deadline > w.clock.Now().Unix() {
			w.fail("I2: volume %s of %s is gone; it was %s, deletion asked for: %t", uuid, v.claim, v.state, w.asked[uuid])
		}
		v.state = ""
		w.reached["removed"]++
	}
	for _, v := range w.volumes {
		if v.givenUp && v.state == volume.Ready && !w.remembersGivingUp(v) {
			v.givenUp = false // with the API's memory the person's word is gone
			w.reached["given up and forgotten"]++
		}
	}
	w.judgePVs()
	w.judgeReports()
}

func (w *world) judgeMachine(m *machine, now map[string]bool, ready map[string]*lone) {
	for _, bad := range m.disk.Violations() {
		w.fail("I2: %s", bad)
	}
	for _, g := range m.disk.Groups() {
		if g.Free < 0 {
			w.fail("I5: group %s on %s is overcommitted by %d extents", g.Name, m, -g.Free)
		}
	}
	devices := map[string]*lvmtest.Volume{}
	for _, v := range m.disk.Volumes() {
		devices[v.UUID] = v
	}
	members := map[string]string{} // by group
	for _, v := range m.survey(w) {
		uuid := v.LV.UUID
		now[uuid] = true
		if v.Err != nil {
			w.fail("tags of %s cannot be read: %v", v, v.Err)
			continue
		}
		w.judgeVolume(m, v, devices[uuid])
		if v.Tags.State == volume.Ready {
			if w.volumes[uuid].wasGivenUp {
				continue // it waits for its agent, or was the first to return when the API had forgotten
			}
			if other := ready[v.Tags.Claim]; other != nil && other.used && w.volumes[uuid].used && !w.volumes[uuid].twin {
				w.fail("I1: claim %s has two volumes with data, %s on %s and %s on %s", v.Tags.Claim, v, m, other.volume, other.machine)
			}
			if other := ready[v.Tags.Claim]; other == nil || !other.used {
				ready[v.Tags.Claim] = &lone{v, m, w.volumes[uuid].used}
			}
			if set := v.Tags.Member.StatefulSet; set != "" && w.volumes[uuid].used {
				if other := members[v.VG.UUID+set]; other != "" && other != v.Tags.Claim {
					w.fail("I4: %s and %s share a volume group", v.Tags.Claim, other)
				}
				members[v.VG.UUID+set] = v.Tags.Claim
			}
		}
	}
}

func (w *world) judgeVolume(m *machine, v Volume, device *lvmtest.Volume) {
	uuid, t := v.LV.UUID, v.Tags
	known := w.volumes[uuid]
	if known == nil {
		if other := w.holder(t.Claim); other != nil && w.inUse(t.Claim) {
			w.fail("I3: a blank volume is made for %s on %s, and its data is on %s", t.Claim, m, other)
		}
		w.reached["made"]++
		twin := w.isTwin(t.Claim)
		w.volumes[uuid] = &logical{claim: t.Claim, state: t.State, size: v.LV.Size, generation: t.Generation, readyAt: v.VG.Seqno, twin: twin}
		return
	}
	if known.claim != t.Claim {
		w.fail("I1: volume %s was %s's and is %s's", uuid, known.claim, t.Claim)
	}
	if known.state == volume.Trash && t.State == volume.Ready {
		w.reached["undeleted"]++
	}
	if known.state == volume.Wiping && t.State != volume.Wiping {
		w.fail("I2: volume %s of %s is %s, and its wiping has begun", uuid, t.Claim, t.State)
	}
	if known.state != volume.Wiping && t.State == volume.Wiping {
		w.reached["wiping"]++
	}
	if !known.state.Deleted() && t.State.Deleted() {
		w.reached["trash"]++
		switch {
		case !w.asked[uuid]:
			w.fail("I2: volume %s of %s is put into the trash, and nobody asked for it", uuid, t.Claim)
		case w.boundTo(uuid):
			w.fail("I2: volume %s of %s is put into the trash, and a claim is bound to it", uuid, t.Claim)
		}
	}
	if known.state == volume.Ready && t.State == volume.Superseded {
		w.reached["put aside"]++
		switch {
		case known.used && !known.wasGivenUp:
			w.fail("I2: volume %s of %s is put aside, and nobody gave it up", uuid, t.Claim)
		case w.boundTo(uuid):
			w.fail("I2: volume %s of %s is put aside, and a claim is bound to it", uuid, t.Claim)
		}
	}
	if known.state == volume.Superseded && t.State == volume.Ready {
		w.reached["adopted again"]++
	}
	if known.state == volume.Ready && t.State == volume.Creating {
		w.fail("I2: volume %s of %s was ready and is being made again", uuid, t.Claim)
	}
	if known.data && v.LV.Size > known.size {
		w.reached["grown"]++
	}
	if known.state != t.State {
		known.readyAt = v.VG.Seqno
	}
	known.state, known.deadline, known.size, known.generation = t.State, t.Retirement.Deadline, v.LV.Size, t.Generation
	if device.Formats > 1 {
		w.fail("I2: volume %s of %s was formatted %d times", uuid, t.Claim, device.Formats)
	}
	if known.data && !t.State.Deleted() && device.FSUUID != known.fsUUID {
		w.fail("I2: the data on volume %s of %s is gone", uuid, t.Claim)
	}
}

// isTwin says that a claim that gets a volume has one that nobody knows of: it was
// never on the API, and its disks went to another machine since. Limitations.md names
// it: which of the two is served after the API server has lost its memory is open.
func (w *world) isTwin(claim string) bool {
	twin := false
	for _, v := range w.volumes {
		if v.claim == claim && v.serves() {
			v.twin, twin = true, true
		}
	}
	return twin
}

func (w *world) boundTo(lvUUID string) bool {
	for _, pv := range w.pvs() {
		if ref := pv.Spec.ClaimRef; pv.Annotations[volume.AnnotationLVUUID] == lvUUID && ref != nil && ref.UID != "" {
			if c := w.claim(ref.Name); c != nil && c.UID == ref.UID {
				return true
			}
		}
	}
	return false
}

// judgePVs holds I1 on the API: one volume, at most one PV, of its own claim.
func (w *world) judgePVs() {
	pvs := map[string]string{}
	for _, pv := range w.pvs() {
		if known := w.volumes[pv.Annotations[volume.AnnotationLVUUID]]; known != nil {
			known.used = known.used || pv.Status.Phase == corev1.VolumeBound
			if known.data && known.life < w.life {
				w.reached["adopted after loss"]++
			}
			known.life = w.life
		}
		uuid, ref := pv.Annotations[volume.AnnotationLVUUID], pv.Spec.ClaimRef
		if other := pvs[uuid]; other != "" {
			w.fail("I1: volume %s has two PVs, %s and %s", uuid, pv.Name, other)
		}
		pvs[uuid] = pv.Name
		if known := w.volumes[uuid]; known == nil || ref != nil && ref.Name != known.claim {
			w.fail("I1: PV %s of volume %s is reserved for %v, the volume is of %+v", pv.Name, uuid, ref, known)
		}
	}
	for claim := range w.open {
		holder := w.holder(claim)
		if holder == nil || slices.ContainsFunc(w.pvs(), func(pv corev1.PersistentVolume) bool {
			return pv.Spec.ClaimRef != nil && pv.Spec.ClaimRef.Name == claim
		}) {
			delete(w.open, claim)
		}
	}
}
