package placement

import (
	"fmt"
	"strings"
	"time"
)

// Code names a refusal for programs: the same in status, event, log and docs.
type Code string

// Refusals of the whole request, in the order in which Decide looks for them.
const (
	CodeCacheNotSynced   Code = "CacheNotSynced"
	CodeClaimMissing     Code = "ClaimMissing"
	CodeClassMissing     Code = "ClassMissing"
	CodeVolumeAmbiguous  Code = "VolumeAmbiguous"
	CodeVolumeUnverified Code = "VolumeUnverified"
	CodeVolumeMissing    Code = "VolumeMissing"
	CodeHomeUnknown      Code = "HomeUnknown"
	CodeHomeAmbiguous    Code = "HomeAmbiguous"
	CodeHomeOutOfService Code = "HomeOutOfService"
	CodeHomeNotReady     Code = "HomeNotReady"
	CodeHomeCordoned     Code = "HomeCordoned"
	CodeHomeReplaced     Code = "HomeReplaced"
	CodeHomesDiffer      Code = "HomesDiffer"
	CodeHomeShared       Code = "HomeShared"
	CodeHomeAway         Code = "HomeAway"
	CodeMemberNotFound   Code = "MemberNotFound"
	CodeReportsUnchecked Code = "ReportsUnchecked"
	CodeNodeNotReported  Code = "NodeNotReported"
)

// Refusals of one node.
const (
	CodeMemberOnNode  Code = "MemberOnNode"
	CodeNoVolumeGroup Code = "NoVolumeGroup"
	CodeNoSpace       Code = "NoSpace"
	CodeDataElsewhere Code = "DataElsewhere"
)

// Reason is why a pod, or a node for a pod, has to wait.
type Reason struct {
	Code    Code      `json:"code"`
	Text    string    `json:"text"`    // what is the case
	Unblock string    `json:"unblock"` // what ends it
	Claim   ClaimName `json:"-"`
	Node    string    `json:"node,omitempty"`   // where known
	Volume  string    `json:"volume,omitempty"` // the PersistentVolume, where known
}

// String is the sentence for people, with the code at its end.
func (r Reason) String() string {
	return fmt.Sprintf("%s; waits for %s (%s)", r.Text, r.Unblock, r.Code)
}

func cacheNotSynced() Reason {
	return Reason{
		Code:    CodeCacheNotSynced,
		Text:    "the scheduler has not read all volumes, claims and nodes yet",
		Unblock: "its first lists from the API server",
	}
}

// ClaimMissing is the reason for a pod whose claim is not there, or is going.
func ClaimMissing(c ClaimName, deleting bool) Reason {
	text, unblock := "claim %s does not exist", "the claim to be created"
	if deleting {
		text, unblock = "claim %s is being deleted", "its deletion, and for the StatefulSet to make it and the pod again"
	}
	return Reason{Code: CodeClaimMissing, Text: fmt.Sprintf(text, c), Unblock: unblock, Claim: c}
}

// ClassMissing is the reason for a pod whose unbound claim names an unknown class.
func ClassMissing(c ClaimName, class string) Reason {
	return Reason{
		Code:    CodeClassMissing,
		Text:    fmt.Sprintf("claim %s asks for StorageClass %q, which does not exist", c, class),
		Unblock: "the StorageClass to be created",
		Claim:   c,
	}
}

func volumeAmbiguous(c Claim, volumes []*Volume) *Reason {
	names := make([]string, len(volumes))
	for i, v := range volumes {
		names[i] = v.Name
	}
	return &Reason{
		Code:    CodeVolumeAmbiguous,
		Text:    fmt.Sprintf("claim %s has several volumes of the same generation: %s", c.ClaimName, list(names, len(names))),
		Unblock: "somebody to name the right one, on its node: lvm-provisioner adopt LV-UUID",
		Claim:   c.ClaimName,
	}
}

func volumeUnverified(c Claim, v Volume, node string) *Reason {
	return &Reason{
		Code: CodeVolumeUnverified,
		Text: fmt.Sprintf("%s on node %s was bound to an earlier claim %s and waits to be verified by its agent",
			v.describe(), node, c.ClaimName),
		Unblock: "lvm-provisioner on node " + node + " to find it intact",
		Claim:   c.ClaimName, Node: node, Volume: v.Name,
	}
}

func volumeMissing(c Claim) *Reason {
	return &Reason{
		Code: CodeVolumeMissing,
		Text: fmt.Sprintf("claim %s is bound to volume %s, which the API server does not have", c.ClaimName, c.VolumeName),
		Unblock: "the agent of its node to publish the volume again; if the claim is Lost, delete the claim and the pod:" +
			" the new claim finds its logical volume by name",
		Claim: c.ClaimName, Volume: c.VolumeName,
	}
}

func provisionerGone(c Claim) *Reason {
	return &Reason{
		Code:    CodeHomeUnknown,
		Text:    fmt.Sprintf("the volume of claim %s is being made on node %s, which is not in this cluster", c.ClaimName, c.SelectedNode),
		Unblock: "an agent to take this choice back, within a minute, or node " + c.SelectedNode + " to return",
		Claim:   c.ClaimName, Node: c.SelectedNode,
	}
}

func homeUnknown(v Volume, f Facts) *Reason {
	return &Reason{
		Code: CodeHomeUnknown,
		Text: fmt.Sprintf("claim %s has its data in %s of volume group %s, which no node has now%s",
			v.Claim, v.describe(), v.VG, renamed(f)),
		Unblock: "the machine with the disks of this volume group to join the cluster and run lvm-provisioner",
		Claim:   v.Claim, Volume: v.Name,
	}
}

// renamed names the nodes that may be the machine under another name.
func renamed(f Facts) string {
	if f.SilentCount == 0 {
		return ""
	}
	return fmt.Sprintf("; the machine may be back as a node that has not reported yet: %s", f.silent())
}

func homeAmbiguous(v Volume, nodes []Node) *Reason {
	names := make([]string, len(nodes))
	for i, n := range nodes {
		names[i] = n.Name
	}
	return &Reason{
		Code:    CodeHomeAmbiguous,
		Text:    fmt.Sprintf("claim %s has its data in %s of volume group %s, which nodes %s all claim to have", v.Claim, v.describe(), v.VG, list(names, len(names))),
		Unblock: "the label of this volume group to be removed from the nodes without its disks",
		Claim:   v.Claim, Volume: v.Name,
	}
}

func homeOutOfService(c Claim, v *Volume, n Node) *Reason {
	state := "Ready"
	if !n.Ready {
		state = "not Ready since " + since(n.Since)
	}
	return &Reason{
		Code: CodeHomeOutOfService,
		Text: fmt.Sprintf("%s node %s, which somebody has declared dead by the taint %s and which is %s",
			tied(c, v), n.Name, OutOfServiceTaint, state),
		Unblock: fmt.Sprintf("the machine, and then kubectl taint node %s %s-", n.Name, OutOfServiceTaint),
		Claim:   c.ClaimName, Node: n.Name, Volume: nameOf(v),
	}
}

func homeNotReady(c Claim, v *Volume, n Node, f Facts) *Reason {
	return &Reason{
		Code:    CodeHomeNotReady,
		Text:    fmt.Sprintf("%s node %s, which is not Ready since %s%s", tied(c, v), n.Name, since(n.Since), renamed(f)),
		Unblock: "node " + n.Name + " to be Ready",
		Claim:   c.ClaimName, Node: n.Name, Volume: nameOf(v),
	}
}

func homeCordoned(c Claim, v *Volume, n Node) *Reason {
	return &Reason{
		Code:    CodeHomeCordoned,
		Text:    fmt.Sprintf("%s node %s, which is cordoned", tied(c, v), n.Name),
		Unblock: "kubectl uncordon " + n.Name,
		Claim:   c.ClaimName, Node: n.Name, Volume: nameOf(v),
	}
}

func homeReplaced(v Volume, n Node, vg string) *Reason {
	return &Reason{
		Code: CodeHomeReplaced,
		Text: fmt.Sprintf("claim %s has its data in %s of volume group %s, but node %s now has volume group %s in its place",
			v.Claim, v.describe(), v.VG, n.Name, vg),
		Unblock: fmt.Sprintf("the disks of volume group %s; the machine was replaced under its old name, or the group made anew", v.VG),
		Claim:   v.Claim, Node: n.Name, Volume: v.Name,
	}
}

func homeShared(r Request, node string, sibling Volume) *Reason {
	c := r.Claims[0].ClaimName
	return &Reason{
		Code: CodeHomeShared,
		Text: fmt.Sprintf("member %s has its data on node %s, and so has member %s in %s: both would die with this node",
			r.Member, node, sibling.Member, sibling.describe()),
		Unblock: fmt.Sprintf("one of the two volumes to be given up, or, to let both run there, kubectl annotate pvc -n %s %s %s=%s",
			c.Namespace, c.Name, ShareAnnotation, sibling.Member.pod()),
		Claim: c, Node: node, Volume: sibling.Name,
	}
}

func homesDiffer(a Claim, nodeA string, b Claim, nodeB string) *Reason {
	return &Reason{
		Code:    CodeHomesDiffer,
		Text:    fmt.Sprintf("claim %s has its data on node %s but claim %s on node %s", a.ClaimName, nodeA, b.ClaimName, nodeB),
		Unblock: "both volumes to be on one node, or for somebody to give up one of them",
		Claim:   b.ClaimName, Node: nodeB,
	}
}

func memberNotFound(m Member, c Claim, v Volume) *Reason {
	return &Reason{
		Code: CodeMemberNotFound,
		Text: fmt.Sprintf("%s of member %s outlived the API server that made it and says that the cluster had %d members,"+
			" so member %s has data somewhere, and claim %s gets no blank volume", v.describe(), v.Member, v.Replicas, m, c.ClaimName),
		Unblock: fmt.Sprintf("the node with the volume of member %s to return%s", m, orAbandon(c)),
		Claim:   c.ClaimName, Volume: v.Name,
	}
}

// memberElsewhere is memberNotFound when only the tags of a volume group tell.
func memberElsewhere(m Member, c Claim, h Home) *Reason {
	return &Reason{
		Code: CodeMemberNotFound,
		Text: fmt.Sprintf("the disks that have returned know of member %s in volume group %s, made for another API server when the cluster had %d members,"+
			" so member %s has data somewhere, and claim %s gets no blank volume", h.Member, h.VG, h.Replicas, m, c.ClaimName),
		Unblock: fmt.Sprintf("the node with the volume of member %s to return%s", m, orAbandon(c)),
		Claim:   c.ClaimName,
	}
}

func homeAway(c Claim, h Home) *Reason {
	return &Reason{
		Code: CodeHomeAway,
		Text: fmt.Sprintf("the disks that have returned know that claim %s has its data in volume group %s (generation %d), which no node has reported to this API server",
			c.ClaimName, h.VG, h.Generation),
		Unblock: "the machine with the disks of this volume group to join the cluster and run lvm-provisioner" + orAbandon(c),
		Claim:   c.ClaimName,
	}
}

// orAbandon is the way out for data that is lost for good.
func orAbandon(c Claim) string {
	return "; when it is lost for good, lvm-provisioner abandon " + c.String()
}

func reportsUnchecked(c Claim) *Reason {
	return &Reason{
		Code:    CodeReportsUnchecked,
		Text:    fmt.Sprintf("before claim %s gets a blank volume, the reports of nodes are compared with the API server", c.ClaimName),
		Unblock: "this comparison, which the scheduler has begun",
		Claim:   c.ClaimName,
	}
}

func nodeNotReported(c Claim, f Facts) *Reason {
	return &Reason{
		Code: CodeNodeNotReported,
		Text: fmt.Sprintf("the data of claim %s may be on a node whose volumes are not known to this API server: %s",
			c.ClaimName, f.silent()),
		Unblock: "lvm-provisioner to report from there; a node that holds no volumes is labelled " + StorageLabel + "=" + StorageNone,
		Claim:   c.ClaimName, Node: f.Silent[0],
	}
}

// The reasons of one node leave out what differs from node to node: the
// scheduler counts equal texts, and a reader wants "2 node(s)" and not a list.

// DataElsewhere is the reason for a node that is not the pod's home.
func DataElsewhere(home string) Reason {
	return Reason{
		Code:    CodeDataElsewhere,
		Text:    "node(s) do not hold the data, which is on node " + home,
		Unblock: "node " + home + " to pass all other filters",
		Node:    home,
	}
}

// Silent is the reason for a node that has not reported.
func Silent(node string) Reason {
	return Reason{
		Code: CodeNodeNotReported, Text: "node(s) have not published their volumes to this API server",
		Unblock: "lvm-provisioner to report from there", Node: node,
	}
}

// MemberOnNode is the reason for a node that holds, or was promised, a volume of a
// sibling.
func MemberOnNode(node string, sibling Member) Reason {
	return Reason{
		Code:    CodeMemberOnNode,
		Text:    fmt.Sprintf("node(s) hold a volume of member %s", sibling),
		Unblock: "another node with a volume group",
		Node:    node,
	}
}

func noVolumeGroup(node string, c Claim) Reason {
	return Reason{
		Code:    CodeNoVolumeGroup,
		Text:    fmt.Sprintf("node(s) have no volume group for class %s", c.Class),
		Unblock: "a volume group that lvm-provisioner serves for this class",
		Claim:   c.ClaimName, Node: node,
	}
}

func noSpace(node string, c Claim, need int64) Reason {
	return Reason{
		Code:    CodeNoSpace,
		Text:    fmt.Sprintf("node(s) have less than %d MiB free for class %s", (need+1<<20-1)>>20, c.Class),
		Unblock: "room in the volume group",
		Claim:   c.ClaimName, Node: node,
	}
}

// describe names the volume for the API and for the shell on its node.
func (v Volume) describe() string {
	return fmt.Sprintf("volume %s (logical volume %s)", v.Name, v.LV)
}

// tied says what ties the claim to a node, up to the node's name.
func tied(c Claim, v *Volume) string {
	if v == nil {
		return fmt.Sprintf("the volume of claim %s is being made on", c.ClaimName)
	}
	return fmt.Sprintf("claim %s has its data in %s on", c.ClaimName, v.describe())
}

func nameOf(v *Volume) string {
	if v == nil {
		return ""
	}
	return v.Name
}

func since(t time.Time) string {
	if t.IsZero() {
		return "it joined"
	}
	return t.UTC().Format(time.RFC3339)
}

// silent names the first few silent nodes and counts the rest.
func (f Facts) silent() string { return list(f.Silent, f.SilentCount) }

// list names the first few and counts the rest of all.
func list(names []string, all int) string {
	names = names[:min(len(names), MostSilent)]
	if len(names) == all {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names, ", "), all-len(names))
}
