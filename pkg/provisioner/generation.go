package provisioner

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
	"k8s.io/utils/ptr"

	"github.com/berth-dev/berth/pkg/lvm"
	"github.com/berth-dev/berth/pkg/volume"
)

const (
	// byClaim is the informer index of our PVs by namespace/name of their claim.
	byClaim = "berth.dev/claim-of-volume"
	// withheld stands in a PV's claim reference for the UID of a claim: no claim has
	// it, so that nobody binds the volume before a person has decided.
	withheld types.UID = "berth-withheld"
)

// indexByClaim finds the PVs of ours that are a claim's, or were.
func indexByClaim(obj any) ([]string, error) {
	pv, ok := obj.(*corev1.PersistentVolume)
	if !ok || pv.Spec.ClaimRef == nil || pv.Annotations[annProvisionedBy] != volume.Provisioner {
		return nil, nil
	}
	return []string{pv.Spec.ClaimRef.Namespace + "/" + pv.Spec.ClaimRef.Name}, nil
}

// rival is another volume of the same claim.
type rival struct {
	name       string
	generation int
	// unknown says that the generation cannot be read, and so is not lower.
	unknown bool
}

// standing is how a volume compares with the others of its claim.
type standing struct {
	// above has a higher generation; nil is none.
	above *rival
	// abandoned is the generation up to which a person gave the claim's volumes up.
	abandoned int
	equal     []rival
	// next is a generation above all that are known.
	next int
}

// rank compares generation with all that this node and the API know of the
// claim's volumes. lvUUID is the volume that asks; "" is none.
func (a *Agent) rank(all []Volume, namespace, claim, lvUUID string, generation int) (standing, error) {
	var s standing
	here := map[string]bool{lvUUID: true}
	var rivals []rival
	highest := 0
	for _, v := range all {
		if v.Err != nil || v.Tags.Namespace != namespace || v.Tags.Claim != claim {
			continue
		}
		here[v.LV.UUID] = true
		if !v.Tags.State.Deleted() {
			highest = max(highest, v.Tags.Generation)
		}
		if v.Tags.State == volume.Ready && v.LV.UUID != lvUUID {
			rivals = append(rivals, rival{name: fmt.Sprintf("%s (LV UUID %s, node %s)", v, v.LV.UUID, a.node), generation: v.Tags.Generation})
		}
	}
	pvs, err := a.pvs.ByIndex(byClaim, namespace+"/"+claim)
	if err != nil {
		return s, fmt.Errorf("look up PVs of claim %s/%s: %w", namespace, claim, err)
	}
	object, err := a.claims.PersistentVolumeClaims(namespace).Get(claim)
	if err != nil && !apierrors.IsNotFound(err) {
		return s, fmt.Errorf("read claim %s/%s: %w", namespace, claim, err)
	}
	if err == nil {
		s.abandoned = volume.Abandoned(object.Annotations)
	}
	for _, obj := range pvs {
		pv, ok := obj.(*corev1.PersistentVolume)
		if !ok {
			continue
		}
		s.abandoned = max(s.abandoned, volume.Abandoned(pv.Annotations))
		g, err := generationOf(pv)
		highest = max(highest, g)
		if !here[pv.Annotations[volume.AnnotationLVUUID]] {
			rivals = append(rivals, rival{
				name:       fmt.Sprintf("PersistentVolume %s (LV UUID %s, volume group %s)", pv.Name, pv.Annotations[volume.AnnotationLVUUID], pv.Annotations[volume.AnnotationVGUUID]),
				generation: g, unknown: err != nil,
			})
		}
	}
	for _, h := range a.remembered[namespace+"/"+claim] {
		highest = max(highest, h.Generation)
		// What is only remembered outranks, and is no proof that two are equal.
		if h.Generation > generation && lvUUID != "" {
			rivals = append(rivals, rival{name: "a volume in volume group " + h.VGUUID + ", which other disks remember,", generation: h.Generation})
		}
	}
	for i, r := range rivals {
		switch {
		case !r.unknown && (r.generation < generation || r.generation <= s.abandoned):
		case r.unknown || r.generation == generation:
			s.equal = append(s.equal, r)
		case s.above == nil || s.above.generation < r.generation:
			s.above = &rivals[i]
		}
	}
	s.next = max(highest, s.abandoned) + 1
	return s, nil
}

func (a *Agent) rankOf(v Volume, all []Volume) (standing, error) {
	return a.rank(all, v.Tags.Namespace, v.Tags.Claim, v.LV.UUID, v.Tags.Generation)
}

// outranks says why the volume is not the claim's any more, or "".
func (s standing) outranks(v Volume) string {
	switch {
	case v.Tags.Generation <= s.abandoned:
		return fmt.Sprintf("a person gave up generation %d and those before it", s.abandoned)
	case s.above != nil:
		return fmt.Sprintf("%s has generation %d", s.above.name, s.above.generation)
	}
	return ""
}

// allowsBlank refuses a blank volume, new or unfinished, while another one may hold
// the claim's data.
func (s standing) allowsBlank(claim *corev1.PersistentVolumeClaim) error {
	switch {
	case s.above != nil:
		return elsewhere(claim.Namespace, claim.Name, *s.above)
	case len(s.equal) > 0:
		return elsewhere(claim.Namespace, claim.Name, s.equal[0])
	}
	return nil
}

// supersede fences a volume that is not its claim's any more: out of use, which
// proves that nobody has it open, and kept. It is never removed by itself.
func (a *Agent) supersede(ctx context.Context, v Volume, why string) error {
	if v.VG.MissingPVs > 0 {
		return vgPartial(v.VG.Name, a.node, v.VG.MissingPVs)
	}
	pvs, err := a.pvsOf(v)
	if err != nil {
		return err
	}
	for _, pv := range pvs {
		if used, err := a.isBound(ctx, pv); err != nil || used {
			return errors.Join(err, inUse(v, why, "claim bound to PersistentVolume "+pv.Name))
		}
	}
	// One that has just been saved, for a claim that is about to be bound to it, may
	// not have been seen yet. What else is of the claim can only outrank v the more;
	// this very pass may be writing it.
	if err := a.allSeen(ctx, v.Tags.Namespace, v.Tags.Claim, v.LV.UUID); err != nil {
		return fmt.Errorf("supersede %s: %w", v, err)
	}
	delete(a.verified, v.LV.UUID)
	if err := a.links.Remove(v.LV.UUID); err != nil {
		return err
	}
	if v.LV.Active {
		err := a.lvm.Deactivate(ctx, v.VG, v.LV)
		if errors.Is(err, lvm.ErrUnknown) {
			return fmt.Errorf("take %s out of use: %w", v, err)
		}
		if err != nil {
			return inUse(v, why, err.Error())
		}
	}
	if err := a.lvm.SwapTag(ctx, v.VG, v.LV, volume.StateTag(v.Tags.State), volume.StateTag(volume.Superseded)); err != nil {
		return fmt.Errorf("supersede %s: %w", v, err)
	}
	if node, err := a.nodes.Get(a.node); err == nil {
		a.events.Event(node, corev1.EventTypeWarning, CodeSuperseded, superseded(v, why).Text)
	}
	klog.FromContext(ctx).Info("Fenced a volume that is not its claim's any more", "lv", v.String(), "lvUUID", v.LV.UUID, "claim", klog.KRef(v.Tags.Namespace, v.Tags.Claim), "why", why)
	a.Wake()
	return a.moveAway(ctx, v, volume.SupersededName(v.LV.UUID))
}

// isBound tells whether a living claim holds the PV, by the API server's own word.
func (a *Agent) isBound(ctx context.Context, pv *corev1.PersistentVolume) (bool, error) {
	ref := pv.Spec.ClaimRef
	if ref == nil || ref.UID == "" || ref.UID == withheld {
		return false, nil
	}
	gone, err := a.claimIsGone(ctx, ref.Namespace, ref.Name, ref.UID)
	return !gone, err
}

// putAside finishes what supersede began, and takes the PV away once the claim
// has a volume of a higher generation: until then the PV says what was given up.
func (a *Agent) putAside(ctx context.Context, v Volume, all []Volume) error {
	if v.VG.MissingPVs > 0 {
		return nil
	}
	if name := volume.SupersededName(v.LV.UUID); v.LV.Name != name {
		return a.moveAway(ctx, v, name)
	}
	pvs, err := a.pvsOf(v)
	if err != nil || len(pvs) == 0 {
		return err
	}
	s, err := a.rankOf(v, all)
	if err != nil || s.above == nil {
		return err
	}
	for _, pv := range pvs {
		if used, err := a.isBound(ctx, pv); err != nil || used || pv.DeletionTimestamp != nil {
			return err
		}
		err := a.client.CoreV1().PersistentVolumes().Delete(ctx, pv.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: ptr.To(pv.UID)}})
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			return fmt.Errorf("take PV %s of the superseded volume %s away: %w", pv.Name, v, err)
		}
	}
	return nil
}

// dispute keeps a volume from being served while another one of the same
// generation says that it is the claim's. What is bound stays bound.
func (a *Agent) dispute(ctx context.Context, v Volume, equal []rival) error {
	reason := volumeDisputed(v, equal)
	pvs, err := a.pvsOf(v)
	if err != nil {
		return err
	}
	if len(pvs) == 0 {
		// The other's agent learns of this one, and nobody can bind it.
		pv := a.persistentVolume(v)
		pv.Spec.ClaimRef.UID = withheld
		if _, err := a.client.CoreV1().PersistentVolumes().Create(ctx, pv, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("show %s, which is disputed: %w", v, err)
		}
	}
	for _, pv := range pvs {
		if ref := pv.Spec.ClaimRef; ref == nil || ref.UID != "" {
			continue
		}
		next := pv.DeepCopy()
		next.Spec.ClaimRef.UID = withheld
		if _, err := a.client.CoreV1().PersistentVolumes().Update(ctx, next, metav1.UpdateOptions{}); err != nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
			return fmt.Errorf("withhold %s, which is disputed: %w", v, err)
		}
	}
	return reason
}
