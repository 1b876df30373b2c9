package sidecar

import (
	"context"
	"net"
	"os"
	"time"

	"k8s.io/klog/v2"

	"github.com/berth-dev/berth/pkg/member"
	"github.com/berth-dev/berth/pkg/rebuild"
	"github.com/berth-dev/berth/pkg/wsrep"
)

const (
	// lookEvery is the time between two looks of leave.
	lookEvery = time.Second
	// shutdowns is how often a server is asked to shut down before it is killed. One
	// whose incremental transfer failed may never end by itself: it answers, takes
	// the statement, and waits for its own threads for ever.
	shutdowns = 2
)

// stalled is the word of leave, and never of /group, for a server that is in a
// Primary component and has stopped to apply what it gets.
const stalled = "stalled"

// leave ends a server that has been in no Primary component for the limit, by
// this process's own clock, so that it reports with the others; and one that has
// stalled for as long, so that it joins again. One that does not
// answer is left alone, for it may be a joiner, unless there is nobody whom it
// could join, or it is the one that was told to shut down.
func (s *Sidecar) leave(ctx context.Context) {
	if s.NonPrimaryLimit == 0 {
		return
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	var f farewell
	var last wsrep.Status
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		status, err := s.Server.Status(ctx)
		word, _ := groupWord(status, err)
		if err == nil && status.LostApplier() && status.Committed == last.Committed {
			word = stalled
		}
		last = status
		start, stranded := s.ownServer(ctx, word)
		if step := f.look(time.Now(), s.NonPrimaryLimit, word, start, stranded); step != stay {
			s.end(ctx, word, step)
		}
	}
}

// ownServer is the start of this pod's server that the object knows, if any, and
// whether that, by the word that it says now, has nobody to join.
func (s *Sidecar) ownServer(ctx context.Context, word string) (start string, stranded bool) {
	c := s.state.Load()
	if c == nil {
		return "", false
	}
	if r, found := c.Member(s.Ordinal); found && r.PodUID == s.PodUID {
		start = r.Start
	}
	return start, word == starting && rebuild.Stranded(*c, s.Ordinal, s.PodUID, s.silent(ctx, *c))
}

// silent are the other members whose sidecars say that a server of theirs does
// not answer. Where no sidecar answers, nothing is known.
func (s *Sidecar) silent(ctx context.Context, c rebuild.Cluster) (ordinals []int) {
	for _, r := range c.Members {
		if r.Ordinal == s.Ordinal || r.State != rebuild.Started {
			continue
		}
		if word, _ := ask(ctx, net.JoinHostPort(r.Address, s.Port)); word == starting {
			ordinals = append(ordinals, r.Ordinal)
		}
	}
	return ordinals
}

// step is what is done to a server.
type step int

const (
	stay step = iota
	shutdown
	kill
)

// farewell is the way of a server out of a group that it has lost.
type farewell struct {
	since time.Time // of the first look at which it was outside, or stalled; zero when it was not
	asked int       // how often it was told to shut down
	start string    // the container's start that was told
}

// look takes over what a look has shown, and answers what follows from it.
func (f *farewell) look(now time.Time, limit time.Duration, word, start string, stranded bool) step {
	told := f.asked > 0 && start != "" && start == f.start
	if word != nonPrimary && word != stalled && !(word == starting && (stranded || told)) {
		*f = farewell{}
		return stay
	}
	if f.since.IsZero() {
		f.since = now
	}
	if now.Sub(f.since) < limit {
		return stay
	}
	f.since = time.Time{}
	if word == starting || f.asked >= shutdowns {
		return kill
	}
	f.asked, f.start = f.asked+1, start
	return shutdown
}

// end shuts the server down, or leaves it to the kubelet, which finds the file by
// the container's liveness probe.
func (s *Sidecar) end(ctx context.Context, word string, how step) {
	log := klog.FromContext(ctx)
	why := "The server is in no Primary component: it is ended, so that it reports with the others"
	if word == stalled {
		why = "A thread of the server that applies write sets has ended, and nothing is applied any more: the server is ended, so that it joins again"
	}
	log.Info(why, "group", word, "after", s.NonPrimaryLimit, "kill", how == kill)
	var err error
	if how == shutdown {
		err = s.Server.Shutdown(ctx)
	} else {
		err = os.WriteFile(member.EndFile(s.RunDir), nil, 0o640)
	}
	if err != nil {
		log.Error(err, "The server cannot be ended, which is tried again; if it stays as it is, delete the pod", "group", word)
	}
}
