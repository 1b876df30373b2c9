package chaos

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/berth-dev/berth/test/drill"
	"github.com/berth-dev/berth/test/loopback"
)

// Options say what is attacked, and how often.
type Options struct {
	Scratch string // a directory for everything that is written, short and empty
	Program string // the galera-init that is attacked
	// Plant takes the place of Program when a cluster is installed; may be empty.
	Plant  string
	Seed   int // of the first round; the others follow it
	Rounds int
	Lanes  int // clusters that are attacked at the same time
	// Fresh is how many rounds a cluster lives before a new one takes its place.
	Fresh int
	// Limit is how long a cluster may take to recover before that is a fault.
	Limit time.Duration
	// Logs is where what members said in a round with faults is kept.
	Logs string
	// KeepAll keeps that of all rounds.
	KeepAll  bool
	Progress *drill.Progress
}

const (
	writers = 2
	// warmUp is how many commits the clients have before each disaster, and again
	// after it.
	warmUp      = 30
	installed   = 3 * time.Minute
	acknowledge = time.Minute
)

// Run plays all rounds and returns their records in the order of their seeds. A
// round with faults is not an error; one that could not be played is.
func Run(ctx context.Context, o Options) ([]Round, error) {
	seeds := make(chan int)
	go func() {
		defer close(seeds)
		for i := range o.Rounds {
			select {
			case seeds <- o.Seed + i:
			case <-ctx.Done():
				return
			}
		}
	}()
	var mutex sync.Mutex
	var rounds []Round
	var errs []error
	var lanes sync.WaitGroup
	for number := range o.Lanes {
		lanes.Go(func() {
			l := lane{Options: o, number: number}
			defer l.down()
			for seed := range seeds {
				round, err := l.play(ctx, seed)
				mutex.Lock()
				if err != nil {
					errs = append(errs, fmt.Errorf("round %d: %w", seed, err))
				} else {
					rounds = append(rounds, round)
				}
				mutex.Unlock()
			}
		})
	}
	lanes.Wait()
	slices.SortFunc(rounds, func(a, b Round) int { return a.Seed - b.Seed })
	return rounds, errors.Join(append(errs, ctx.Err())...)
}

// lane is one cluster after the other.
type lane struct {
	Options
	number int

	cluster *loopback.Cluster
	dir     string
	played  int
	ledger  *drill.Ledger
	history string // uuid of the cluster's history
	earlier *earlier
	decided *loopback.Decisions
	stop    func() // ends the clients and waits for them
}

// up installs a new cluster and starts its clients.
func (l *lane) up(ctx context.Context) error {
	l.down()
	var err error
	if l.dir, err = os.MkdirTemp(l.Scratch, "c"); err != nil {
		return err
	}
	if l.cluster, err = loopback.Start(ctx, l.dir, l.Program, l.number); err != nil {
		return err
	}
	l.earlier, l.decided = remember(ctx, l.cluster), l.cluster.TimeDecisions(ctx)
	if err := l.cluster.Start(); err != nil {
		return err
	}
	if err := l.cluster.Synced(ctx, installed); err != nil {
		return fmt.Errorf("install: %w", err)
	}
	for _, m := range l.cluster.Members {
		if l.Plant == "" {
			break
		}
		if err := m.Install(l.Plant); err != nil {
			return err
		}
	}
	server, err := drill.AskServer(ctx, &net.Dialer{}, l.cluster.Members[0].Address())
	if err != nil {
		return err
	}
	l.history, l.played = server.ClusterUUID, 0
	l.ledger = drill.NewLedger(&net.Dialer{}, func(context.Context) ([]string, error) {
		var addresses []string
		for _, m := range l.cluster.Members {
			addresses = append(addresses, m.Address())
		}
		return addresses, nil
	})
	return nil
}

// write starts the clients.
func (l *lane) write(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	var wait sync.WaitGroup
	wait.Go(func() { l.ledger.Write(ctx, writers) })
	l.stop = sync.OnceFunc(func() { cancel(); wait.Wait() })
}

// quiet ends the clients.
func (l *lane) quiet() {
	if l.stop != nil {
		l.stop()
	}
}

// acknowledged waits until the clients have so many commits more than before.
func (l *lane) acknowledged(ctx context.Context, more int) error {
	want := l.ledger.Acknowledged() + more
	return eventually(ctx, acknowledge, func() error {
		if have := l.ledger.Acknowledged(); have < want {
			return fmt.Errorf("%d rows were acknowledged, not %d", have, want)
		}
		return nil
	})
}

// down ends the cluster and removes what it wrote.
func (l *lane) down() {
	l.quiet()
	if l.cluster != nil {
		l.earlier.forget()
		l.decided.Stop()
		l.cluster.Close()
		os.RemoveAll(l.dir)
		l.cluster = nil
	}
}

// keep saves what the members said, to be read by a person.
func (l *lane) keep(r Round) error {
	dir := filepath.Join(l.Logs, fmt.Sprintf("seed-%d", r.Seed))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for i, m := range l.cluster.Members {
		if err := os.WriteFile(filepath.Join(dir, m.Name()+".log"), []byte(m.Journal.Since(r.marks[i])), 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, "round.txt"), []byte(r.story()), 0o644)
}

// eventually tries something every tenth of a second until it succeeds or the
// time is over; then the last error says what was missing.
func eventually(ctx context.Context, limit time.Duration, try func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not within %s: %w", limit, err)
		case <-tick.C:
		}
	}
}
