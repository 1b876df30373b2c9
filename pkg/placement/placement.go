package placement

import (
	"fmt"
	"slices"
	"time"
)

// StorageLabel with the value StorageNone on a node says that it holds no volume
// group, so that nobody waits for it to report one.
const (
	StorageLabel = "berth.dev/storage"
	StorageNone  = "none"
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
	return fmt.Sprintf("%s/%s-%d", m.Namespace, m.StatefulSet, m.Ordinal)
}

// sibling says that m and other are different members of one cluster.
func (m Member) sibling(other Member) bool {
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
}

// Facts is what is known that matters to one Request.
type Facts struct {
	// Synced is false while the first list of any kind of object is missing.
	Synced bool
	// APIServer is the identity of the present API server. It is needed, and
	// given, only when a claim of the request has no volume.
	APIServer string
	// Volumes are those of the request's claims and of its cluster.
	Volumes []Volume
	// Promises are the bytes of volumes that are being made anywhere.
	Promises []Promise
	// Nodes are all nodes when a claim of the request has no volume, otherwise
	// those that the volumes name.
	Nodes []Node
}

// Volume is a PersistentVolume of ours, and so a logical volume on some disk.
type Volume struct {
	Name   string // of the PersistentVolume
	LV, VG string // UUIDs
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
	Member Member // known only for members of the request's cluster
	Node   string
	VG     string
	Bytes  int64
}

// Node is a machine that may hold volumes.
type Node struct {
	Name     string
	Ready    bool
	Since    time.Time // of the present readiness; zero when it never reported
	Cordoned bool
	// Storageless is a node that somebody declared to hold no volume group.
	Storageless bool
	// Reported says that the node's agent has published all its volumes to the
	// present API server.
	Reported bool
	Pools    map[string]Pool // by class
}

// Pool is the room that a node offers to a class.
type Pool struct {
	VG   string
	Free int64 // bytes, as published
}

// Action is what a Verdict tells the scheduler to do.
type Action string

// The three actions.
const (
	Pin    Action = "pin"    // only Verdict.Node will do
	Refuse Action = "refuse" // no node will do now, see Verdict.Reason
	Allow  Action = "allow"  // see Verdict.Nodes
)

// Verdict is the answer to a Request.
type Verdict struct {
	Action Action
	Node   string
	Reason Reason
	Nodes  map[string]Judgement
	// Blank are the claims that will get a new volume: what to promise.
	Blank []Claim
	// Neighbours are members of the same cluster with volumes on the pinned
	// node. Data goes first, so they do not prevent the pin; somebody should know.
	Neighbours []Member
}

// Judgement is what Decide thinks of one node for new volumes.
type Judgement struct {
	Fits      bool
	Reason    Reason // when it does not fit
	FreeAfter int64  // bytes that stay free, when it fits
}

func refuse(r Reason) Verdict { return Verdict{Action: Refuse, Reason: r} }

func (f Facts) node(name string) (Node, bool) {
	i := slices.IndexFunc(f.Nodes, func(n Node) bool { return n.Name == name })
	if i < 0 {
		return Node{}, false
	}
	return f.Nodes[i], true
}
