package provisioner

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-dev/berth/pkg/lvm"
	"github.com/berth-dev/berth/pkg/volume"
)

// noSibling holds invariant I4 on the disks themselves: whoever sent the claim here
// knows the group by a report that may be older than the disks that are in it now.
func (a *Agent) noSibling(vg lvm.VG, t volume.Tags) error {
	for _, o := range Survey(&lvm.Report{VGs: []lvm.VG{vg}}) {
		if o.Err == nil && o.Tags.State == volume.Ready && areSiblings(t, o.Tags) {
			return siblingHere(t, o, a.node)
		}
	}
	return nil
}

// areSiblings tells volumes of two members of one cluster.
func areSiblings(t, o volume.Tags) bool {
	return !t.Member.IsZero() && o.Claim != t.Claim && o.Namespace == t.Namespace && o.Member.StatefulSet == t.Member.StatefulSet
}

// seenAll makes sure, by the API server's own word, that no volume of the claim has
// escaped the watches of whoever sent it here, or of this agent: each may be behind
// the one of claims. find then judges what has been seen.
func (a *Agent) seenAll(ctx context.Context, claim *corev1.PersistentVolumeClaim) error {
	if err := a.allSeen(ctx, claim.Namespace, claim.Name, ""); err != nil {
		return fmt.Errorf("make a volume for claim %s/%s: %w", claim.Namespace, claim.Name, err)
	}
	return a.noHomeAway(ctx, claim)
}

// noHomeAway refuses a blank volume while disks remember another one of the claim whose
// group has not reported to this API server. The scheduler looks for that as well; but
// it may have sent the claim to a volume that it saw of a former API server's life, and
// other disks may be in the machine by now.
func (a *Agent) noHomeAway(ctx context.Context, claim *corev1.PersistentVolumeClaim) error {
	homes := a.remembered[claim.Namespace+"/"+claim.Name]
	if len(homes) == 0 {
		return nil
	}
	s, err := a.rank(nil, claim.Namespace, claim.Name, "", 0)
	if err != nil {
		return err
	}
	reported, err := a.groupsReported()
	if err != nil {
		return err
	}
	life, err := a.apiServer(ctx)
	if err != nil {
		return err
	}
	for _, h := range homes {
		r, has := reported[h.VGUUID]
		if h.Generation > s.abandoned && !(has && r.life == life && r.seqno >= h.Seqno) {
			return elsewhere(claim.Namespace, claim.Name, rival{name: "volume group " + h.VGUUID + ", as other disks remember, which has not reported"})
		}
	}
	return nil
}

// allSeen fails while this agent has not seen each PersistentVolume of a claim that
// the API server has, as it is there; of one volume's, if its LV UUID is given.
func (a *Agent) allSeen(ctx context.Context, namespace, claim, lvUUID string) error {
	list, err := a.client.CoreV1().PersistentVolumes().List(ctx, metav1.ListOptions{
		LabelSelector: volume.LabelClaim + "=" + volume.LVName(namespace, claim),
	})
	if err != nil {
		return fmt.Errorf("ask for the claim's PersistentVolumes: %w", err)
	}
	for _, pv := range list.Items {
		if lvUUID != "" && pv.Annotations[volume.AnnotationLVUUID] != lvUUID {
			continue
		}
		seen, exists, err := a.pvs.GetByKey(pv.Name)
		if err != nil {
			return fmt.Errorf("look up PV %s: %w", pv.Name, err)
		}
		if old, is := seen.(*corev1.PersistentVolume); !exists || !is || old.UID != pv.UID || old.ResourceVersion != pv.ResourceVersion {
			return fmt.Errorf("the API server has PersistentVolume %s of it in a version that this agent has not seen yet; it looks again", pv.Name)
		}
	}
	return nil
}
