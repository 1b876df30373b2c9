package loopback

import (
	"testing"
	"time"
)

func TestConcurrent(t *testing.T) {
	at := func(second int) time.Time { return time.Unix(1000+int64(second), 0) }
	first := Run{Ordinal: 0, Connected: at(1), Ended: at(10), Bootstrapped: true}
	for _, test := range []struct {
		name  string
		other Run
		want  int
	}{
		{"joiner", Run{Ordinal: 1, Connected: at(2), Ended: at(10)}, 0},
		{"second group beside it", Run{Ordinal: 1, Connected: at(2), Ended: at(10), Bootstrapped: true}, 1},
		{"second group after its end", Run{Ordinal: 1, Connected: at(11), Bootstrapped: true}, 0},
		{"group beside an older server that lives", Run{Ordinal: 1, Connected: at(0)}, 1},
		{"group while another one only recovers", Run{Ordinal: 1, Started: at(0)}, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			if found := Concurrent([]Run{first, test.other}, 0); len(found) != test.want {
				t.Errorf("%d pairs, expected %d: %+v", len(found), test.want, found)
			}
		})
	}
}

// TestConcurrentWithAnOlderRun sees that a server that has run since before the
// round counts.
func TestConcurrentWithAnOlderRun(t *testing.T) {
	older := Run{Ordinal: 1, Connected: time.Unix(1000, 0), Bootstrapped: true}
	later := Run{Ordinal: 0, Connected: time.Unix(2000, 0), Bootstrapped: true}
	if found := Concurrent([]Run{older, later}, 1); len(found) != 1 {
		t.Errorf("%d pairs, expected 1: %+v", len(found), found)
	}
}

func TestRunNotes(t *testing.T) {
	var r Run
	now := time.Unix(1000, 0)
	r.note(now, `I1125 08:54:55.551336       1 start.go:81] "Grant consumed: bootstrapping" attempt=4 position="u:1963" rule="highest-seqno"`)
	r.note(now, "2026-11-25  8:54:55 0 [Note] WSREP: Connecting with bootstrap option: 1")
	if r.Attempt != 4 || !r.Bootstrapped || r.Connected != now {
		t.Errorf("%+v", r)
	}
}
