package member

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"k8s.io/klog/v2"

	"github.com/berth-dev/berth/pkg/datadir"
)

const (
	// recoveryLogLimit is how much of a recovery's log is kept for parsing.
	recoveryLogLimit = 8 << 20
	// recoveryTries bounds how often a recovery that does not end is repeated.
	recoveryTries = 5
	// crashTries bounds it for one that crashes: what crashes each time is damage.
	crashTries = 3
	// withPurge is how many of the tries run InnoDB's purge, as the server would.
	withPurge = 2
)

// Recover runs the server with --wsrep-recover, with the server's own
// configuration, and reads what it says. An error means that the run itself was
// disturbed (lock, permission, space, memory, no end) and says nothing about the
// data.
//
// MariaDB 10.11 may tell the position and then never end: a purge worker spins
// when the shutdown meets the rollback of recovered transactions. Such a run is
// killed, which a recovery stands, and the position is that of the next run; after
// two such runs it runs without purge (innodb_force_recovery=2, which applies the
// redo log and rolls back as ever): some directories hang each time. The same
// shutdown may also end in a crash (signal 11), which counts as damage only
// when it comes again.
func (s Server) Recover(ctx context.Context, runDir string) (datadir.Recovery, error) {
	for try := 1; try <= recoveryTries; try++ {
		var options []string
		if try > withPurge {
			options = []string{"--innodb-force-recovery=2"}
		}
		recovery, ended, err := s.recoverOnce(ctx, runDir, options...)
		switch {
		case err != nil, ended && (!recovery.Crashed || try >= crashTries):
			return recovery, err
		case ended:
			klog.FromContext(ctx).Info("The server told the position and crashed: it recovers again", "sign", recovery.Errors[0])
		default:
			klog.FromContext(ctx).Info("The server told the position and did not end: it was killed and recovers again", "position", recovery.Position.String())
		}
	}
	return datadir.Recovery{}, fmt.Errorf("recover the position: the server told it and did not end, %d times: look at its log for what it waits for", recoveryTries)
}

// recoverOnce runs one recovery; ended is false when it had to be killed.
func (s Server) recoverOnce(ctx context.Context, runDir string, options ...string) (recovery datadir.Recovery, ended bool, err error) {
	args := append(s.Command[1:len(s.Command):len(s.Command)],
		"--wsrep-recover",
		"--disable-log-error", // the position goes to stderr, where it is captured
		"--skip-networking",   // else it opens the client port
		"--wsrep-cluster-address=gcomm://",
		"--innodb-buffer-pool-size="+s.RecoveryPool,
		"--socket="+filepath.Join(runDir, "recover.sock"),
		"--pid-file="+filepath.Join(runDir, "recover.pid"),
	)
	args = append(args, options...)
	var log bytes.Buffer
	cmd := exec.CommandContext(ctx, s.Command[0], args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	watch := &positionWatch{patience: cmp.Or(s.EndPatience, 2*time.Minute), expire: func() { _ = cmd.Process.Kill() }}
	output := io.MultiWriter(&limited{w: &log, left: recoveryLogLimit}, watch, s.Log)
	cmd.Stdout, cmd.Stderr = output, output
	err = cmd.Run()
	expired := watch.stop()
	if ctx.Err() != nil {
		return datadir.Recovery{}, true, fmt.Errorf("recover the position: %w", ctx.Err())
	}
	recovery = datadir.ParseRecovery(log.String())
	if expired && err != nil {
		return recovery, false, nil
	}
	return judgeRun(recovery, err)
}

// judgeRun tells a run that says something about the data from one that was
// disturbed.
func judgeRun(recovery datadir.Recovery, err error) (datadir.Recovery, bool, error) {
	if err == nil {
		return recovery, true, nil
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return recovery, true, fmt.Errorf("recover the position: %w", err)
	}
	if recovery.Environment != "" {
		return recovery, true, fmt.Errorf("recover the position: %w: %s", err, recovery.Environment)
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() && status.Signal() == syscall.SIGKILL {
		return recovery, true, fmt.Errorf("recover the position: %w: the container's memory limit may be too small", err)
	}
	recovery.Found, recovery.Position = false, datadir.Undefined // a failed run's position is none
	if len(recovery.Errors) == 0 {
		recovery.Errors = []string{err.Error()}
	}
	return recovery, true, nil
}

// positionWatch sees the position go by in a server's output and then gives the
// server some time to end.
type positionWatch struct {
	patience time.Duration
	expire   func()

	mu      sync.Mutex
	tail    []byte // of the output, in case the text is cut in two
	timer   *time.Timer
	expired bool
}

func (w *positionWatch) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	text := []byte("ecovered position")
	seen := append(w.tail, p...)
	if w.timer == nil && bytes.Contains(seen, text) {
		w.timer = time.AfterFunc(w.patience, func() {
			w.mu.Lock()
			w.expired = true
			w.mu.Unlock()
			w.expire()
		})
	}
	w.tail = bytes.Clone(seen[max(0, len(seen)-len(text)):])
	return len(p), nil
}

// stop ends the watch and says whether the time was over.
func (w *positionWatch) stop() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer != nil {
		w.timer.Stop()
	}
	return w.expired
}

// limited passes on the first bytes and swallows the rest.
type limited struct {
	w    io.Writer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	n := min(len(p), l.left)
	l.left -= n
	if _, err := l.w.Write(p[:n]); err != nil {
		return 0, err
	}
	return len(p), nil
}
