package plugin

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-dev/berth/pkg/placement"
)

// TestSleepers follows one pod from refusal to refusal, on a clock of its own.
func TestSleepers(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "db-0", UID: "db-0"}}
	away := wait{verdict: placement.Verdict{Action: placement.Refuse, Reason: placement.Reason{Code: placement.CodeHomeNotReady, Node: "n1"}}, nodes: []string{"n1"}}
	home := wait{verdict: placement.Verdict{Action: placement.Pin, Node: "n1"}, nodes: []string{"n1"}}
	back := change{keys: []string{nodeKey("n1")}, help: func(wait) bool { return true }}
	bed := func(t *testing.T, f func(s *sleepers, woken *atomic.Int32)) {
		synctest.Test(t, func(*testing.T) {
			var woken atomic.Int32
			s := newSleepers(func(*corev1.Pod) { woken.Add(1) })
			f(s, &woken)
			s.leave(pod.UID)
			before := woken.Load()
			time.Sleep(time.Hour)
			if woken.Load() != before || len(s.index) != 0 || !s.none() {
				t.Errorf("woken %d times after it left; %d keys are left of it", woken.Load()-before, len(s.index))
			}
		})
	}
	try := func(s *sleepers, w wait) { s.begin(pod); s.enter(pod, w) }
	expect := func(t *testing.T, woken *atomic.Int32, after time.Duration, want int) {
		t.Helper()
		time.Sleep(after)
		synctest.Wait()
		if got := int(woken.Load()); got != want {
			t.Fatalf("woken %d times, want %d", got, want)
		}
	}
	t.Run("a refused pod stays behind the gate until it is woken", func(t *testing.T) {
		bed(t, func(s *sleepers, woken *atomic.Int32) {
			try(s, away)
			expect(t, woken, time.Minute, 0)
			if !s.shut(pod.UID) {
				t.Error("the gate is open, and nothing has happened")
			}
			s.hear(back)
			if s.shut(pod.UID) {
				t.Error("the gate is shut for a pod that is due")
			}
			expect(t, woken, settle, 1)
		})
	})
	t.Run("a change while the verdict is being found", func(t *testing.T) {
		bed(t, func(s *sleepers, woken *atomic.Int32) {
			s.begin(pod)
			s.hear(back)
			s.enter(pod, away)
			if s.shut(pod.UID) {
				t.Error("the gate is shut: the change is lost")
			}
			expect(t, woken, settle, 1)
		})
	})
	t.Run("a wake that nothing follows is repeated", func(t *testing.T) {
		bed(t, func(s *sleepers, woken *atomic.Int32) {
			try(s, away)
			s.hear(back)
			expect(t, woken, settle, 1)
			expect(t, woken, repeat, 2)
			expect(t, woken, 2*repeat, 3)
			try(s, away)
			expect(t, woken, time.Minute, 3)
		})
	})
	t.Run("a storm of changes wakes seldom, and seldom again after a calm", func(t *testing.T) {
		bed(t, func(s *sleepers, woken *atomic.Int32) {
			storm := func() (attempts int) {
				for range 30_000 { // a change each millisecond
					before := woken.Load()
					s.hear(back)
					time.Sleep(time.Millisecond)
					synctest.Wait()
					if woken.Load() > before {
						attempts++
						try(s, away)
					}
				}
				return attempts
			}
			try(s, away)
			// 0, 0.1, 0.3, 0.7, 1.5, 3.1, 6.3, 10.3, 14.3, 18.3, 22.3, 26.3 s
			for range 2 {
				if n := storm(); n < 11 || n > 13 {
					t.Errorf("tried %d times in 30 s", n)
				}
				time.Sleep(calm)
			}
		})
	})
	t.Run("another plugin may have looked too early", func(t *testing.T) {
		bed(t, func(s *sleepers, woken *atomic.Int32) {
			try(s, away)
			s.hear(back)
			expect(t, woken, settle, 1)
			for n := range echoes {
				try(s, home) // and is refused by somebody else
				if s.shut(pod.UID) {
					t.Error("the gate is shut for a pod that somebody else has refused")
				}
				expect(t, woken, shortest<<n, 2+n)
			}
			try(s, home)
			expect(t, woken, time.Hour, 1+echoes)
		})
	})
	t.Run("no other plugin was asked", func(t *testing.T) {
		bed(t, func(s *sleepers, woken *atomic.Int32) {
			try(s, away)
			s.hear(back)
			expect(t, woken, settle, 1)
			try(s, home)
			s.alone(pod.UID)
			expect(t, woken, time.Hour, 1)
			s.wake(pod.UID)
			expect(t, woken, settle, 2)
			try(s, home)
			s.wake(pod.UID) // beside the attempt
			s.alone(pod.UID)
			expect(t, woken, shortest, 3)
		})
	})
	t.Run("the scheduler's own look after five minutes passes the gate", func(t *testing.T) {
		bed(t, func(s *sleepers, woken *atomic.Int32) {
			try(s, away)
			expect(t, woken, 5*time.Minute, 0)
			if s.shut(pod.UID) {
				t.Error("the gate is shut for good")
			}
		})
	})
	t.Run("what is retried by the queue is not gated", func(t *testing.T) {
		bed(t, func(s *sleepers, _ *atomic.Int32) {
			try(s, wait{verdict: placement.Verdict{Action: placement.Refuse, Reason: placement.Reason{Code: placement.CodeCacheNotSynced}}})
			if s.shut(pod.UID) {
				t.Error("the gate is shut, and nobody would open it")
			}
		})
	})
}
