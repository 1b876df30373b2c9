package provisioner

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/record"
)

// notices turns standing problems into events once, when they appear or
// change, so that a problem that stays costs no API write each interval.
type notices struct {
	events record.EventRecorder
	said   map[string]Reason
	seen   map[string]bool
}

func newNotices(events record.EventRecorder) *notices {
	return &notices{events: events, said: map[string]Reason{}, seen: map[string]bool{}}
}

// say reports a problem that was met in this pass. Key names what has the problem.
func (n *notices) say(about runtime.Object, key string, r Reason) {
	key += " " + r.Code
	n.seen[key] = true
	if n.said[key] == r {
		return
	}
	n.said[key] = r
	n.events.Event(about, corev1.EventTypeWarning, r.Code, r.Text)
}

// endPass forgets the problems that this pass did not meet again, so that they
// are news when they come back.
func (n *notices) endPass() {
	for key := range n.said {
		if !n.seen[key] {
			delete(n.said, key)
		}
	}
	clear(n.seen)
}
