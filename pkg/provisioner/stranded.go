package provisioner

import (
	"context"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/klog/v2"
	"k8s.io/utils/ptr"

	"github.com/berth-dev/berth/pkg/volume"
)

const (
	// strandedAfter is how long a claim waits for its selected node before somebody
	// else looks whether that node is there at all.
	strandedAfter = 10 * time.Second
	// strandedLease is held by the one agent that takes choices back. It is written
	// when there is work only: idle agents write nothing.
	strandedLease = "lvm-provisioner-stranded-claims"
	// strandedTerm is how long the lease must stay unchanged, by the clock of who
	// looks, before another agent takes it.
	strandedTerm = 30 * time.Second
)

// stranded are the claims of ours that wait for a node which does not answer, and
// the lease as it was last seen.
type stranded struct {
	since     map[string]time.Time // by UID
	lease     string               // resource version
	leaseSeen time.Time
}

// freeStranded takes the choice of a node back that has left the cluster, so that
// the scheduler looks again, with its barrier: no volume is made here. The agent
// of the node cannot do it, so the agents elect one.
func (a *Agent) freeStranded(ctx context.Context) error {
	claims, err := a.claims.List(labels.Everything())
	if err != nil {
		return fmt.Errorf("list claims: %w", err)
	}
	waiting := map[string]time.Time{}
	for _, claim := range claims {
		if !a.isStrandable(claim) {
			continue
		}
		uid := string(claim.UID)
		since, known := a.stranded.since[uid]
		if !known {
			since = a.clock.Now()
		}
		waiting[uid] = since
		if a.clock.Since(since) < strandedAfter {
			continue
		}
		if err := a.freeOne(ctx, claim); err != nil {
			return err
		}
	}
	a.stranded.since = waiting
	return nil
}

func (a *Agent) isStrandable(claim *corev1.PersistentVolumeClaim) bool {
	node := claim.Annotations[annSelectedNode]
	return claim.Spec.VolumeName == "" && node != "" && node != a.node && claim.DeletionTimestamp == nil && a.isOurs(claim)
}

// isOurs tells a claim of a StorageClass of this provisioner.
func (a *Agent) isOurs(claim *corev1.PersistentVolumeClaim) bool {
	if claim.Spec.StorageClassName == nil {
		return false
	}
	class, err := a.classes.Get(*claim.Spec.StorageClassName)
	return err == nil && class.Provisioner == volume.Provisioner
}

// freeOne acts when the API server itself says that the node is not there, and
// that no volume of the claim is.
func (a *Agent) freeOne(ctx context.Context, claim *corev1.PersistentVolumeClaim) error {
	name := claim.Annotations[annSelectedNode]
	_, err := a.client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		if err != nil {
			return fmt.Errorf("look for node %s: %w", name, err)
		}
		return nil
	}
	if elected, err := a.elected(ctx); err != nil || !elected {
		return err
	}
	list, err := a.client.CoreV1().PersistentVolumes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list PVs: %w", err)
	}
	for i := range list.Items {
		keys, err := indexByClaim(&list.Items[i])
		if err == nil && len(keys) == 1 && keys[0] == claim.Namespace+"/"+claim.Name && volume.Abandoned(list.Items[i].Annotations) == 0 {
			return nil // its data is known: nothing is chosen anew
		}
	}
	next := claim.DeepCopy()
	delete(next.Annotations, annSelectedNode)
	// The resource version sees to it that this is still what was looked at.
	_, err = a.client.CoreV1().PersistentVolumeClaims(claim.Namespace).Update(ctx, next, metav1.UpdateOptions{})
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("take node %s off claim %s/%s: %w", name, claim.Namespace, claim.Name, err)
	}
	a.events.Event(claim, corev1.EventTypeWarning, CodeNodeGone, nodeGone(claim, name).Text)
	klog.FromContext(ctx).Info("Took the choice of a node back that is gone", "claim", klog.KObj(claim), "node", name)
	return nil
}

// elected takes the lease by compare-and-swap, or holds it already. No clock of
// another machine is compared.
func (a *Agent) elected(ctx context.Context) (bool, error) {
	api := a.client.CoordinationV1().Leases(volume.SystemNamespace)
	now := metav1.NewMicroTime(a.clock.Now())
	lease, err := api.Get(ctx, strandedLease, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		_, err = api.Create(ctx, &coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{Namespace: volume.SystemNamespace, Name: strandedLease},
			Spec:       coordinationv1.LeaseSpec{HolderIdentity: &a.node, RenewTime: &now, LeaseDurationSeconds: ptr.To(int32(strandedTerm / time.Second))},
		}, metav1.CreateOptions{})
		return settled(err)
	}
	if err != nil {
		return false, fmt.Errorf("read lease %s: %w", strandedLease, err)
	}
	if a.stranded.lease != lease.ResourceVersion {
		a.stranded.lease, a.stranded.leaseSeen = lease.ResourceVersion, a.clock.Now()
	}
	if mine := ptr.Deref(lease.Spec.HolderIdentity, "") == a.node; !mine && a.clock.Since(a.stranded.leaseSeen) < strandedTerm {
		return false, nil
	}
	lease.Spec.HolderIdentity, lease.Spec.RenewTime = &a.node, &now
	_, err = api.Update(ctx, lease, metav1.UpdateOptions{})
	return settled(err)
}

// settled: somebody else being faster is no error.
func settled(err error) (bool, error) {
	if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("take lease %s: %w", strandedLease, err)
	}
	return true, nil
}
