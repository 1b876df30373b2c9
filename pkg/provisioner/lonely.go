package provisioner

import (
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// lonely remembers when volumes were first found without their claim's
// PersistentVolume, by LV UUID. Writers take note side by side.
type lonely struct {
	mu    sync.Mutex
	since map[string]time.Time
}

func (l *lonely) found(lvUUID string, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.since == nil {
		l.since = map[string]time.Time{}
	}
	if _, known := l.since[lvUUID]; !known {
		l.since[lvUUID] = at
	}
}

func (l *lonely) forget(lvUUID string) (since time.Time, known bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	since, known = l.since[lvUUID]
	delete(l.since, lvUUID)
	return since, known
}

// miss notes when a volume was first found without its claim's PV.
func (a *Agent) miss(v Volume, pvs []*corev1.PersistentVolume) {
	if step, err := decide(v, pvs); err == nil && (step == stepPublish || step == stepReserve) {
		a.lonely.found(v.LV.UUID, a.began)
	}
}

// adopted counts a volume that was given back, and how long that took.
func (a *Agent) adopted(v Volume, kind string) {
	a.metrics.adoptions.WithLabelValues(kind).Inc()
	if since, known := a.lonely.forget(v.LV.UUID); known {
		a.metrics.adoption.Observe(a.clock.Since(since).Seconds())
	}
}
