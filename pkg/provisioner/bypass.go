package provisioner

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
)

// bypassed returns the claims of ours that a pod on this node waits for in vain:
// the pod names the node itself (spec.nodeName), so that no scheduler has ever
// chosen a node for them. A scheduler writes its choice before it binds a pod.
func (a *Agent) bypassed(pod *corev1.Pod) ([]*corev1.PersistentVolumeClaim, error) {
	if pod.Spec.NodeName != a.node || pod.DeletionTimestamp != nil || pod.Status.Phase != corev1.PodPending && pod.Status.Phase != "" {
		return nil, nil
	}
	var found []*corev1.PersistentVolumeClaim
	for _, v := range pod.Spec.Volumes {
		var name string
		switch {
		case v.PersistentVolumeClaim != nil:
			name = v.PersistentVolumeClaim.ClaimName
		case v.Ephemeral != nil:
			name = pod.Name + "-" + v.Name
		default:
			continue
		}
		claim, err := a.claims.PersistentVolumeClaims(pod.Namespace).Get(name)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read claim %s/%s: %w", pod.Namespace, name, err)
		}
		if claim.Spec.VolumeName == "" && claim.Annotations[annSelectedNode] == "" && a.isOurs(claim) {
			found = append(found, claim)
		}
	}
	return found, nil
}

// isBypassing tells a pod for which bypassed finds a claim.
func (a *Agent) isBypassing(obj any) bool {
	pod, ok := obj.(*corev1.Pod)
	if !ok {
		return false
	}
	claims, err := a.bypassed(pod)
	return err == nil && len(claims) > 0
}

// sayBypassed explains on each such claim why nothing happens. Nothing is made:
// where the claim's data may be, and whether there is room, only the scheduler judges.
func (a *Agent) sayBypassed() error {
	pods, err := a.pods.List(labels.Everything())
	if err != nil {
		return fmt.Errorf("list pods of node %s: %w", a.node, err)
	}
	for _, pod := range pods {
		claims, err := a.bypassed(pod)
		if err != nil {
			return err
		}
		for _, claim := range claims {
			a.notices.say(claim, string(claim.UID), schedulerBypassed(claim, pod))
		}
	}
	return nil
}
