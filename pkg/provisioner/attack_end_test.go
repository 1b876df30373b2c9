package provisioner

import (
	"context"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-dev/berth/pkg/placement"
	"github.com/berth-dev/berth/pkg/volume"
)

// converge ends all trouble and lets everybody work in turn; afterwards each claim
// has its own volume, and everything is published.
func (w *world) converge() []string {
	w.refusesPVs = false
	for _, m := range w.machines {
		if m.foul != nil {
			m.disk.Drop(m.foul)
			m.foul = nil
		}
		for _, g := range m.disk.Groups() {
			m.disk.LosePV(g.Name, 0)
		}
		for _, v := range m.disk.Volumes() {
			v.Unreadable = false
		}
		if !m.on {
			w.powerOn(m)
		}
	}
	var said []string
	for range 12 {
		w.clock.Step(time.Minute)
		w.heal()
		said = said[:0]
		w.controlPVs()
		for _, name := range claimNames {
			said = append(said, w.schedule(name, nil))
		}
		for _, m := range w.machines {
			said = append(said, w.agentsWork(m)...)
		}
		w.judge()
	}
	w.judgeEnd()
	return said
}

// takeOffLabels takes the labels of volume groups off that are in another machine
// now, which no agent does (limitations.md).
func (w *world) takeOffLabels(n corev1.Node) {
	here := map[string]bool{}
	for _, m := range w.machines {
		for _, g := range m.disk.Groups() {
			here[volume.NodeLabel(g.UUID)] = here[volume.NodeLabel(g.UUID)] || m.node == n.Name
		}
	}
	stale := false
	for key := range n.Labels {
		if at, group := here[key]; group && !at {
			delete(n.Labels, key)
			stale = true
		}
	}
	if stale {
		_, err := w.client.CoreV1().Nodes().Update(context.Background(), &n, metav1.UpdateOptions{})
		w.must(err)
	}
}

// heal is what people do when they look: Node objects of no machine are deleted,
// claims that lost their PV are made again, and so is the claim of each volume
// that is left.
func (w *world) heal() {
	ctx := context.Background()
	for _, n := range w.nodes() {
		if !w.isReady(n.Name) {
			w.must(w.client.CoreV1().Nodes().Delete(ctx, n.Name, metav1.DeleteOptions{}))
			continue
		}
		w.takeOffLabels(n)
	}
	for _, c := range w.claims() {
		if node := c.Annotations[annSelectedNode]; node != "" && c.Spec.VolumeName == "" && !w.isReady(node) {
			delete(c.Annotations, annSelectedNode) // what reason ProvisionerGone asks for
			w.updateClaim(&c)
		}
		if w.isOfGivenUp(&c) { // what reason SupersededInUse asks for
			_ = w.giveUpOf(c.Name)
		} else if c.Status.Phase == corev1.ClaimLost {
			w.must(w.client.CoreV1().PersistentVolumeClaims("db").Delete(ctx, c.Name, metav1.DeleteOptions{}))
		}
	}
	for _, pv := range w.pvs() {
		ref := pv.Spec.ClaimRef
		if pv.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimDelete && (ref == nil || w.claim(ref.Name) == nil || w.claim(ref.Name).UID != ref.UID) {
			pv.Spec.PersistentVolumeReclaimPolicy = corev1.PersistentVolumeReclaimRetain
			w.updatePV(&pv)
		}
	}
	for uuid, v := range w.volumes {
		if v.state == volume.Ready && w.claim(v.claim) == nil {
			_ = uuid
			w.makeClaimOf(v.claim, 1)
		}
	}
}

// isOfGivenUp says that the claim is bound to a volume that was given up, or about to be.
func (w *world) isOfGivenUp(c *corev1.PersistentVolumeClaim) bool {
	return slices.ContainsFunc(w.pvs(), func(pv corev1.PersistentVolume) bool {
		known := w.volumes[pv.Annotations[volume.AnnotationLVUUID]]
		return pv.Spec.ClaimRef != nil && pv.Spec.ClaimRef.UID == c.UID && known != nil && known.givenUp
	})
}

func (w *world) judgeEnd() {
	for uuid, v := range w.volumes {
		if v.givenUp && v.state == volume.Ready && !w.boundTo(uuid) {
			w.fail("no convergence: volume %s of %s was given up and is not put aside", uuid, v.claim)
		}
	}
	for _, c := range w.claims() {
		w.reached["bound at the end"]++
		waits := w.refused[c.Name] == string(placement.CodeMemberNotFound) || w.refused[c.Name] == string(placement.CodeHomeAway)
		if waits && w.holder(c.Name) == nil {
			continue // its volume may have outlived the API server elsewhere: a person has to give it up by name
		}
		if w.twice(c.Name) {
			w.reached["two volumes, of which one was never used"]++
			continue
		}
		if c.Status.Phase != corev1.ClaimBound {
			w.fail("no convergence: claim %s is %q, with node %q", c.Name, c.Status.Phase, c.Annotations[annSelectedNode])
			continue
		}
		if got, want := c.Status.Capacity.Storage().Value(), requested(&c); got < want {
			w.fail("no convergence: claim %s has %d bytes of %d", c.Name, got, want)
		}
		home := w.holder(c.Name)
		if home == nil {
			w.fail("no convergence: claim %s has no volume", c.Name)
			continue
		}
		for _, v := range home.survey(w) {
			if v.Tags.Claim != c.Name || v.Tags.State != volume.Ready {
				continue
			}
			if want := volume.PVName(v.LV.UUID); c.Spec.VolumeName != want {
				w.fail("no convergence: claim %s is bound to %s, its volume's PV is %s", c.Name, c.Spec.VolumeName, want)
			}
			if !home.links.Points(v.LV.UUID, v.LV.Path) || v.Tags.Growing {
				w.fail("no convergence: volume %s of %s is not served, or half grown", v, c.Name)
			}
		}
	}
	for _, m := range w.machines {
		for _, v := range m.disk.Volumes() {
			if v.FSType != "" && v.FSExtents != v.Extents && w.volumes[v.UUID].state == volume.Ready {
				w.fail("no convergence: the file system of %s fills %d of %d extents", v.Name, v.FSExtents, v.Extents)
			}
		}
		for _, g := range m.disk.Groups() {
			if !slices.ContainsFunc(w.capacityOf(m), func(vg string) bool { return vg == g.UUID }) {
				w.fail("no convergence: %s does not publish group %s", m, g.Name)
			}
		}
	}
}

func (w *world) capacityOf(m *machine) (groups []string) {
	for _, c := range w.capacityObjects() {
		if c.Annotations[volume.AnnotationNode] == m.node {
			groups = append(groups, c.Annotations[volume.AnnotationVGUUID])
		}
	}
	return groups
}
