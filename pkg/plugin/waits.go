package plugin

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/berth-dev/berth/pkg/inventory"
	"github.com/berth-dev/berth/pkg/placement"
)

// wait is what a pod waits for, as its last verdict has it.
type wait struct {
	keys    []string // of what concerns the pod, see inventory.PodKeys
	nodes   []string // at which the verdict has looked by name
	verdict placement.Verdict
}

// waitOf is the wait of a pod with this verdict, which was found on the facts. A
// pod of which the claims could not be read has no facts.
func waitOf(pod *corev1.Pod, v placement.Verdict, r placement.Request, f placement.Facts) wait {
	w := wait{keys: inventory.PodKeys(pod), verdict: v, nodes: []string{v.Node, v.Reason.Node}}
	for _, c := range r.Claims {
		w.nodes = append(w.nodes, c.SelectedNode)
	}
	for _, held := range f.Volumes {
		w.nodes = append(w.nodes, held.Nodes...)
	}
	slices.Sort(w.nodes)
	w.nodes = slices.DeleteFunc(slices.Compact(w.nodes), func(name string) bool { return name == "" })
	return w
}

// concern is what can end a wait, besides what happens to the pod's own claims and
// volumes and to the nodes at which its verdict has looked.
type concern struct {
	siblings bool // volumes of the other members
	reports  bool // what nodes report for the first time, or of another volume group
	proof    bool // that reports are compared with the API server
	room     bool // on some node
}

// concerns says what can end the wait. A verdict names the first thing that is in
// the way. What else may be in the way is looked at when that one has ended, so
// that it is enough to hear of whatever can end the first.
func (w wait) concerns() concern {
	switch w.verdict.Action {
	case placement.Pin: // and some other plugin has refused the home
		return concern{}
	case placement.Allow: // and no node would do
		return concern{siblings: true, room: true}
	}
	switch w.verdict.Reason.Code {
	case placement.CodeClaimMissing, placement.CodeClassMissing,
		placement.CodeVolumeAmbiguous, placement.CodeVolumeUnverified, placement.CodeVolumeMissing,
		placement.CodeHomeUnknown, placement.CodeHomeAmbiguous,
		placement.CodeHomeOutOfService, placement.CodeHomeNotReady, placement.CodeHomeCordoned, placement.CodeHomesDiffer:
		return concern{}
	case placement.CodeHomeShared:
		return concern{siblings: true}
	case placement.CodeHomeReplaced, placement.CodeNodeNotReported:
		return concern{reports: true}
	case placement.CodeReportsUnchecked:
		return concern{reports: true, proof: true}
	case placement.CodeMemberNotFound:
		return concern{siblings: true, reports: true}
	}
	return concern{siblings: true, reports: true, proof: true, room: true}
}

// Keys under which waits are found, besides those of inventory.PodKeys. A slash
// cannot begin a namespace, so that kinds of keys do not meet.
const (
	roomKey    = "/room"
	reportsKey = "/reports"
	proofKey   = "/proof"
)

func nodeKey(name string) string { return "/node/" + name }

// indexKeys are all keys under which the wait is found.
func (w wait) indexKeys() []string {
	c := w.concerns()
	keys := make([]string, 0, len(w.keys)+len(w.nodes)+3)
	for _, key := range w.keys {
		if c.siblings || !inventory.KeyOfSiblings(key) {
			keys = append(keys, key)
		}
	}
	for _, name := range w.nodes {
		keys = append(keys, nodeKey(name))
	}
	for key, holds := range map[string]bool{roomKey: c.room, reportsKey: c.reports, proofKey: c.proof} {
		if holds {
			keys = append(keys, key)
		}
	}
	return keys
}

// matches says that the wait is about one of the keys, and whether that is a key of
// the pod's own claims and not of its siblings.
func (w wait) matches(keys []string) (own, sibling bool) {
	for _, key := range keys {
		if slices.Contains(w.keys, key) {
			if inventory.KeyOfSiblings(key) {
				sibling = true
			} else {
				own = true
			}
		}
	}
	return own, sibling
}
