package drill

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/berth-dev/berth/pkg/rebuild"
)

// Options say how a drill is run.
type Options struct {
	Nodes     []string // of the cluster, all of them storage nodes
	Manifests string   // directory with base and galera
	Writers   int      // clients that write at once
	Seed      int      // rotates the order in which power is cut
	Progress  *Progress
	// AfterPowerOn may be nil. It is called when the power is on again and the
	// manifests are not yet applied: a test's place for sabotage.
	AfterPowerOn func(ctx context.Context) error
}

// Drill is a drill under way on one cluster. Install comes first, then any of
// the other acts in any order.
type Drill struct {
	Options
	cluster Cluster
	observe *observer
	ledger  *Ledger
	stop    func() // ends the writers and waits for them
}

// Start prepares a drill on a cluster.
func Start(c Cluster, o Options) (*Drill, error) {
	observer, err := newObserver(c)
	if err != nil {
		return nil, err
	}
	return &Drill{Options: o, cluster: c, observe: observer, ledger: NewLedger(c, observer.addresses), stop: func() {}}, nil
}

// write starts the clients, if they do not write already.
func (d *Drill) write(ctx context.Context) {
	d.stop()
	ctx, cancel := context.WithCancel(ctx)
	var wait sync.WaitGroup
	wait.Go(func() { d.ledger.Write(ctx, d.Writers) })
	d.stop = sync.OnceFunc(func() { cancel(); wait.Wait() })
}

// Close ends the clients.
func (d *Drill) Close() { d.stop() }

func (d *Drill) kubectl(ctx context.Context, args ...string) error {
	cmd, err := d.cluster.Kubectl(ctx, args...)
	if err != nil {
		return err
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// apply applies Berth's manifests and the workload's: the same files every time.
func (d *Drill) apply(ctx context.Context) error {
	d.Progress.Stage("apply manifests/base and manifests/galera")
	// Until the CRD is established, and while a wiped API server still makes its
	// own namespaces, a first try may be refused.
	return d.eventually(ctx, time.Minute, func(ctx context.Context) error {
		for _, part := range []string{"base", "galera"} {
			if err := d.kubectl(ctx, "apply", "-k", d.Manifests+"/"+part); err != nil {
				return err
			}
		}
		return nil
	})
}

// eventually tries something every quarter of a second until it succeeds or the
// time is over; then the last error says what was missing.
func (d *Drill) eventually(ctx context.Context, limit time.Duration, try func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var last error
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("gave up after %s: %w", limit, errors.Join(last, context.Cause(ctx)))
		case <-time.After(250 * time.Millisecond):
		}
	}
}

// syncedLimit is how long a rebuild may take on a slow, shared machine before
// the drill gives up; what it took is measured, not judged.
const syncedLimit = 20 * time.Minute

// writesLimit is how long a server that takes writes may need for those of a drill.
const writesLimit = 3 * time.Minute

// waitSynced waits until every member is Synced in a Primary component and
// says how long after start the first and the last of them were.
func (d *Drill) waitSynced(ctx context.Context, start time.Time) (first, all float64, err error) {
	var members []string
	for i := range replicas {
		members = append(members, member(i))
	}
	first, err = d.await(ctx, start, members)
	return first, time.Since(start).Seconds(), err
}

// Await waits until the named members are Synced in a Primary component.
func (d *Drill) Await(ctx context.Context, members ...string) error {
	_, err := d.await(ctx, time.Now(), members)
	return err
}

func (d *Drill) await(ctx context.Context, start time.Time, members []string) (first float64, err error) {
	d.Progress.Stage("wait for %s to be Synced", strings.Join(members, ", "))
	err = d.eventually(ctx, syncedLimit, func(ctx context.Context) error {
		missing, err := d.notSynced(ctx, members)
		if err != nil {
			return err
		}
		if first == 0 && len(missing) < len(members) {
			first = time.Since(start).Seconds()
		}
		d.Progress.Note("%s; %d rows acknowledged", strings.Join(missing, ", "), d.ledger.Acknowledged())
		if len(missing) > 0 {
			return errors.New(strings.Join(missing, ", "))
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("wait for Synced members: %w", errors.Join(err, d.explain(context.WithoutCancel(ctx))))
	}
	return first, nil
}

// notSynced says of each member that is not Synced what it lacks.
func (d *Drill) notSynced(ctx context.Context, members []string) (missing []string, err error) {
	pods, err := d.observe.pods(ctx)
	if err != nil {
		return nil, err
	}
	for _, name := range members {
		pod, found := pods[name]
		if !found || pod.Status.PodIP == "" {
			missing = append(missing, name+" has no address")
			continue
		}
		s, err := AskServer(ctx, d.cluster, pod.Status.PodIP)
		switch {
		case err != nil:
			missing = append(missing, name+" does not answer")
		case !s.Synced:
			missing = append(missing, name+" is not Synced")
		}
	}
	return missing, nil
}

// explain gathers what a person would look at when members do not come back.
func (d *Drill) explain(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	var story strings.Builder
	for _, args := range [][]string{
		{"get", "pods,pvc,pv", "-A", "-o", "wide"},
		{"get", "events", "-n", namespace, "--sort-by=.lastTimestamp"},
	} {
		if cmd, err := d.cluster.Kubectl(ctx, args...); err == nil {
			out, _ := cmd.CombinedOutput()
			fmt.Fprintf(&story, "\n$ kubectl %s\n%s", strings.Join(args, " "), lastLines(string(out), 40))
		}
	}
	if state, err := d.observe.state(ctx); err == nil {
		fmt.Fprintf(&story, "\ndecision: %s", rebuild.Decide(state).Reason.Text)
	}
	return errors.New(story.String())
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n") + "\n"
}

// waitAcknowledged waits until the clients had a number of further commits.
func (d *Drill) waitAcknowledged(ctx context.Context, more int, limit time.Duration) error {
	want := d.ledger.Acknowledged() + more
	err := d.eventually(ctx, limit, func(context.Context) error {
		have := d.ledger.Acknowledged()
		d.Progress.Note("%d rows acknowledged", have)
		if have < want {
			return fmt.Errorf("%d rows were acknowledged, not %d", have, want)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("wait for the client's commits: %w", err)
	}
	return nil
}

// Progress tells a person what happens: a line a stage, and a line that is
// renewed with details where the output is a terminal.
type Progress struct {
	w        io.Writer
	terminal bool
	start    time.Time

	mu    sync.Mutex
	noted time.Time
}

// NewProgress writes to w from now on.
func NewProgress(w io.Writer, terminal bool) *Progress {
	return &Progress{w: w, terminal: terminal, start: time.Now()}
}

// Stage says what begins now.
func (p *Progress) Stage(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.noted = time.Now()
	p.line("", fmt.Sprintf(format, args...))
}

// Note says how the present stage goes: at once on a terminal, elsewhere at most
// every ten seconds.
func (p *Progress) Note(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.terminal {
		fmt.Fprintf(p.w, "\r\033[K%7.1fs    %s", time.Since(p.start).Seconds(), fmt.Sprintf(format, args...))
		return
	}
	if time.Since(p.noted) >= 10*time.Second {
		p.noted = time.Now()
		p.line("  ", fmt.Sprintf(format, args...))
	}
}

func (p *Progress) line(indent, text string) {
	clear := ""
	if p.terminal {
		clear = "\r\033[K"
	}
	fmt.Fprintf(p.w, "%s%7.1fs  %s%s\n", clear, time.Since(p.start).Seconds(), indent, text)
}
