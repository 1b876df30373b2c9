package provisioner

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/berth-dev/berth/pkg/lvm"
	"github.com/berth-dev/berth/pkg/volume"
)

// What people do with the commands of lvm-provisioner.

// undelete is what a person does who looked at every machine's inventory first:
// the claim has no other volume, and no sibling moved in with it meanwhile.
func (w *world) undelete(r *rand.Rand) string {
	for _, i := range r.Perm(len(w.machines)) {
		m := w.machines[i]
		for _, v := range m.survey(w) {
			if !m.on || v.Err != nil || !v.Tags.State.Deleted() || w.claim(v.Tags.Claim) != nil || w.known(v.Tags.Claim) || w.gaveUp(v.Tags.Claim) || w.siblingIn(m, v) {
				continue
			}
			end, err := m.links.Lock()
			if err != nil {
				return fmt.Sprintf("%s on %s: %v", v.Tags.Claim, m, err)
			}
			_, err = Undelete(context.Background(), lvm.New(m.disk), w.client, v.LV.UUID)
			end()
			if err == nil {
				delete(w.asked, v.LV.UUID)
				w.open[v.Tags.Claim] = !w.hasPV(v) // its node has reported without it
			}
			return fmt.Sprintf("%s on %s: %v", v.Tags.Claim, m, err)
		}
	}
	return ""
}

func (w *world) siblingIn(m *machine, v Volume) bool {
	return slices.ContainsFunc(m.survey(w), func(o Volume) bool {
		return o.VG.UUID == v.VG.UUID && o.LV.UUID != v.LV.UUID && o.Err == nil && !o.Tags.State.Deleted() &&
			v.Tags.Member.StatefulSet != "" && o.Tags.Member.StatefulSet == v.Tags.Member.StatefulSet
	})
}

// wellWithout are siblings that are synced without the member.
type wellWithout struct{}

func (wellWithout) WithoutMember(context.Context, string, volume.Member) error { return nil }

// giveUp is abandon: a person takes a member's data for lost. What is given up may be
// put aside from then on, and the member may begin anew.
func (w *world) giveUp(r *rand.Rand) string {
	return w.giveUpOf(claimNames[r.IntN(len(claimNames))])
}

func (w *world) giveUpOf(name string) string {
	if _, member := cutMember(name); !member {
		return ""
	}
	plan, err := PlanAbandon(context.Background(), w.client, wellWithout{}, "db", name)
	if err == nil {
		err = plan.Do(context.Background(), w.client, "lost")
		for _, v := range w.volumes {
			if v.claim == name && v.state == volume.Ready && v.generation <= plan.Generation {
				v.givenUp, v.wasGivenUp = true, true
			}
		}
	}
	return fmt.Sprintf("%s: %v", name, err)
}

// gaveUp says that some volume of the claim was given up once.
func (w *world) gaveUp(claim string) bool {
	for _, v := range w.volumes {
		if v.claim == claim && v.wasGivenUp {
			return true
		}
	}
	return false
}

// remembersGivingUp says that the API has the person's word, or a successor.
func (w *world) remembersGivingUp(v *logical) bool {
	if c := w.claim(v.claim); c != nil && volume.Abandoned(c.Annotations) >= v.generation {
		return true
	}
	return slices.ContainsFunc(w.pvs(), func(pv corev1.PersistentVolume) bool {
		generation, err := generationOf(&pv)
		return pv.Spec.ClaimRef != nil && pv.Spec.ClaimRef.Name == v.claim &&
			(volume.Abandoned(pv.Annotations) >= v.generation || err == nil && generation > v.generation)
	})
}

// adoptAgain is adopt: a person who looked at every machine's inventory first
// decides for a volume that was put aside, where nothing uses another one of its
// claim and no sibling has moved in with it.
func (w *world) adoptAgain(r *rand.Rand) string {
	for _, i := range r.Perm(len(w.machines)) {
		m := w.machines[i]
		for _, v := range m.survey(w) {
			if v.Err != nil || v.Tags.State != volume.Superseded || !w.allShown(v.Tags.Claim) || w.siblingIn(m, v) {
				continue
			}
			if c := w.claim(v.Tags.Claim); c != nil && c.Spec.VolumeName != "" {
				continue
			}
			end, err := m.links.Lock()
			if err != nil {
				return fmt.Sprintf("%s on %s: %v", v.Tags.Claim, m, err)
			}
			system := lvm.New(m.disk)
			plan, err := PlanAdopt(context.Background(), system, w.client, v.LV.UUID)
			if err == nil {
				err = plan.Adopt(context.Background(), system, w.client)
			}
			end()
			if err == nil {
				w.decided(v)
			}
			return fmt.Sprintf("%s on %s: %v", v.Tags.Claim, m, err)
		}
	}
	return ""
}

// decided notes a person's word for a volume, and so against the others of its claim.
func (w *world) decided(v Volume) {
	for uuid, known := range w.volumes {
		if known.claim == v.Tags.Claim && uuid != v.LV.UUID && known.state == volume.Ready {
			known.givenUp, known.wasGivenUp = true, true
		}
	}
	w.volumes[v.LV.UUID].givenUp = false
	w.open[v.Tags.Claim] = !w.hasPV(v) // its node has reported
}

func (w *world) hasPV(v Volume) bool {
	return slices.ContainsFunc(w.pvs(), func(pv corev1.PersistentVolume) bool { return pv.Annotations[volume.AnnotationLVUUID] == v.LV.UUID })
}

// allShown says that each volume of a claim is in a machine that is on, and each that
// could serve it on the API.
func (w *world) allShown(claim string) bool {
	for _, m := range w.machines {
		for _, v := range m.survey(w) {
			if v.Err != nil || v.Tags.Claim != claim || v.Tags.State.Deleted() {
				continue
			}
			if !m.on || !w.hasPV(v) && v.Tags.State != volume.Superseded {
				return false
			}
		}
	}
	return true
}
