package plugin

import (
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-dev/berth/pkg/inventory"
	"github.com/berth-dev/berth/pkg/placement"
)

// waitsMost is how many pods are remembered with what they wait for. One that is
// forgotten is woken by whatever may concern it.
const waitsMost = 8192

// wait is what a pod waits for, as its last verdict has it.
type wait struct {
	pod     types.NamespacedName
	keys    []string // of what concerns the pod, see inventory.PodKeys
	verdict placement.Verdict
}

// waitOf is what is known of a pod whose verdict is not.
func waitOf(pod *corev1.Pod) wait { return wait{keys: inventory.PodKeys(pod)} }

// concern is what can end a wait, besides what happens to the pod's own claims and
// volumes and to nodes, which every pod hears of.
type concern struct {
	siblings bool // volumes of the other members
	reports  bool // what nodes report for the first time, or of another volume group
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
	case placement.CodeHomeReplaced, placement.CodeReportsUnchecked, placement.CodeNodeNotReported:
		return concern{reports: true}
	case placement.CodeMemberNotFound:
		return concern{siblings: true, reports: true}
	}
	return concern{siblings: true, reports: true, room: true}
}

// waits remembers what refused pods wait for. It is safe for concurrent use.
type waits struct {
	mu     sync.Mutex
	pods   map[types.UID]wait
	forgot bool // there were once more pods than it remembers
}

// enter notes the pod's last verdict. It comes before the pod is refused, so that
// a hint about a refused pod never sees an older one.
func (w *waits) enter(pod *corev1.Pod, v placement.Verdict) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.pods == nil {
		w.pods = map[types.UID]wait{}
	}
	entry := wait{pod: types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}, verdict: v}
	if old, known := w.pods[pod.UID]; known {
		entry.keys = old.keys // its claims and its name are for good
	} else {
		entry.keys = inventory.PodKeys(pod)
	}
	w.pods[pod.UID] = entry
	if len(w.pods) > waitsMost {
		for uid := range w.pods {
			if uid != pod.UID {
				delete(w.pods, uid)
				break
			}
		}
		w.forgot = true
	}
}

// leave forgets a pod that has its node, or of which the verdict no longer holds.
func (w *waits) leave(pod *corev1.Pod) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.pods, pod.UID)
}

// of returns what the pod waits for, if that is known.
func (w *waits) of(pod *corev1.Pod) (wait, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	entry, known := w.pods[pod.UID]
	return entry, known
}

// forRoom lists the pods that wait for room. It is not complete when there are
// more pods than are remembered.
func (w *waits) forRoom() (pods []types.NamespacedName, complete bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, entry := range w.pods {
		if entry.concerns().room {
			pods = append(pods, entry.pod)
		}
	}
	return pods, !w.forgot
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
