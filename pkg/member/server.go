package member

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/berth-dev/berth/pkg/datadir"
)

// Server is the database server as the container would start it.
type Server struct {
	// Command is the server's program and its arguments.
	Command []string
	// Installer is the program that makes a new data directory.
	Installer string
	// InitSQL is a file that the installer runs last; may be empty.
	InitSQL string
	// RecoveryPool bounds the memory of a recovery: the buffer pool fills with
	// recovered pages.
	RecoveryPool string
	// Log takes what the programs print.
	Log io.Writer
}

// recoveryLogLimit is how much of a recovery's log is kept for parsing.
const recoveryLogLimit = 8 << 20

// Recover runs the server once with --wsrep-recover, with the server's own
// configuration, and reads what it says. An error means that the run itself was
// disturbed (lock, permission, space, memory) and says nothing about the data.
func (s Server) Recover(ctx context.Context, runDir string) (datadir.Recovery, error) {
	args := append(s.Command[1:len(s.Command):len(s.Command)],
		"--wsrep-recover",
		"--disable-log-error", // the position goes to stderr, where it is captured
		"--skip-networking",   // else it opens the client port
		"--wsrep-cluster-address=gcomm://",
		"--innodb-buffer-pool-size="+s.RecoveryPool,
		"--socket="+filepath.Join(runDir, "recover.sock"),
		"--pid-file="+filepath.Join(runDir, "recover.pid"),
	)
	var log bytes.Buffer
	cmd := exec.CommandContext(ctx, s.Command[0], args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	output := io.MultiWriter(&limited{w: &log, left: recoveryLogLimit}, s.Log)
	cmd.Stdout, cmd.Stderr = output, output
	err := cmd.Run()
	if ctx.Err() != nil {
		return datadir.Recovery{}, fmt.Errorf("recover the position: %w", ctx.Err())
	}
	recovery := datadir.ParseRecovery(log.String())
	if err == nil {
		return recovery, nil
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return recovery, fmt.Errorf("recover the position: %w", err)
	}
	if recovery.Environment != "" {
		return recovery, fmt.Errorf("recover the position: %w: %s", err, recovery.Environment)
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() && status.Signal() == syscall.SIGKILL {
		return recovery, fmt.Errorf("recover the position: %w: the container's memory limit may be too small", err)
	}
	recovery.Found, recovery.Position = false, datadir.Undefined // a failed run's position is none
	if len(recovery.Errors) == 0 {
		recovery.Errors = []string{err.Error()}
	}
	return recovery, nil
}

// Install makes a new data directory in an empty place.
func (s Server) Install(ctx context.Context, dir string) error {
	var args []string
	for _, arg := range s.Command[1:] {
		if strings.HasPrefix(arg, "--defaults-file=") {
			args = append(args, arg) // has to come first
		}
	}
	args = append(args, "--datadir="+dir, "--wsrep-on=OFF") // it is not a member of anything yet
	if s.InitSQL != "" {
		if _, err := os.Stat(s.InitSQL); err != nil {
			return fmt.Errorf("install the database: %w", err)
		}
		args = append(args, "--extra-file="+s.InitSQL)
	}
	cmd := exec.CommandContext(ctx, s.Installer, args...)
	cmd.Stdout, cmd.Stderr = s.Log, s.Log
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("install the database with %s: %w", s.Installer, err)
	}
	return nil
}

// Start replaces this process by the server.
func (s Server) Start(extra ...string) error {
	program, err := exec.LookPath(s.Command[0])
	if err != nil {
		return fmt.Errorf("start the server: %w", err)
	}
	args := append(s.Command[:len(s.Command):len(s.Command)], extra...)
	if err := syscall.Exec(program, args, os.Environ()); err != nil {
		return fmt.Errorf("start the server %s: %w", program, err)
	}
	return nil
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
