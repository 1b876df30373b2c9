package provisioner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"

	"github.com/berth-dev/berth/pkg/volume"
)

// Siblings tells whether a member's cluster goes on without it.
type Siblings interface {
	// WithoutMember returns nil when more than half of the cluster is synced and the
	// member is not among them, and an error that says what is the case otherwise,
	// or that it cannot be read.
	WithoutMember(ctx context.Context, namespace string, m volume.Member) error
}

// Abandonment is a person's word that a claim's data is lost for good, and that
// the claim may begin anew on a blank volume.
type Abandonment struct {
	Namespace, Claim string
	Member           volume.Member
	// Generation is the highest that is given up.
	Generation int
	// Volumes are the PersistentVolumes that are given up, Pod is the member's.
	Volumes []corev1.PersistentVolume
	Homes   []volume.Home
	Pod     *corev1.Pod
	claim   *corev1.PersistentVolumeClaim
}

// PlanAbandon gathers what is known of a claim's volumes, and asks its siblings.
// It changes nothing.
func PlanAbandon(ctx context.Context, client kubernetes.Interface, siblings Siblings, namespace, claim string) (*Abandonment, error) {
	p := &Abandonment{Namespace: namespace, Claim: claim}
	if err := p.gather(ctx, client); err != nil {
		return nil, fmt.Errorf("abandon %s/%s: %w", namespace, claim, err)
	}
	if p.Member.IsZero() {
		return nil, fmt.Errorf("abandon %s/%s: it is no claim of a StatefulSet's member, as far as its volumes and StatefulSets tell, so nobody else has its data", namespace, claim)
	}
	if err := siblings.WithoutMember(ctx, namespace, p.Member); err != nil {
		return nil, fmt.Errorf("abandon %s/%s: %w", namespace, claim, err)
	}
	return p, nil
}

func (p *Abandonment) gather(ctx context.Context, client kubernetes.Interface) error {
	claim, err := client.CoreV1().PersistentVolumeClaims(p.Namespace).Get(ctx, p.Claim, metav1.GetOptions{})
	switch {
	case err == nil:
		p.claim, p.Generation = claim, volume.Abandoned(claim.Annotations)
	case !apierrors.IsNotFound(err):
		return fmt.Errorf("read the claim: %w", err)
	}
	if err := p.gatherVolumes(ctx, client); err != nil {
		return err
	}
	if err := p.gatherHomes(ctx, client); err != nil {
		return err
	}
	if p.claim == nil && len(p.Volumes) == 0 {
		return errors.New("there is neither the claim nor a PersistentVolume of it to write this down on: make the claim first")
	}
	if p.claim != nil && p.claim.Spec.VolumeName != "" && len(p.Volumes) == 0 {
		return fmt.Errorf("the claim is bound to PersistentVolume %s, which is gone, so there is nothing to write this down on: delete claim and pod, and abandon the claim that is made anew", p.claim.Spec.VolumeName)
	}
	if p.Member.IsZero() {
		if p.Member, err = memberOf(ctx, client, p.Namespace, p.Claim); err != nil {
			return err
		}
	}
	p.Generation = max(p.Generation, 1)
	pod, err := client.CoreV1().Pods(p.Namespace).Get(ctx, fmt.Sprintf("%s-%d", p.Member.StatefulSet, p.Member.Ordinal), metav1.GetOptions{})
	switch {
	case err == nil:
		p.Pod = pod
	case !apierrors.IsNotFound(err):
		return fmt.Errorf("read the member's pod: %w", err)
	}
	return nil
}

func (p *Abandonment) gatherVolumes(ctx context.Context, client kubernetes.Interface) error {
	list, err := client.CoreV1().PersistentVolumes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list PersistentVolumes: %w", err)
	}
	for _, pv := range list.Items {
		keys, err := indexByClaim(&pv)
		if err != nil || len(keys) == 0 || keys[0] != p.Namespace+"/"+p.Claim {
			continue
		}
		v, err := volume.FromAnnotations(pv.Annotations)
		if err != nil {
			return fmt.Errorf("read PersistentVolume %s: %w", pv.Name, err)
		}
		p.Volumes = append(p.Volumes, pv)
		p.Generation = max(p.Generation, v.Tags.Generation, volume.Abandoned(pv.Annotations))
		if !v.Tags.Member.IsZero() {
			p.Member = v.Tags.Member
		}
	}
	return nil
}

func (p *Abandonment) gatherHomes(ctx context.Context, client kubernetes.Interface) error {
	reports, err := client.StorageV1().CSIStorageCapacities(volume.SystemNamespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list what the nodes report: %w", err)
	}
	for _, c := range reports.Items {
		for text := range strings.FieldsSeq(c.Annotations[volume.AnnotationHomes]) {
			h, err := volume.ParseHome(text)
			if err != nil || h.Namespace != p.Namespace || h.Claim != p.Claim {
				continue
			}
			p.Generation = max(p.Generation, h.Generation)
			if !slices.Contains(p.Homes, h) {
				p.Homes = append(p.Homes, h)
			}
			if p.Member.IsZero() {
				p.Member = h.Member
			}
		}
	}
	return nil
}

// Do writes it down, on every volume of the claim and on a claim that has none,
// where scheduler and agents see it, and then deletes a claim that is bound, or is
// being, and the pod, so that both are made anew. It may be repeated from any point.
func (p *Abandonment) Do(ctx context.Context, client kubernetes.Interface, reason string) error {
	note := map[string]string{
		volume.AnnotationAbandoned: fmt.Sprint(p.Generation), volume.AnnotationAbandonedReason: reason,
	}
	for _, pv := range p.Volumes {
		change := map[string]any{"metadata": map[string]any{"uid": pv.UID, "annotations": note}}
		if pv.Spec.ClaimRef.UID == "" { // else the claim made anew would be bound to it
			change["spec"] = map[string]any{"claimRef": map[string]any{"uid": withheld}}
		}
		if _, err := client.CoreV1().PersistentVolumes().Patch(ctx, pv.Name, types.MergePatchType, mustJSON(change), metav1.PatchOptions{}); err != nil {
			return fmt.Errorf("abandon %s/%s: note it on PersistentVolume %s: %w", p.Namespace, p.Claim, pv.Name, err)
		}
	}
	claims := client.CoreV1().PersistentVolumeClaims(p.Namespace)
	switch {
	case p.claim == nil:
	case p.claim.Spec.VolumeName == "" && !p.isBinding():
		change := map[string]any{"metadata": map[string]any{"uid": p.claim.UID, "annotations": note}}
		if _, err := claims.Patch(ctx, p.Claim, types.MergePatchType, mustJSON(change), metav1.PatchOptions{}); err != nil {
			return fmt.Errorf("abandon %s/%s: note it on the claim: %w", p.Namespace, p.Claim, err)
		}
	default:
		err := claims.Delete(ctx, p.Claim, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: ptr.To(p.claim.UID)}})
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("abandon %s/%s: it is noted; delete the claim: %w", p.Namespace, p.Claim, err)
		}
	}
	if p.Pod == nil {
		return nil
	}
	err := client.CoreV1().Pods(p.Namespace).Delete(ctx, p.Pod.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: ptr.To(p.Pod.UID)}})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("abandon %s/%s: it is noted; delete pod %s: %w", p.Namespace, p.Claim, p.Pod.Name, err)
	}
	return nil
}

// isBinding says that a volume was made for the very claim: the PV controller is about
// to bind the two, or has done so by now.
func (p *Abandonment) isBinding() bool {
	return slices.ContainsFunc(p.Volumes, func(pv corev1.PersistentVolume) bool { return pv.Spec.ClaimRef.UID == p.claim.UID })
}

// mustJSON encodes maps of strings, which always can be.
func mustJSON(v any) []byte {
	out, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return out
}
