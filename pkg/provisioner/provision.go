package provisioner

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v10/controller"

	"github.com/berth-dev/berth/pkg/lvm"
	"github.com/berth-dev/berth/pkg/lvm/filesystem"
	"github.com/berth-dev/berth/pkg/volume"
)

const annSelectedNode = "volume.kubernetes.io/selected-node"

// ShouldProvision implements controller.Qualifier: of the agents of all nodes
// only the one whose node the scheduler selected acts, or says anything.
func (a *Agent) ShouldProvision(_ context.Context, claim *corev1.PersistentVolumeClaim) bool {
	return claim.Annotations[annSelectedNode] == a.node
}

// Provision implements controller.Provisioner. It can be ended at any point and
// called again: it starts from what is on the disk.
func (a *Agent) Provision(ctx context.Context, o controller.ProvisionOptions) (*corev1.PersistentVolume, controller.ProvisioningState, error) {
	end, err := a.begin()
	if err != nil {
		return nil, controller.ProvisioningFinished, err
	}
	defer end()
	pv, err := a.provision(ctx, o)
	return pv, stateOf(err), err
}

// stateOf tells the library how to go on after an error.
func stateOf(err error) controller.ProvisioningState {
	r, _ := isReason(err)
	switch {
	case errors.Is(err, lvm.ErrUnknown):
		return controller.ProvisioningInBackground
	case r.Code == CodeNoSpace, r.Code == CodeVGMissing, r.Code == CodeVGPartial, r.Code == CodeVGForeign, r.Code == CodeMetadataFull, r.Code == CodeLVMNotShared, r.Code == CodeElsewhere, r.Code == CodeSiblingHere:
		return controller.ProvisioningReschedule
	default:
		return controller.ProvisioningFinished
	}
}

func (a *Agent) provision(ctx context.Context, o controller.ProvisionOptions) (*corev1.PersistentVolume, error) {
	c, err := parseClass(o.StorageClass)
	if err != nil {
		return nil, err
	}
	if err := checkClaim(c, o.PVC); err != nil {
		return nil, err
	}
	if err := a.notBeingMade(o.PVC); err != nil {
		return nil, err
	}
	report, err := a.lookShared(ctx, time.Time{})
	if err != nil {
		return nil, err
	}
	v, rank, err := a.find(ctx, report, o.PVC)
	if err != nil {
		return nil, err
	}
	// A ready volume is the claim's data, whatever else is asked for. It is looked
	// for in every volume group, not only in the class's.
	found := v != nil && v.Tags.State == volume.Ready
	if !found {
		if err := a.seenAll(ctx, o.PVC); err != nil {
			return nil, err
		}
		if v, rank, err = a.find(ctx, report, o.PVC); err != nil { // with all that is to be seen
			return nil, err
		}
	}
	if v == nil {
		if v, err = a.create(ctx, report, c, o.PVC, rank.next); err != nil {
			return nil, err
		}
	}
	recognised := false
	if v.Tags.State == volume.Creating {
		if v, err = a.complete(ctx, *v, o.PVC, c.MkfsOptions); err != nil {
			return nil, err
		}
		recognised = true // its content was seen when it was finished
	}
	if err := a.bringHome(ctx, *v, recognised); err != nil {
		return nil, err
	}
	if v.Tags.Class != c.Name {
		return nil, classDiffers(*v, c.Name)
	}
	if raw := v.Tags.FSType == filesystem.None; raw != isBlock(o.PVC) {
		return nil, modeDiffers(*v, raw)
	}
	// The PV controller would not bind a volume that is too small, and says nothing.
	grown, err := a.grow(ctx, *v, requested(o.PVC))
	if err != nil {
		return nil, err
	}
	v = &grown
	node, err := a.nodes.Get(a.node)
	if err != nil {
		return nil, fmt.Errorf("read node %s: %w", a.node, err)
	}
	if err := a.label(ctx, node, []lvm.VG{v.VG}); err != nil {
		return nil, err
	}
	a.Wake() // to publish the space that is left
	if found {
		return a.adopt(ctx, *v, o.PVC)
	}
	return a.persistentVolume(*v), nil
}

// adopt gives a claim the volume that was there before it.
func (a *Agent) adopt(ctx context.Context, v Volume, claim *corev1.PersistentVolumeClaim) (*corev1.PersistentVolume, error) {
	pvs, err := a.pvsOf(v)
	if err != nil {
		return nil, err
	}
	todo, err := decide(v, pvs)
	if err != nil {
		return nil, err
	}
	a.events.Eventf(claim, corev1.EventTypeNormal, "VolumeFound", "Volume %s on node %s already belongs to this claim and is used, nothing is made or formatted", v, a.node)
	switch todo {
	case stepPublish:
		a.adopted(v, "claim")
		return a.persistentVolume(v), nil
	case stepReserve:
		if err := a.reserve(ctx, v, pvs[0]); err != nil {
			return nil, err
		}
		if err := a.showSize(ctx, v, pvs[0]); err != nil {
			return nil, err
		}
	default:
		if err := a.showSize(ctx, v, pvs[0]); err != nil {
			return nil, err
		}
		if ref := pvs[0].Spec.ClaimRef; ref != nil && ref.UID != "" && ref.UID != claim.UID {
			return nil, stillBound(pvs[0].Name, string(ref.UID))
		}
	}
	return nil, &controller.IgnoredError{Reason: "PersistentVolume " + pvs[0].Name + " is reserved for the claim and the PV controller binds it"}
}

// look reads the disks, and what they hold of volumes elsewhere.
func (a *Agent) look(ctx context.Context) (*lvm.Report, error) {
	a.shared = nil
	at := a.clock.Now()
	report, err := a.lvm.Report(ctx)
	if err != nil {
		return nil, err
	}
	a.seqnos = seqnosOf(report)
	a.shared = &seen{report, at}
	return report, a.remember(report)
}

// find returns the claim's volume on this machine, or nil, and how it compares
// with those elsewhere: while one of them may hold the claim's data, none is made.
func (a *Agent) find(ctx context.Context, report *lvm.Report, claim *corev1.PersistentVolumeClaim) (*Volume, standing, error) {
	all := Survey(report)
	found, err := ofClaim(all, claim.Namespace, claim.Name)
	if err != nil {
		return nil, standing{}, err
	}
	if len(found) == 0 {
		s, err := a.rank(all, claim.Namespace, claim.Name, "", 0)
		if err == nil {
			err = s.allowsBlank(claim)
		}
		return nil, s, err
	}
	v := found[0]
	s, err := a.rankOf(v, all)
	if err != nil {
		return nil, s, err
	}
	if v.Tags.State != volume.Ready {
		return &v, s, s.allowsBlank(claim)
	}
	switch why := s.outranks(v); {
	case why != "":
		if err := a.supersede(ctx, v, why); err != nil {
			return nil, s, err
		}
		report, err := a.look(ctx)
		if err != nil {
			return nil, s, err
		}
		return a.find(ctx, report, claim)
	case len(s.equal) > 0:
		return nil, s, a.dispute(ctx, v, s.equal)
	}
	return &v, s, nil
}

// mustFind returns the claim's volume, which is there since a moment.
func (a *Agent) mustFind(ctx context.Context, claim *corev1.PersistentVolumeClaim, there time.Time) (*Volume, error) {
	report, err := a.lookShared(ctx, there)
	if err != nil {
		return nil, err
	}
	v, _, err := a.find(ctx, report, claim)
	if err == nil && v == nil {
		return nil, fmt.Errorf("volume of claim %s/%s: %w just after it was written", claim.Namespace, claim.Name, lvm.ErrNotFound)
	}
	return v, err
}

// create makes the claim's logical volume, in state creating, where the report that
// knows of none has room: a second report would be no newer. Everything that can be
// refused is refused before. What is returned is the volume as it was asked for,
// without its UUID.
func (a *Agent) create(ctx context.Context, report *lvm.Report, c class, claim *corev1.PersistentVolumeClaim, generation int) (*Volume, error) {
	if err := a.safety.refuses(); err != nil {
		return nil, err
	}
	vg, err := a.groupOf(report, c)
	if err != nil {
		return nil, err
	}
	if vg.MissingPVs > 0 {
		return nil, vgPartial(vg.Name, a.node, vg.MissingPVs)
	}
	if vg.MetadataFree < lvm.MetadataReserve {
		return nil, metadataFull(vg.Name, a.node, vg.MetadataFree)
	}
	fsType := fsTypeOf(c, claim)
	size := c.Layout.Round(vg, max(requested(claim), filesystem.MinSize(fsType)))
	if room := c.Layout.Room(vg); size > room {
		return nil, noSpace(vg, a.node, size, room)
	}
	tags := volume.Tags{
		Namespace: claim.Namespace, Claim: claim.Name, Class: c.Name, FSType: fsType,
		FSUUID: string(uuid.NewUUID()), State: volume.Creating, Generation: generation,
	}
	if tags.Member, err = memberOf(ctx, a.client, claim.Namespace, claim.Name); err != nil {
		return nil, err
	}
	if err := errors.Join(a.noSibling(vg, tags), a.noSiblingBeingMade(tags)); err != nil {
		return nil, err
	}
	if tags.APIServer, err = a.apiServer(ctx); err != nil {
		return nil, err
	}
	name := volume.LVName(claim.Namespace, claim.Name)
	klog.FromContext(ctx).Info("Making a volume", "vg", vg.Name, "lv", name, "claim", klog.KObj(claim), "bytes", size, "member", tags.Member.String())
	shared := a.shared
	if c.Layout.Type != lvm.Linear || c.Dir {
		shared = nil // what is left for others is not the sum of all, and lvm would overcommit a thin pool
	}
	err = a.lvm.Create(ctx, vg, name, size, c.Layout, tags.Encode())
	if errors.Is(err, lvm.ErrNoSpace) {
		return nil, noSpace(vg, a.node, size, c.Layout.Room(vg))
	}
	if errors.Is(err, lvm.ErrForeign) {
		return nil, vgForeign(vg, a.node)
	}
	if err != nil {
		return nil, err
	}
	a.changed(shared, vg.Name, func(vg *lvm.VG) { vg.Free, vg.MetadataFree = vg.Free-size, vg.MetadataFree-lvm.MetadataPerVolume })
	return &Volume{VG: vg, LV: lvm.LV{Name: name, Path: lvm.DevicePath(vg.Name, name), Size: size, Active: true}, Tags: tags}, nil
}

// memberOf finds the StatefulSet whose controller names a claim like this.
func memberOf(ctx context.Context, client kubernetes.Interface, namespace, claim string) (volume.Member, error) {
	list, err := client.AppsV1().StatefulSets(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return volume.Member{}, fmt.Errorf("list StatefulSets: %w", err)
	}
	var found volume.Member
	for _, set := range list.Items {
		for _, template := range set.Spec.VolumeClaimTemplates {
			ordinal, ok := volume.Ordinal(claim, template.Name, set.Name)
			if !ok {
				continue
			}
			if !found.IsZero() {
				return volume.Member{}, memberAmbiguous(claim, found.StatefulSet, set.Name)
			}
			replicas := 1
			if set.Spec.Replicas != nil {
				replicas = int(*set.Spec.Replicas)
			}
			found = volume.Member{StatefulSet: set.Name, Ordinal: ordinal, Replicas: replicas}
		}
	}
	return found, nil
}

// apiServer asks each time: an API server that lost its memory has another identity.
func (a *Agent) apiServer(ctx context.Context) (string, error) {
	ns, err := a.client.CoreV1().Namespaces().Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("read the API server's identity: %w", err)
	}
	return string(ns.UID), nil
}

// fsTypeOf is the file system that a new volume of the claim gets.
func fsTypeOf(c class, claim *corev1.PersistentVolumeClaim) string {
	if isBlock(claim) {
		return filesystem.None
	}
	return c.FSType
}

func isBlock(claim *corev1.PersistentVolumeClaim) bool {
	return claim.Spec.VolumeMode != nil && *claim.Spec.VolumeMode == corev1.PersistentVolumeBlock
}

func requested(claim *corev1.PersistentVolumeClaim) int64 {
	return claim.Spec.Resources.Requests.Storage().Value()
}
