package member

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
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
	// EndPatience is how long a recovery that has told the position may take to
	// end before it is killed and run again; 0 is two minutes.
	EndPatience time.Duration
	// Log takes what the programs print.
	Log io.Writer
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
