package offline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// Server is a server at work on a copy.
type Server struct {
	// Socket is where it takes queries from any account.
	Socket string

	run     string // directory of the socket, whose path has to be short
	log     string
	process *exec.Cmd
	ended   chan struct{}
	err     error // to be read after ended is closed
}

// Start starts the command, a server with its configuration, on the data
// directory dir. Ready is asked until it answers nil.
func Start(ctx context.Context, command []string, dir string, ready func(ctx context.Context, socket string) error) (*Server, error) {
	run, err := os.MkdirTemp("", "berth")
	if err != nil {
		return nil, fmt.Errorf("start server on %s: %w", dir, err)
	}
	s := &Server{Socket: filepath.Join(run, "s"), run: run, log: filepath.Join(run, "log.err"), ended: make(chan struct{})}
	args := append(command[1:len(command):len(command)],
		"--datadir="+dir, "--socket="+s.Socket, "--pid-file="+filepath.Join(run, "pid"), "--log-error="+s.log,
		"--skip-networking", "--wsrep-on=OFF", "--skip-grant-tables", "--skip-slave-start", "--skip-log-bin")
	if os.Geteuid() == 0 {
		args = append(args, "--user=root")
	}
	s.process = exec.Command(command[0], args...)
	if err := s.launch(); err != nil {
		os.RemoveAll(run)
		return nil, fmt.Errorf("start server: %w", err)
	}
	if err := s.await(ctx, ready); err != nil {
		return nil, errors.Join(fmt.Errorf("start server on %s: %w", dir, err), s.Stop())
	}
	return s, nil
}

// launch starts the process on a thread that lives as long: when this program
// ends in any way, the kernel ends the server too.
func (s *Server) launch() error {
	s.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := s.process.Start()
		started <- err
		if err == nil {
			s.err = s.process.Wait()
			close(s.ended)
		}
	}()
	return <-started
}

func (s *Server) await(ctx context.Context, ready func(ctx context.Context, socket string) error) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.ended:
			return fmt.Errorf("it ended: %w: %s", s.err, s.lastError())
		case <-tick.C:
			if ready(ctx, s.Socket) == nil {
				return nil
			}
		}
	}
}

// Ended is closed when the server has ended by itself or was stopped.
func (s *Server) Ended() <-chan struct{} { return s.ended }

// Stop ends the server. Its copy is of no further use, so that it need not shut
// down in order.
func (s *Server) Stop() error {
	_ = s.process.Process.Signal(syscall.SIGKILL) // it may have ended
	<-s.ended
	return os.RemoveAll(s.run)
}

// lastError is the last line of the log that tells of an error.
func (s *Server) lastError() string {
	const limit = 1 << 20
	f, err := os.Open(s.log)
	if err != nil {
		return "no log"
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > limit {
		_, _ = f.Seek(-limit, io.SeekEnd)
	}
	content, _ := io.ReadAll(f)
	last := "no error in its log"
	for line := range strings.Lines(string(content)) {
		if strings.Contains(line, "[ERROR]") {
			last = strings.TrimSpace(line)
		}
	}
	return last
}
