package placement

import (
	"fmt"
	"slices"
	"time"
)

const (
	// StorageLabel with the value StorageNone on a node says that it holds no
	// volume group, so that nobody waits for it to report one.
	StorageLabel = "berth.dev/storage"
	StorageNone  = "none"
	// ShareAnnotation on a claim names the pod of a sibling, such as db-0. With
	// it somebody accepts that the two members live on one node and die with it.
	ShareAnnotation = "berth.dev/share-node-with"
	// OutOfServiceTaint is how an administrator tells Kubernetes that a machine
	// is off and will not come back by itself.
	OutOfServiceTaint = "node.kubernetes.io/out-of-service"
)

// ClaimName names a PersistentVolumeClaim. It is what a logical volume remembers
// of its owner: the UID of a claim dies with the API object, the name does not.
type ClaimName struct {
	Namespace, Name string
}

// String returns namespace/name.
func (n ClaimName) String() string { return n.Namespace + "/" + n.Name }

// Member is one pod of a StatefulSet. The zero value is a pod of no StatefulSet.
type Member struct {
	Namespace, StatefulSet string
	Ordinal                int
}

// Known is false for a pod that no StatefulSet owns.
func (m Member) Known() bool { return m.StatefulSet != "" }

// String returns namespace/pod name.
func (m Member) String() string {
	return m.Namespace + "/" + m.pod()
}

// pod is the name of the member's pod.
func (m Member) pod() string { return fmt.Sprintf("%s-%d", m.StatefulSet, m.Ordinal) }

// Sibling says that m and other are different members of one cluster.
func (m Member) Sibling(other Member) bool {
	return m.sameCluster(other) && m.Ordinal != other.Ordinal
}

func (m Member) sameCluster(other Member) bool {
	return m.Known() && m.Namespace == other.Namespace && m.StatefulSet == other.StatefulSet
}

// Request is a pod that wants a node, seen through its claims of our classes.
type Request struct {
	Member Member
	Claims []Claim
}

// Claim is a PersistentVolumeClaim as it is now.
type Claim struct {
	ClaimName
	UID   string
	Class string
	Bytes int64 // requested
	// VolumeName is the PersistentVolume that the claim is bound to, if any.
	VolumeName string
	// SelectedNode is the node on which the claim's volume is being made, if any.
	SelectedNode string
	// SharesWith is the pod of the sibling that the claim's member may live with,
	// see ShareAnnotation.
	SharesWith string
	// Abandoned is the generation up to which a person has given the claim's volumes
	// up by name, as the claim says it; volumes may say it as well.
	Abandoned int
}

// Facts is what is known that matters to one Request. It does not grow with the
// cluster: what single nodes offer to a new volume is asked node by node, see
// Verdict.Judge.
type Facts struct {
	// Synced is false while the first list of any kind of object is missing.
	Synced bool
	// APIServer is the identity of the API server to which the nodes have
	// reported. Whoever acts on a verdict with new volumes has to make sure that
	// it is still the same.
	APIServer string
	// Volumes are those of the request's claims and of its cluster.
	Volumes []Volume
	// Homes are what the disks of any node know of the request's claims and of its
	// cluster, and the API does not show as volumes.
	Homes []Home
	// Promises are those to the request's claims and to its cluster.
	Promises []Promise
	// Nodes are those that the volumes and the claims name.
	Nodes []Node
	// Silent are the nodes that have not reported, in order, and at most
	// MostSilent of the SilentCount that there are.
	Silent      []string
	SilentCount int
	// Unchecked says that reports have come which have not been compared with
	// the API server yet, so that silent nodes may have reported after all.
	Unchecked bool
}

// MostSilent is how many silent nodes a reader can use.
const MostSilent = 5

// Volume is a PersistentVolume of ours, and so a logical volume on some disk.
type Volume struct {
	Name   string // of the PersistentVolume
	LV, VG string // UUIDs
	Class  string
	Claim  ClaimName
	// ClaimUID is the claim that the volume is bound to. It is empty when the
	// agent has verified the volume and keeps it for any claim of this name.
	ClaimUID string
	Member   Member
	Replicas int // of the StatefulSet when the volume was made
	// APIServer is the API server for which the volume was made.
	APIServer string
	// Nodes carry the label of the volume's group: one, unless the disks moved.
	Nodes []string
	// Published says that some node publishes free space of the volume's group,
	// and so has its disks.
	Published bool
	// Of several volumes of a claim the one with the highest Generation counts.
	Generation int
	// Abandoned is the generation up to which the volume says that a person has
	// given the claim's volumes up.
	Abandoned int
}

// Home is what a volume group's tags say of a volume in another group.
type Home struct {
	Claim      ClaimName
	Member     Member
	Replicas   int // of the StatefulSet when the volume was made
	Generation int
	VG         string
	APIServer  string // for which the volume was made
	// Reported says that a node has published the group to this API server after the
	// volume was made, and so has shown every volume in it.
	Reported bool
}

// boundTo says that the volume belongs to this very claim object.
func (v Volume) boundTo(c Claim) bool {
	return v.ClaimUID != "" && v.ClaimUID == c.UID
}

// reserved says that the volume waits for a claim of its name, verified.
func (v Volume) reserved() bool { return v.ClaimUID == "" }

// Promise is room for a claim that the published free space still contains.
type Promise struct {
	Claim  ClaimName
	Member Member // the zero value when it is none of the request's cluster
	Node   string
	VG     string // "" until the node publishes
	Bytes  int64
}

// Node is a machine that holds a volume or makes one.
type Node struct {
	Name     string
	Ready    bool
	Since    time.Time // of the present readiness; zero when it never reported
	Cordoned bool
	// OutOfService says that somebody has declared the machine dead, by the taint
	// node.kubernetes.io/out-of-service.
	OutOfService bool
	Room         Room
}

// Room is what a node offers to new volumes.
type Room struct {
	Node  string
	Pools []Pool // at most one a class
}

// Pool is the room that a node offers to a class.
type Pool struct {
	Class    string
	VG       string
	Free     int64 // bytes, as published
	Promised int64 // bytes of Free that are promised to any claim
	Members  int   // that have a volume in the group, or will
}

// pool returns what the node offers to a class.
func (r Room) pool(class string) (Pool, bool) {
	i := slices.IndexFunc(r.Pools, func(p Pool) bool { return p.Class == class })
	if i < 0 {
		return Pool{}, false
	}
	return r.Pools[i], true
}

// Action is what a Verdict tells the scheduler to do.
type Action string

// The three actions.
const (
	Pin    Action = "pin"    // only Verdict.Node will do
	Refuse Action = "refuse" // no node will do now, see Verdict.Reason
	Allow  Action = "allow"  // each node as Verdict.Judge says
)

// Verdict is the answer to a Request.
type Verdict struct {
	Action Action
	Node   string
	Reason Reason
	// Blank are the claims that will get a new volume: what to promise.
	Blank []Claim
	// Beside are siblings that live on the pinned node, too, which somebody has
	// accepted by name.
	Beside []Member

	taken       map[string]Member // nodes with a volume of, or a promise to, a sibling
	takenGroups map[string]Member // volume groups with a volume of a sibling
	own         []Promise         // to the claims in Blank
}

// Judgement is what a Verdict says of one node for new volumes.
type Judgement struct {
	Fits      bool
	Reason    Reason // when it does not fit
	FreeAfter int64  // bytes that stay free, when it fits
	Members   int    // that the volume groups have already, when it fits
}

func refuse(r Reason) Verdict { return Verdict{Action: Refuse, Reason: r} }

func (f Facts) node(name string) (Node, bool) {
	i := slices.IndexFunc(f.Nodes, func(n Node) bool { return n.Name == name })
	if i < 0 {
		return Node{}, false
	}
	return f.Nodes[i], true
}
