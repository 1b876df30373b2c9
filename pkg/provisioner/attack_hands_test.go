package provisioner

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-dev/berth/pkg/lvm/lvmtest"
	"github.com/berth-dev/berth/pkg/volume"
)

// What happens to machines, and what the PV controller does.

func bytesOf(extents int64) resource.Quantity {
	return *resource.NewQuantity(extents*lvmtest.ExtentSize, resource.BinarySI)
}

func cutMember(claim string) (pod string, member bool) { return strings.CutPrefix(claim, "data-") }

// write has a pod write to its volume, where it can.
func (w *world) write(r *rand.Rand) string {
	name := claimNames[r.IntN(len(claimNames))]
	c := w.claim(name)
	if c == nil || c.Status.Phase != corev1.ClaimBound {
		return ""
	}
	for _, pv := range w.pvs() {
		if pv.Name != c.Spec.VolumeName {
			continue
		}
		for _, m := range w.machines {
			for _, v := range m.disk.Volumes() {
				if m.on && v.UUID == pv.Annotations[volume.AnnotationLVUUID] && v.Active && !v.Unreadable {
					v.Data = true
					w.written(name, v)
					return name + " on " + m.name
				}
			}
		}
	}
	return ""
}

// wantDeleted is the way of the runbook: policy Delete, then the claim goes.
func (w *world) wantDeleted(r *rand.Rand) string {
	return w.wantDeletedOf(claimNames[r.IntN(len(claimNames))])
}

func (w *world) wantDeletedOf(name string) string {
	c := w.claim(name)
	if c == nil || c.Spec.VolumeName == "" {
		return ""
	}
	for _, pv := range w.pvs() {
		if pv.Name == c.Spec.VolumeName {
			pv.Spec.PersistentVolumeReclaimPolicy = corev1.PersistentVolumeReclaimDelete
			w.updatePV(&pv)
			w.asked[pv.Annotations[volume.AnnotationLVUUID]] = true
			w.must(w.client.CoreV1().PersistentVolumeClaims("db").Delete(context.Background(), name, metav1.DeleteOptions{}))
			return name
		}
	}
	return ""
}

// losePV takes a PV off the API server. Until its agent has passed, and for as
// long as its node is away, its claim's volume is known to nobody: the one window
// of I3 and I4 that limitations.md names, in which neither the claim nor a sibling
// is scheduled here.
func (w *world) losePV(r *rand.Rand) string {
	pvs := w.pvs()
	if len(pvs) == 0 {
		return ""
	}
	pv := pvs[r.IntN(len(pvs))]
	w.must(w.api.tracker.Delete(pvResource, "", pv.Name))
	w.open[pv.Spec.ClaimRef.Name] = true
	if known := w.volumes[pv.Annotations[volume.AnnotationLVUUID]]; known != nil {
		known.life = w.life // it may have been published in this very act
	}
	return pv.Name
}

// isOpen says that the window is open for the claim or for a sibling of it.
func (w *world) isOpen(claim string) bool {
	_, member := cutMember(claim)
	for other := range w.open {
		if _, sibling := cutMember(other); other == claim || member && sibling {
			return true
		}
	}
	return false
}

func (w *world) power(r *rand.Rand) string {
	m := w.machines[r.IntN(len(w.machines))]
	if !w.idle(m) {
		return ""
	}
	if m.on {
		w.powerOff(m)
	} else {
		w.powerOn(m)
	}
	return m.String()
}

func (w *world) powerOff(m *machine) {
	m.on, m.agents = false, nil
	m.disk.PowerCycle()
	w.must(m.links.Keep(nil))
	w.ready(m.node, false)
}

func (w *world) powerOn(m *machine) {
	m.on = true
	w.ready(m.node, true)
	w.startAgent(m)
}

// rename boots a machine under a new name. The old Node object stays, or goes.
func (w *world) rename(r *rand.Rand) string {
	m := w.machines[r.IntN(len(w.machines))]
	if !w.idle(m) {
		return ""
	}
	if m.on {
		w.powerOff(m)
	}
	old := m.node
	if r.IntN(2) == 0 {
		w.must(w.client.CoreV1().Nodes().Delete(context.Background(), old, metav1.DeleteOptions{}))
	}
	w.names++
	m.node, m.on = fmt.Sprintf("%s-%d", m.name, w.names), true
	w.join(m)
	w.startAgent(m)
	return old + " is " + m.node
}

// moveDisks puts the disks of two machines into each other.
func (w *world) moveDisks(r *rand.Rand) string {
	a := r.IntN(len(w.machines))
	b := (a + 1 + r.IntN(len(w.machines)-1)) % len(w.machines)
	from, to := w.machines[a], w.machines[b]
	if !w.idle(from) || !w.idle(to) {
		return ""
	}
	for _, m := range []*machine{from, to} {
		if m.on {
			w.powerOff(m)
		}
	}
	from.disk.Swap(to.disk)
	from.foul, to.foul = to.foul, from.foul
	for _, m := range []*machine{from, to} {
		w.powerOn(m)
	}
	return from.node + " and " + to.node
}

// fill takes the free space of a group away, or gives it back.
func (w *world) fill(r *rand.Rand) string {
	m := w.machines[r.IntN(len(w.machines))]
	if m.foul != nil {
		m.disk.Drop(m.foul)
		m.foul = nil
		return m.name + " has room again"
	}
	for _, g := range m.disk.Groups() {
		if free := g.Free; free > 0 {
			m.foul = m.disk.Add(g.Name, lvmtest.Volume{Name: "theirs", Extents: max(free-r.Int64N(3), 1)})
			return m.name + " is full"
		}
	}
	return ""
}

func (w *world) diskFails(r *rand.Rand) string {
	m := w.machines[r.IntN(len(w.machines))]
	for _, g := range m.disk.Groups() {
		m.disk.LosePV(g.Name, 1-g.Missing)
		return fmt.Sprintf("%s: %d missing", m.name, 1-g.Missing)
	}
	return ""
}

func (w *world) unreadable(r *rand.Rand) string {
	m := w.machines[r.IntN(len(w.machines))]
	all := m.disk.Volumes()
	if len(all) == 0 {
		return ""
	}
	v := all[r.IntN(len(all))]
	v.Unreadable = !v.Unreadable
	return fmt.Sprintf("%s on %s: %t", v.Name, m.name, v.Unreadable)
}

func (w *world) restart(r *rand.Rand) string {
	p := w.agent(r)
	if p == nil || !w.idle(p.machine) {
		return ""
	}
	p.machine.agents = nil
	w.startAgent(p.machine)
	return "on " + p.machine.node
}

// secondAgent lets a new agent run beside the old one, as in a rolling update.
func (w *world) secondAgent(r *rand.Rand) string {
	p := w.agent(r)
	if p == nil || len(p.machine.agents) > 1 {
		return ""
	}
	w.startAgent(p.machine)
	return "on " + p.machine.node
}

// something is an act that may happen in the middle of an agent's. An agent that
// is in the middle of one does not take part in it.
func (w *world) something(r *rand.Rand) string {
	all := acts()
	var sum int
	for _, a := range all {
		sum += a.weight
	}
	n := r.IntN(sum)
	for _, a := range all {
		if n -= a.weight; n < 0 {
			return a.name + " (" + a.do(w, r) + ")"
		}
	}
	return ""
}

// controlPVs does what kube-controller-manager does to our PVs and claims
// (pkg/controller/volume/persistentvolume/pv_controller.go, v1.37).
func (w *world) controlPVs() {
	for _, pv := range w.pvs() {
		w.controlPV(pv)
	}
	for _, c := range w.claims() {
		w.controlClaim(c)
	}
}

func (w *world) controlPV(pv corev1.PersistentVolume) {
	was, phase := pv.DeepCopy(), corev1.VolumeAvailable
	if ref := pv.Spec.ClaimRef; ref != nil && ref.UID != "" {
		c := w.claim(ref.Name)
		switch {
		case c == nil || c.UID != ref.UID:
			phase = corev1.VolumeReleased
		case c.Spec.VolumeName == pv.Name:
			phase = corev1.VolumeBound
		case c.Spec.VolumeName != "": // bound elsewhere: this one is let go
			if pv.Annotations[annBoundByCtrl] != "" {
				pv.Spec.ClaimRef = nil
				delete(pv.Annotations, annBoundByCtrl)
			} else {
				pv.Spec.ClaimRef.UID = ""
			}
		}
	}
	pv.Status.Phase = phase
	if was.Status.Phase != phase || (was.Spec.ClaimRef == nil) != (pv.Spec.ClaimRef == nil) || pv.Spec.ClaimRef != nil && *was.Spec.ClaimRef != *pv.Spec.ClaimRef {
		w.updatePV(&pv)
	}
}

func (w *world) controlClaim(c corev1.PersistentVolumeClaim) {
	pvs := w.pvs()
	if c.Spec.VolumeName != "" {
		// A PV that was published again is not bound to the claim any more.
		bound := slices.ContainsFunc(pvs, func(pv corev1.PersistentVolume) bool {
			return pv.Name == c.Spec.VolumeName && (pv.Spec.ClaimRef == nil || pv.Spec.ClaimRef.UID == c.UID)
		})
		if !bound && c.Status.Phase != corev1.ClaimLost {
			c.Status.Phase = corev1.ClaimLost
			w.updateClaim(&c)
		}
		return
	}
	for _, pv := range pvs {
		ref := pv.Spec.ClaimRef
		free := ref == nil && c.Annotations[annSelectedNode] == "" && pv.Status.Phase == corev1.VolumeAvailable
		if !free && (ref == nil || ref.Name != c.Name || ref.UID != "" && ref.UID != c.UID) || pv.Spec.Capacity.Storage().Value() < requested(&c) {
			continue
		}
		if ref == nil || ref.UID == "" {
			if ref == nil {
				pv.Annotations[annBoundByCtrl] = "yes"
			}
			pv.Spec.ClaimRef = &corev1.ObjectReference{Kind: "PersistentVolumeClaim", APIVersion: "v1", Namespace: c.Namespace, Name: c.Name, UID: c.UID}
		}
		pv.Status.Phase = corev1.VolumeBound
		w.updatePV(&pv)
		c.Spec.VolumeName, c.Status.Phase = pv.Name, corev1.ClaimBound
		c.Status.Capacity = corev1.ResourceList{corev1.ResourceStorage: *pv.Spec.Capacity.Storage()}
		w.updateClaim(&c)
		return
	}
}
