package corpus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"syscall"
	"time"

	"github.com/berth-dev/berth/pkg/datadir"
)

// Recovered is what a run of the server with --wsrep-recover came to.
type Recovered struct {
	datadir.Recovery
	// Exit is the exit code; 128 and the signal when one ended it.
	Exit int
	// End is the LSN at which the log ends; 0 when there was nothing to recover.
	End uint64
	Log string
	// Hung says that a run had told the position and did not end in order, so that
	// it was run again.
	Hung bool
}

var endPattern = regexp.MustCompile(`End of log at LSN=(\d+)`)

// Recover runs the server's own recovery, which writes. A server that has told
// the position and then hangs is killed and run again, which recovery stands: in
// MariaDB 10.11 a purge worker may spin for ever when the shutdown meets the
// rollback of recovered transactions. Where it does so each time, it runs without
// purge, as Berth's own recovery does (pkg/member). The same shutdown may crash instead (signal
// 11), which counts when it comes each time.
func (d Directory) Recover(ctx context.Context) (Recovered, error) {
	const tries = 5
	var end uint64
	for try := range tries {
		var options []string
		if try >= 2 {
			options = []string{"--innodb-force-recovery=2"}
		}
		r, ended, err := d.recover(ctx, options...)
		if err != nil {
			return r, err
		}
		if try == 0 { // the next one finds what this one has added
			end = r.End
		}
		if ended && r.Crashed && try < 2 {
			continue
		}
		if ended {
			r.Hung, r.End = try > 0, end
			return r, nil
		}
		if !r.Found {
			return r, fmt.Errorf("recover %s: no position after %s\n%s", d.Root, recoveryPatience, complaints(r.Log))
		}
	}
	return Recovered{}, fmt.Errorf("recover %s: hung %d times\n%s", d.Root, tries, complaints(d.Log()))
}

// recoveryPatience is how long a recovery of the small directories here may take
// to tell the position on a busy machine, and afterPosition how long its shutdown.
const (
	recoveryPatience = 5 * time.Minute
	afterPosition    = 20 * time.Second
)

// recovered waits for the end of a recovery; ended is false when it has told its
// position and does not end, or tells none.
func (s *Server) recovered(ctx context.Context) (ended bool, err error) {
	limit := time.After(recoveryPatience)
	told := time.NewTicker(time.Second)
	defer told.Stop()
	var hangs <-chan time.Time // set when the position is told
	for {
		select {
		case <-s.ended:
			return true, nil
		case <-ctx.Done():
			return false, ctx.Err()
		case <-limit:
			return false, nil
		case <-hangs:
			return false, nil
		case <-told.C:
			if hangs == nil && datadir.ParseRecovery(s.dir.Log()).Found {
				hangs = time.After(afterPosition)
			}
		}
	}
}

// recover runs the recovery once; ended is false when it had to be killed.
func (d Directory) recover(ctx context.Context, options ...string) (r Recovered, ended bool, err error) {
	if err := d.prepare(); err != nil {
		return r, false, err
	}
	run, err := runDirectory()
	if err != nil {
		return r, false, err
	}
	defer os.RemoveAll(run)
	s := &Server{dir: d, run: run, ended: make(chan struct{})}
	// With a pool that is too small for the pages that redo touches, the server
	// hangs (seen with 64k pages and 24 MiB).
	args := append([]string{"--wsrep-recover", "--innodb-buffer-pool-size=" + cmp.Or(d.RecoveryPool, "128M")}, options...)
	if err := s.launch(args...); err != nil {
		return r, false, err
	}
	ended, err = s.recovered(ctx)
	if !ended {
		s.process.Kill()
		<-s.ended
	}
	r.Log = d.Log()
	r.Recovery = datadir.ParseRecovery(r.Log)
	if m := endPattern.FindStringSubmatch(r.Log); m != nil {
		r.End, _ = strconv.ParseUint(m[1], 10, 64)
	}
	var exit *exec.ExitError
	switch {
	case err != nil || !ended:
	case errors.As(s.err, &exit):
		status := exit.Sys().(syscall.WaitStatus)
		r.Exit = status.ExitStatus()
		if status.Signaled() {
			r.Exit = 128 + int(status.Signal())
		}
	case s.err != nil:
		err = fmt.Errorf("recover %s: %w", d.Root, s.err)
	}
	return r, ended, err
}
