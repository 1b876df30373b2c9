package plugin

import (
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-dev/berth/pkg/placement"
)

const (
	// settle is how long a wake rests. The scheduler's caches of nodes and volumes
	// follow the same change, each at its own pace.
	settle = 10 * time.Millisecond
	// shortest and longest bound the time between two attempts of a pod, which
	// doubles with each that was in vain. The queue's own back-off does not count
	// for a pod that is woken; the longest is that of the manifest.
	shortest, longest = 100 * time.Millisecond, 4 * time.Second
	// calm is how long a pod has to sleep for its attempts to be forgotten.
	calm = 2 * longest
	// repeat is when a wake is repeated that no attempt has followed. It doubles, up
	// to longest.
	repeat = time.Second
	// echoes is how often a woken pod is tried again that another plugin has refused:
	// perhaps on what its cache held before the change.
	echoes = 3
	// trust is how long the gate believes that nothing has happened. The scheduler
	// has all pods tried again that have waited for five minutes.
	trust = 4 * time.Minute
)

// change is something that has happened, and whom it may help.
type change struct {
	all  bool              // look at all waits
	keys []string          // or at those under these keys
	help func(w wait) bool // whether it helps one of these
}

// sleeper is a pod between its first verdict and its node.
type sleeper struct {
	wait
	pod      *corev1.Pod
	keys     []string // under which it is found
	deciding bool     // its verdict is being found, on facts that may be older than
	missed   []change // these

	gated     bool // PreFilter has refused it, and nobody else was asked
	due       bool // it is to be tried again
	echo      bool // and for no other reason than that another plugin may have been behind
	attempts  int  // one after the other
	attempted time.Time
	echoes    int // that are left
	timer     *time.Timer
}

// sleepers remember what pods wait for, and wake those whom a change helps. The
// scheduler would ask for each event about each pod that waits.
//
// No wake is lost: a change that comes while a verdict is being found is judged
// when it has been. A wake stays due until the pod's next attempt begins. They are
// safe for concurrent use.
type sleepers struct {
	activate func(*corev1.Pod)

	mu       sync.Mutex
	count    atomic.Int32 // of pods
	gated    atomic.Int32
	pods     map[types.UID]*sleeper
	index    map[string]map[types.UID]*sleeper
	deciding map[types.UID]*sleeper
}

func newSleepers(activate func(*corev1.Pod)) *sleepers {
	return &sleepers{
		activate: activate,
		pods:     map[types.UID]*sleeper{},
		index:    map[string]map[types.UID]*sleeper{},
		deciding: map[types.UID]*sleeper{},
	}
}

// begin says that an attempt begins. It comes before anything is read for it.
func (s *sleepers) begin(pod *corev1.Pod) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pods[pod.UID]
	if p == nil {
		p = &sleeper{}
		s.pods[pod.UID] = p
		s.count.Add(1)
	}
	now := time.Now()
	if now.Sub(p.attempted) >= calm {
		p.attempts = 0
	}
	p.attempts++
	p.pod, p.attempted, p.due, p.echo, p.missed, p.deciding = pod, now, false, false, nil, true
	p.stop()
	s.gate(p, false)
	s.deciding[pod.UID] = p
}

// enter notes the verdict of the attempt, and judges what has changed meanwhile. It
// comes before the pod is refused.
func (s *sleepers) enter(pod *corev1.Pod, w wait) {
	s.mu.Lock()
	p := s.pods[pod.UID]
	if p == nil || !p.deciding {
		s.mu.Unlock()
		return // the pod was deleted meanwhile
	}
	s.drop(pod.UID, p)
	p.wait, p.keys = w, w.indexKeys()
	for _, key := range p.keys {
		if s.index[key] == nil {
			s.index[key] = map[types.UID]*sleeper{}
		}
		s.index[key][pod.UID] = p
	}
	refused := w.verdict.Action == placement.Refuse
	s.gate(p, refused && pod.Spec.SchedulingGroup == nil && w.verdict.Reason.Code != placement.CodeCacheNotSynced)
	if !refused && p.echoes > 0 {
		p.echoes--
		p.echo = true
		s.schedule(pod.UID, p)
	}
	missed := p.missed
	p.missed, p.deciding = nil, false
	delete(s.deciding, pod.UID)
	s.mu.Unlock()
	for _, c := range missed {
		if c.help(w) {
			s.wake(pod.UID)
		}
	}
}

// leave forgets a pod that has its node, is gone, or is none of ours.
func (s *sleepers) leave(uid types.UID) {
	if s.none() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pods[uid]
	if p == nil {
		return
	}
	p.stop()
	s.gate(p, false)
	s.drop(uid, p)
	delete(s.deciding, uid)
	delete(s.pods, uid)
	s.count.Add(-1)
}

func (s *sleepers) drop(uid types.UID, p *sleeper) {
	for _, key := range p.keys {
		delete(s.index[key], uid)
		if len(s.index[key]) == 0 {
			delete(s.index, key)
		}
	}
	p.keys = nil
}

func (s *sleepers) gate(p *sleeper, shut bool) {
	if p.gated != shut {
		p.gated = shut
		s.gated.Add(map[bool]int32{true: 1, false: -1}[shut])
	}
}

// of returns what the pod waits for, if that is known.
func (s *sleepers) of(uid types.UID) (wait, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pods[uid]
	if p == nil || p.deciding {
		return wait{}, false
	}
	return p.wait, true
}

// none says that nobody has to hear of anything, which is so most of the time.
func (s *sleepers) none() bool { return s.count.Load() == 0 }

// hear wakes those whom the change helps. It is called when whoever reads the facts
// from now on sees the change.
func (s *sleepers) hear(c change) {
	for uid, w := range s.concerned(c) {
		if c.help(w) {
			s.wake(uid)
		}
	}
}

// concerned are the waits at which a change has to look.
func (s *sleepers) concerned(c change) map[types.UID]wait {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.deciding {
		p.missed = append(p.missed, c)
	}
	var found map[types.UID]wait
	take := func(pods map[types.UID]*sleeper) {
		for uid, p := range pods {
			if p.deciding {
				continue
			}
			if found == nil {
				found = map[types.UID]wait{}
			}
			found[uid] = p.wait
		}
	}
	if c.all {
		take(s.pods)
		return found
	}
	for _, key := range c.keys {
		take(s.index[key])
	}
	return found
}

// wake has the pod tried again, as soon as it may be.
func (s *sleepers) wake(uid types.UID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pods[uid]
	if p == nil || p.deciding {
		return
	}
	p.echoes, p.echo = echoes, false
	if !p.due {
		s.schedule(uid, p)
	}
}

// alone says that no other plugin was asked in this attempt, so that there is nothing
// to try again: only a wake helps the pod.
func (s *sleepers) alone(uid types.UID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.pods[uid]; p != nil && p.echo {
		p.due, p.echo = false, false
		p.stop()
	}
}

// schedule makes the pod due.
func (s *sleepers) schedule(uid types.UID, p *sleeper) {
	p.due = true
	p.stop()
	s.after(max(settle, time.Until(p.attempted.Add(p.delay()))), repeat, uid, p)
}

// after activates the pod, and once more as long as no attempt has followed.
func (s *sleepers) after(d, again time.Duration, uid types.UID, p *sleeper) {
	p.timer = time.AfterFunc(d, func() {
		s.mu.Lock()
		if s.pods[uid] != p || !p.due {
			s.mu.Unlock()
			return
		}
		pod := p.pod
		s.after(again, min(2*again, longest), uid, p)
		s.mu.Unlock()
		s.activate(pod)
	})
}

// delay is how long after an attempt the next one may follow.
func (p *sleeper) delay() time.Duration {
	if p.attempts < 2 {
		return 0
	}
	return min(shortest<<min(p.attempts-2, 20), longest)
}

func (p *sleeper) stop() {
	if p.timer != nil {
		p.timer.Stop()
	}
}

// shut says that the pod need not be tried.
func (s *sleepers) shut(uid types.UID) bool {
	if s.gated.Load() == 0 {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pods[uid]
	return p != nil && p.gated && !p.due && time.Since(p.attempted) < trust
}
