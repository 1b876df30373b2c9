package provisioner

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/berth-dev/berth/pkg/lvm"
	"github.com/berth-dev/berth/pkg/lvm/filesystem"
	"github.com/berth-dev/berth/pkg/volume"
)

// Reason is why the agent does not do something: a stable code, and a text
// that names what would unblock it. It is the text of an event, an error and a
// log line alike.
type Reason struct {
	Code string
	Text string
}

func (r Reason) Error() string { return r.Text }

// The codes. They are the reasons of events, so they never change.
const (
	CodeClassInvalid     = "StorageClassInvalid"
	CodeClaimUnsupported = "ClaimUnsupported"
	CodeMemberAmbiguous  = "MemberAmbiguous"
	CodeVGMissing        = "VolumeGroupMissing"
	CodeVGAmbiguous      = "VolumeGroupAmbiguous"
	CodeVGPartial        = "VolumeGroupPartial"
	CodeVGForeign        = "VolumeGroupForeign"
	CodeNoSpace          = "NoSpace"
	CodeMetadataFull     = "MetadataFull"
	CodeModeDiffers      = "VolumeModeDiffers"
	CodeTagsUnreadable   = "TagsUnreadable"
	CodeVolumeAmbiguous  = "VolumeAmbiguous"
	CodeVolumeTooSmall   = "VolumeTooSmall"
	CodeClassDiffers     = "StorageClassDiffers"
	CodeNotAvailable     = "VolumeNotAvailable"
	CodeDegraded         = "VolumeDegraded"
	CodeContentUnknown   = "VolumeContentUnknown"
	CodePVAmbiguous      = "PersistentVolumeAmbiguous"
	CodePVReservedElse   = "PersistentVolumeReservedElsewhere"
	CodePVNameTaken      = "PersistentVolumeNameTaken"
	CodeStillBound       = "PersistentVolumeStillBound"
	CodeDeleteRefused    = "DeleteRefused"
	CodeTrashCeiling     = "TrashCeiling"
	CodeRetainedInTrash  = "RetainedInTrash"
	CodeLVMNotShared     = "LVMNotShared"
	CodeSuperseded       = "VolumeSuperseded"
	CodeSupersededInUse  = "SupersededVolumeInUse"
	CodeElsewhere        = "VolumeElsewhere"
	CodeSiblingHere      = "SiblingInVolumeGroup"
	CodeHomesIncomplete  = "HomesIncomplete"
	CodeNodeGone         = "SelectedNodeGone"
	CodeOrphan           = "VolumeWithoutClaim"
	CodeBypassed         = "SchedulerBypassed"
)

func classInvalid(class string, problems []string) Reason {
	return Reason{CodeClassInvalid, fmt.Sprintf("StorageClass %s: %s", class, strings.Join(problems, "; "))}
}

func claimUnsupported(what, fix string) Reason {
	return Reason{CodeClaimUnsupported, fmt.Sprintf("%s is not supported by %s: %s", what, volume.Provisioner, fix)}
}

func memberAmbiguous(claim, first, second string) Reason {
	return Reason{CodeMemberAmbiguous, fmt.Sprintf("claim %s could belong to StatefulSet %s or to %s: rename one of them or its volume claim template", claim, first, second)}
}

func vgMissing(vg, node string) Reason {
	return Reason{CodeVGMissing, fmt.Sprintf("node %s has no volume group %q: if its disks are there, see why lvm does not show it (vgs --foreign, lvmdevices; docs/runbook.md, 4); if it never had one, create it (vgcreate %s DEVICE…), "+
		"or name another one in the StorageClass's parameter %s", node, vg, vg, paramVolumeGroup)}
}

func vgAmbiguous(vg, node string, n int) Reason {
	return Reason{CodeVGAmbiguous, fmt.Sprintf("node %s has %d volume groups called %q: rename all but one (vgrename UUID NAME)", node, n, vg)}
}

func vgPartial(vg, node string, missing int) Reason {
	return Reason{CodeVGPartial, fmt.Sprintf("%d physical volumes of volume group %q on node %s are missing, nothing is written to it: bring the disks back; one that is back and still called missing: vgextend --restoremissing %s DISK", missing, vg, node, vg)}
}

func vgForeign(vg lvm.VG, node string) Reason {
	return Reason{CodeVGForeign, fmt.Sprintf("volume group %q on node %s belongs to system ID %s, to lvm those are another machine's disks and it changes nothing on them: "+
		"put the system ID of the machine back if that was changed (lvm systemid; lvm.conf, global/system_id_source); if the disks are here for good and no other machine uses them, give them this one's (or '' if it has none), which lvm does while none of the group's volumes is active: "+
		"vgchange --config 'global/system_id_source=\"lvmlocal\" local/system_id=%q' --systemid ID %s", vg.Name, node, vg.SystemID, vg.SystemID, vg.Name)}
}

func dirMissing(node string) Reason {
	return Reason{CodeVGMissing, fmt.Sprintf("node %s has no base directory for volumes that are directories: mount its file system if it has one; "+
		"for a new one make an empty directory and mark it (lvm-provisioner base-directory DIR), and start the agent with --directory DIR", node)}
}

func noSpace(vg lvm.VG, node string, need, free int64) Reason {
	return Reason{CodeNoSpace, fmt.Sprintf("volume group %q on node %s has %d bytes free for a volume of this type, %d are needed: %s or ask for less", vg.Name, node, free, need, roomier(vg))}
}

// roomier says how a group is made larger.
func roomier(vg lvm.VG) string {
	if vg.Dir != "" {
		return "grow the file system that it is in, or remove what else is there,"
	}
	return "extend it (vgextend)"
}

// byHand is how a person removes a volume.
func byHand(v Volume) string {
	if v.VG.Dir != "" {
		return "rm -r " + v.String()
	}
	return "lvremove " + v.String()
}

func metadataFull(vg, node string, free int64) Reason {
	return Reason{CodeMetadataFull, fmt.Sprintf("volume group %q on node %s has %d bytes of metadata room, %d are kept for the volumes that are there: "+
		"remove volumes, or make the next group with a larger area (vgcreate --metadatasize)", vg, node, free, lvm.MetadataReserve)}
}

func modeDiffers(v Volume, raw bool) Reason {
	has, fix := "a file system", "Filesystem"
	if raw {
		has, fix = "no file system", "Block"
	}
	return Reason{CodeModeDiffers, fmt.Sprintf("%s holds this claim's data and was made with %s: make the claim again with volumeMode %s", v, has, fix)}
}

func tagsUnreadable(v Volume) Reason {
	return Reason{CodeTagsUnreadable, fmt.Sprintf("%s carries tags of Berth that cannot be read, it is left alone: %v", v, v.Err)}
}

func volumeAmbiguous(namespace, claim string, found []Volume) Reason {
	var names []string
	for _, v := range found {
		names = append(names, fmt.Sprintf("%s (LV UUID %s, %s, generation %d)", v, v.LV.UUID, v.Tags.State, v.Tags.Generation))
	}
	return Reason{CodeVolumeAmbiguous, fmt.Sprintf("%d logical volumes say that they are %s/%s, none is served: %s; "+
		"find out which one holds the data and name it: lvm-provisioner adopt LV-UUID", len(found), namespace, claim, strings.Join(names, ", "))}
}

func volumeDisputed(v Volume, equal []rival) Reason {
	var names []string
	for _, r := range equal {
		names = append(names, r.name)
	}
	return Reason{CodeVolumeAmbiguous, fmt.Sprintf("%s (LV UUID %s) and %s all say that they are %s/%s in generation %d: neither is given to the claim; "+
		"find out which one holds the data and name it, on its node: lvm-provisioner adopt LV-UUID",
		v, v.LV.UUID, strings.Join(names, ", "), v.Tags.Namespace, v.Tags.Claim, v.Tags.Generation)}
}

func superseded(v Volume, why string) Reason {
	return Reason{CodeSuperseded, fmt.Sprintf("%s (LV UUID %s) is not served to %s/%s any more and is kept: %s; to have it back: lvm-provisioner adopt %s",
		v, v.LV.UUID, v.Tags.Namespace, v.Tags.Claim, why, v.LV.UUID)}
}

func inUse(v Volume, why, user string) Reason {
	return Reason{CodeSupersededInUse, fmt.Sprintf("%s (LV UUID %s) should not be served to %s/%s any more (%s) and is still in use (%s): "+
		"end what uses it: where a person gave it up, once more by lvm-provisioner abandon, which notes it where it outlives the claim; else delete the claim and the pod; or keep it and give the other one up (lvm-provisioner adopt %s)",
		v, v.LV.UUID, v.Tags.Namespace, v.Tags.Claim, why, user, v.LV.UUID)}
}

func elsewhere(namespace, claim string, r rival) Reason {
	return Reason{CodeElsewhere, fmt.Sprintf("claim %s/%s has its data in %s, so no volume is made for it here: the pod has to go there, or somebody gives that volume up (lvm-provisioner abandon)",
		namespace, claim, r.name)}
}

func siblingHere(t volume.Tags, sibling Volume, node string) Reason {
	return Reason{CodeSiblingHere, fmt.Sprintf("volume group %q on node %s holds %s (LV UUID %s) of %s/%s, another member of %s: no volume of %s is made beside it, for one disk would take both; "+
		"the pod has to go to a node that holds none of them (lvm-provisioner inventory)",
		sibling.VG.Name, node, sibling, sibling.LV.UUID, sibling.Tags.Namespace, sibling.Tags.Claim, t.Member.StatefulSet, t.Claim)}
}

func volumeTooSmall(v Volume, request, room int64) Reason {
	return Reason{CodeVolumeTooSmall, fmt.Sprintf("%s holds this claim's data and has %d bytes, %d are asked for and %d are free: ask for at most %d; or, for the volume group, %s",
		v, v.LV.Size, request, room, v.LV.Size+room, roomier(v.VG))}
}

func classDiffers(v Volume, class string) Reason {
	return Reason{CodeClassDiffers, fmt.Sprintf("%s holds this claim's data and was made for StorageClass %s, the claim names %s: make the claim again with StorageClass %s",
		v, v.Tags.Class, class, v.Tags.Class)}
}

func notAvailable(v Volume, err error) Reason {
	return Reason{CodeNotAvailable, fmt.Sprintf("%s (%s/%s) is not served: %v", v, v.Tags.Namespace, v.Tags.Claim, err)}
}

func degraded(v Volume, node, health, of string) Reason {
	meaning, fix := lvm.Remedy(health, of)
	called := "it"
	if of != v.String() {
		called = of + ", in which it lives,"
	}
	return Reason{CodeDegraded, fmt.Sprintf("%s (%s/%s) on node %s: lvm calls %s %q: %s; the agent only tells it: %s",
		v, v.Tags.Namespace, v.Tags.Claim, node, called, health, meaning, fix)}
}

func contentUnknown(v Volume, found filesystem.Content) Reason {
	fix := "put the right disk or volume back; its tags say what is expected"
	if v.Tags.State == volume.Creating {
		fix = fmt.Sprintf("it was never published, so no data of a claim is in it: look at it, then lvremove %s", v)
	}
	return Reason{CodeContentUnknown, fmt.Sprintf("%s (%s/%s) should hold %s with UUID %s and holds %s, it is left alone: %s",
		v, v.Tags.Namespace, v.Tags.Claim, v.Tags.FSType, v.Tags.FSUUID, found, fix)}
}

func fsIncomplete(v Volume, err error) Reason {
	return Reason{CodeContentUnknown, fmt.Sprintf("%s (%s/%s) was being formatted when the node stopped and its file system is not complete: "+
		"it was never published, so no data of a claim is in it; look at it, then lvremove %s (%v)", v, v.Tags.Namespace, v.Tags.Claim, v, err)}
}

func pvAmbiguous(v Volume, names []string) Reason {
	return Reason{CodePVAmbiguous, fmt.Sprintf("%s has %d PersistentVolumes: %s; delete those that are not bound", v, len(names), strings.Join(names, ", "))}
}

func pvReservedElsewhere(v Volume, pv, owner string) Reason {
	return Reason{CodePVReservedElse, fmt.Sprintf("PersistentVolume %s is tied to claim %s, its %s belongs to %s/%s: delete the PersistentVolume object, it is published again as it should be",
		pv, owner, v, v.Tags.Namespace, v.Tags.Claim)}
}

func pvNameTaken(v Volume, pv string) Reason {
	return Reason{CodePVNameTaken, fmt.Sprintf("PersistentVolume %s is there and is not the one of %s: delete it", pv, v)}
}

func stillBound(pv, claim string) Reason {
	return Reason{CodeStillBound, fmt.Sprintf("PersistentVolume %s is not released yet by the former claim %s: it is reserved again as soon as it is", pv, claim)}
}

func deleteRefused(pv, why string) Reason {
	return Reason{CodeDeleteRefused, fmt.Sprintf("the volume of PersistentVolume %s is kept: %s; to keep it for good set the policy of the PersistentVolume to Retain", pv, why)}
}

func trashCeiling(v Volume, recent int) Reason {
	return Reason{CodeTrashCeiling, fmt.Sprintf("%s is kept for now: %d volumes of its volume group were deleted within an hour; "+
		"see that this is meant (lvm-provisioner inventory), then wait, or raise the agent's --trash-per-hour", v, recent)}
}

func retainedInTrash(v Volume, pv, other string) Reason {
	return Reason{CodeRetainedInTrash, fmt.Sprintf("%s (LV UUID %s) of claim %s/%s is in the trash, its PersistentVolume %s is of policy Retain again, and it cannot be the claim's: %s; "+
		"delete that PersistentVolume, the volume stays in the trash until its deadline", v, v.LV.UUID, v.Tags.Namespace, v.Tags.Claim, pv, other)}
}

func lvmNotShared(node string, found []lvm.Finding) Reason {
	var parts []string
	for _, f := range found {
		parts = append(parts, fmt.Sprintf("%s %s; %s", f.Subject, f.Problem, f.Fix))
	}
	return Reason{CodeLVMNotShared, fmt.Sprintf("nothing is written to the disks of node %s: %s (the agent looks again each interval; lvm-provisioner doctor tells the same)",
		node, strings.Join(parts, "; "))}
}

func nodeGone(claim *corev1.PersistentVolumeClaim, node string) Reason {
	return Reason{CodeNodeGone, fmt.Sprintf("node %s, which was to make the volume of claim %s/%s, is not in this cluster: the choice is taken back, and the scheduler looks again; "+
		"no pod has ever had a volume that was made there", node, claim.Namespace, claim.Name)}
}

func schedulerBypassed(claim *corev1.PersistentVolumeClaim, pod *corev1.Pod) Reason {
	return Reason{CodeBypassed, fmt.Sprintf("pod %s names node %s itself (spec.nodeName), so no scheduler has chosen a node for claim %s/%s and no volume is made: "+
		"delete the pod and make it with schedulerName %s and without nodeName (to keep it on this node use a nodeSelector)", pod.Name, pod.Spec.NodeName, claim.Namespace, claim.Name, volume.SchedulerName)}
}

func orphaned(v Volume, kind orphanKind) Reason {
	fix := "make the claim again to use the data, or to delete it as docs/runbook.md says (4)"
	switch kind {
	case orphanUnmade:
		fix = fmt.Sprintf("it was never published, so no data of a claim is in it: look at it, then %s, or make the claim again", byHand(v))
	case orphanOld:
		fix = fmt.Sprintf("the claim has another volume: when nobody needs this one, %s", byHand(v))
	}
	return Reason{CodeOrphan, fmt.Sprintf("%s (%s/%s, %s, %d bytes) has no claim and is kept: %s", v, v.Tags.Namespace, v.Tags.Claim, kind, v.LV.Size, fix)}
}

func homesIncomplete(vg, node, why string) Reason {
	return Reason{CodeHomesIncomplete, fmt.Sprintf("the tags of volume group %q on node %s do not hold the homes of all volumes of this cluster: %s; "+
		"when the API server loses its memory and this node returns first, blank volumes for those are not held back", vg, node, why)}
}
