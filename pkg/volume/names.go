package volume

// Names that appear on Kubernetes objects. They are API: other programs and
// people select by them, so they never change their meaning.
const (
	// Provisioner is the provisioner of every StorageClass that Berth serves.
	Provisioner = "lvm.berth.dev"

	// SchedulerName is the scheduler profile that places pods with Berth claims.
	SchedulerName = "berth-scheduler"

	// SystemNamespace holds Berth's own workloads and its CSIStorageCapacity objects.
	SystemNamespace = "berth-system"

	// NodeLabelPrefix, followed by the UUID of a volume group without dashes, is
	// the label that an agent sets on the node that holds this volume group.
	// The value is always "true". PVs are tied to a node by this label and not
	// by host name, so a volume follows its disks.
	NodeLabelPrefix = "vg.berth.dev/"

	// LabelClaim, on a PersistentVolume that Berth made, is LVName of its claim, so
	// that one question to the API server finds all volumes of a claim.
	LabelClaim = "berth.dev/claim"
)

// Annotations on a PersistentVolume that Berth made. Together they repeat the
// identity and the tags of the logical volume, so that a reader of the API
// needs no access to the node.
const (
	AnnotationVGUUID      = "berth.dev/vg-uuid"
	AnnotationVGName      = "berth.dev/vg-name"
	AnnotationVGSeqno     = "berth.dev/vg-seqno" // decimal; also on CSIStorageCapacity
	AnnotationLVUUID      = "berth.dev/lv-uuid"
	AnnotationLVName      = "berth.dev/lv-name"
	AnnotationFSUUID      = "berth.dev/fs-uuid"
	AnnotationStatefulSet = "berth.dev/statefulset"
	AnnotationOrdinal     = "berth.dev/ordinal"  // decimal
	AnnotationReplicas    = "berth.dev/replicas" // decimal, as when the LV was made
	AnnotationGeneration  = "berth.dev/generation"
	// AnnotationAPIServer is the identity (UID of namespace kube-system) of the
	// API server for which the logical volume was made. A value other than the
	// present one says that the volume outlived the API server's memory. On a
	// CSIStorageCapacity it is the API server that has all of the node's volumes.
	AnnotationAPIServer = "berth.dev/api-server"
	// AnnotationNode, on a CSIStorageCapacity object, is the name of the node
	// whose agent published it: the marker that this node has reported its
	// inventory to this API server. PVs are published before the marker.
	AnnotationNode = "berth.dev/node"
	// AnnotationConfirmDelete, on a PersistentVolume, holds the LV UUID of a volume
	// that outlived its API server's memory and that a person wants deleted all
	// the same.
	AnnotationConfirmDelete = "berth.dev/confirm-delete"
	// AnnotationHomes, on a CSIStorageCapacity object, lists the homes (Home.String,
	// separated by spaces) that the node's disks know of and the API does not show.
	AnnotationHomes = "berth.dev/homes"
	// AnnotationAbandoned, on a PersistentVolume or a claim, holds the highest
	// generation (decimal) that was given up by lvm-provisioner abandon: only a
	// higher one is the claim's.
	AnnotationAbandoned = "berth.dev/abandoned"
	// AnnotationAbandonedReason is why, in the words of whoever did it.
	AnnotationAbandonedReason = "berth.dev/abandoned-reason"
)
