package provisioner

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/berth-dev/berth/pkg/lvm"
	"github.com/berth-dev/berth/pkg/volume"
)

// Adoption is a person's word that a volume is the one that serves its claim.
type Adoption struct {
	Volume Volume
	// Generation is what the volume gets: above all others of its claim.
	Generation int
	// Others are the volumes that the agents then fence, for people.
	Others []string
	// shown are the PersistentVolumes of the volume itself.
	shown []corev1.PersistentVolume
}

// PlanAdopt finds the volume of this machine by VG/LV or LV UUID, and what makes
// it its claim's. It refuses while another volume of the claim is in use: two
// histories of one member must never meet. The caller holds the lock of the
// machine's links from before the plan until it is carried out.
func PlanAdopt(ctx context.Context, system *lvm.System, client kubernetes.Interface, which string) (Adoption, error) {
	report, err := system.Report(ctx)
	if err != nil {
		return Adoption{}, err
	}
	all := Survey(report)
	var found []Volume
	for _, v := range all {
		if v.LV.UUID == which || v.String() == which {
			found = append(found, v)
		}
	}
	if len(found) != 1 {
		return Adoption{}, fmt.Errorf("adopt %s: %d volumes of Berth on this machine have this LV UUID or VG/NAME (lvm-provisioner inventory shows them): %w", which, len(found), lvm.ErrNotFound)
	}
	plan := Adoption{Volume: found[0], Generation: found[0].Tags.Generation}
	for _, vg := range report.VGs {
		for _, h := range tagsOfHomes(vg) {
			if t := plan.Volume.Tags; h.Namespace == t.Namespace && h.Claim == t.Claim {
				plan.Generation = max(plan.Generation, h.Generation)
			}
		}
	}
	if err := plan.check(all); err != nil {
		return plan, fmt.Errorf("adopt %s: %w", which, err)
	}
	if err := plan.ask(ctx, client); err != nil {
		return plan, fmt.Errorf("adopt %s: %w", which, err)
	}
	if len(plan.Others) == 0 && plan.Volume.Tags.State == volume.Ready {
		return plan, fmt.Errorf("adopt %s: it serves claim %s/%s already, nothing is to be decided", which, plan.Volume.Tags.Namespace, plan.Volume.Tags.Claim)
	}
	plan.Generation++
	return plan, nil
}

// check looks at the volume and at the others of its claim on this machine.
func (p *Adoption) check(all []Volume) error {
	v := p.Volume
	switch {
	case v.Err != nil:
		return tagsUnreadable(v)
	case v.Tags.State == volume.Trash:
		return errors.New("it is in the trash: lvm-provisioner undelete brings it back")
	case v.Tags.State == volume.Wiping:
		return beingWiped(v)
	case v.Tags.State == volume.Creating:
		return errors.New("it was never finished, so no data of a claim is in it")
	case v.VG.MissingPVs > 0:
		return fmt.Errorf("%d physical volumes of its volume group are missing, nothing is written: bring the disks back", v.VG.MissingPVs)
	}
	for _, o := range all {
		if o.Err != nil || o.LV.UUID == v.LV.UUID || o.Tags.Namespace != v.Tags.Namespace || o.Tags.Claim != v.Tags.Claim || o.Tags.State.Deleted() {
			continue
		}
		if o.LV.IsOpen() {
			return fmt.Errorf("%s, which is the claim's as well, is in use: end the pod that uses it first", o)
		}
		p.Generation = max(p.Generation, o.Tags.Generation)
		p.Others = append(p.Others, fmt.Sprintf("%s (LV UUID %s, %s, generation %d)", o, o.LV.UUID, o.Tags.State, o.Tags.Generation))
	}
	return nil
}

// ask looks at the volumes of the claim that the API shows. Without an answer
// nothing is known, and nothing may be decided.
func (p *Adoption) ask(ctx context.Context, client kubernetes.Interface) error {
	t := p.Volume.Tags
	claim, err := client.CoreV1().PersistentVolumeClaims(t.Namespace).Get(ctx, t.Claim, metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("read claim %s/%s: %w", t.Namespace, t.Claim, err)
	}
	gone := err != nil
	if !gone {
		p.Generation = max(p.Generation, volume.Abandoned(claim.Annotations))
	}
	list, err := client.CoreV1().PersistentVolumes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list PersistentVolumes: %w", err)
	}
	for i := range list.Items {
		pv := &list.Items[i]
		keys, err := indexByClaim(pv)
		if err != nil || len(keys) == 0 || keys[0] != t.Namespace+"/"+t.Claim {
			continue
		}
		g, err := generationOf(pv)
		if err != nil {
			return err
		}
		p.Generation = max(p.Generation, g, volume.Abandoned(pv.Annotations))
		lv := pv.Annotations[volume.AnnotationLVUUID]
		if lv == p.Volume.LV.UUID {
			p.shown = append(p.shown, *pv)
			continue
		}
		if ref := pv.Spec.ClaimRef; !gone && ref.UID == claim.UID {
			return fmt.Errorf("the claim is bound to another volume, PersistentVolume %s (LV UUID %s): delete claim and pod first, so that nothing uses it", pv.Name, lv)
		}
		if !strings.Contains(strings.Join(p.Others, " "), lv) {
			p.Others = append(p.Others, fmt.Sprintf("PersistentVolume %s (LV UUID %s, volume group %s, generation %d)", pv.Name, lv, pv.Annotations[volume.AnnotationVGUUID], g))
		}
	}
	return nil
}

// Adopt writes the plan onto the disk in one change. The agents fence the others.
// Before that it goes onto the volume's PersistentVolume: as long as that says that the
// volume was given up, the scheduler takes its claim for one without data. An error may
// leave it there only; it may be repeated from any point.
func (p *Adoption) Adopt(ctx context.Context, system *lvm.System, client kubernetes.Interface) error {
	v := &p.Volume
	for _, pv := range p.shown {
		change := map[string]any{"metadata": map[string]any{
			"uid": pv.UID, "annotations": map[string]string{volume.AnnotationGeneration: strconv.Itoa(p.Generation)}}}
		if pv.Spec.ClaimRef.UID == "" { // nobody binds it before its agent has looked at it
			change["spec"] = map[string]any{"claimRef": map[string]any{"uid": withheld}}
		}
		if _, err := client.CoreV1().PersistentVolumes().Patch(ctx, pv.Name, types.MergePatchType, mustJSON(change), metav1.PatchOptions{}); err != nil {
			return fmt.Errorf("adopt %s: it is as before, repeat the command: note generation %d on PersistentVolume %s: %w", v, p.Generation, pv.Name, err)
		}
	}
	off := []string{volume.StateTag(v.Tags.State), volume.GenerationTag(v.Tags.Generation)}
	on := []string{volume.StateTag(volume.Ready), volume.GenerationTag(p.Generation)}
	if err := system.SwapTags(ctx, v.VG, v.LV, off, on); err != nil {
		return fmt.Errorf("adopt %s: %w", v, err)
	}
	v.Tags.State, v.Tags.Generation = volume.Ready, p.Generation
	// The tags decide; the name is for people. The claim's may be taken still.
	name := volume.LVName(v.Tags.Namespace, v.Tags.Claim)
	if v.LV.Name == name {
		return nil
	}
	err := system.Rename(ctx, v.VG, v.LV, name)
	if errors.Is(err, lvm.ErrExists) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("adopt %s: it is adopted and keeps its name %s: %w", v, v.LV.Name, err)
	}
	v.LV.Name = name
	return nil
}

// generationOf reads a PV's generation. One that cannot be read may be the highest.
func generationOf(pv *corev1.PersistentVolume) (int, error) {
	g, err := strconv.Atoi(pv.Annotations[volume.AnnotationGeneration])
	if err != nil {
		return 0, fmt.Errorf("read annotation %s of PersistentVolume %s: %w", volume.AnnotationGeneration, pv.Name, err)
	}
	return g, nil
}
