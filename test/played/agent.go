// Package played has what more than one suite plays of the real programs.
package played

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// Reserve is the agent that has found a released volume intact: it keeps it for any
// claim of its name. As the real one it asks the API server itself whether the claim is
// gone: a volume that is being bound says for a while that it is released and whose it
// is, and taking that back would begin the binding anew.
func Reserve(ctx context.Context, client kubernetes.Interface, pv *corev1.PersistentVolume) error {
	ref := pv.Spec.ClaimRef
	if ref == nil || ref.UID == "" || pv.Status.Phase != corev1.VolumeReleased {
		return nil
	}
	claim, err := client.CoreV1().PersistentVolumeClaims(ref.Namespace).Get(ctx, ref.Name, metav1.GetOptions{})
	if err == nil && claim.UID == ref.UID || err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	next := pv.DeepCopy()
	next.Spec.ClaimRef.UID, next.Spec.ClaimRef.ResourceVersion = "", ""
	_, err = client.CoreV1().PersistentVolumes().Update(ctx, next, metav1.UpdateOptions{})
	return err
}
