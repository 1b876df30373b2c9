package corpus

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/go-sql-driver/mysql"
)

// Server is a running mariadbd, the only member of its cluster.
type Server struct {
	DB *sql.DB

	dir     Directory
	run     string
	process *os.Process
	ended   chan struct{}
	err     error // why it ended; to be read after ended is closed
}

// patience is how long a server may take to start, to stop or to recover: a
// machine may be busy.
const patience = 2 * time.Minute

// Start starts a server on the directory and waits until it takes queries.
// position is handed to it unless it is empty.
func (d Directory) Start(ctx context.Context, position string) (*Server, error) {
	if err := d.prepare(); err != nil {
		return nil, fmt.Errorf("start server on %s: %w", d.Root, err)
	}
	run, err := runDirectory()
	if err != nil {
		return nil, err
	}
	s := &Server{dir: d, run: run, ended: make(chan struct{})}
	args := []string{"--wsrep-new-cluster"}
	if position != "" {
		args = append(args, "--wsrep-start-position="+position)
	}
	if err := s.launch(args...); err != nil {
		os.RemoveAll(run)
		return nil, err
	}
	if err := s.await(ctx); err != nil {
		s.Kill()
		return nil, fmt.Errorf("start server on %s: %w\n%s", d.Root, err, complaints(d.Log()))
	}
	return s, nil
}

// runDirectory holds a server's socket, whose path must be short.
func runDirectory() (string, error) {
	account, err := serverAccount()
	if err != nil {
		return "", err
	}
	run, err := os.MkdirTemp("", "corpus")
	if err != nil {
		return "", err
	}
	return run, os.Chown(run, int(account.Uid), int(account.Gid))
}

// launch starts the process on a thread of its own, which lives as long: when
// this program ends in any way, the kernel ends the server too.
func (s *Server) launch(args ...string) error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		cmd, log, err := s.dir.command(s.run, args...)
		if err != nil {
			started <- err
			return
		}
		defer log.Close()
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		s.process = cmd.Process
		started <- nil
		s.err = cmd.Wait()
		close(s.ended)
	}()
	return <-started
}

// command is mariadbd on the directory, its log in an empty file.
func (d Directory) command(run string, args ...string) (*exec.Cmd, *os.File, error) {
	log, err := os.Create(d.logFile())
	if err != nil {
		return nil, nil, err
	}
	args = append([]string{"--defaults-file=" + d.config(), "--socket=" + filepath.Join(run, "s"), "--pid-file=" + filepath.Join(run, "p")}, args...)
	cmd, err := asServer(exec.Command("mariadbd", args...))
	if err != nil {
		log.Close()
		return nil, nil, err
	}
	cmd.Stdout, cmd.Stderr = log, log
	return cmd, log, nil
}

func (d Directory) logFile() string { return filepath.Join(d.Root, "server.log") }

// Log is what the last server on the directory printed.
func (d Directory) Log() string {
	content, err := os.ReadFile(d.logFile())
	if err != nil {
		return err.Error()
	}
	return string(content)
}

// await waits until the server is Synced.
func (s *Server) await(ctx context.Context) error {
	config := mysql.NewConfig()
	config.User, config.Net, config.Addr = "root", "unix", filepath.Join(s.run, "s")
	config.Logger = &mysql.NopLogger{}
	config.MultiStatements = true
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return err
	}
	s.DB = sql.OpenDB(connector)
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		var name, state string
		err := s.DB.QueryRowContext(ctx, "SHOW STATUS LIKE 'wsrep_ready'").Scan(&name, &state)
		var refused *mysql.MySQLError
		switch {
		case err == nil && state == "ON":
			return nil
		case errors.As(err, &refused) && refused.Number == accessDenied:
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.ended:
			return fmt.Errorf("the server ended: %w", errors.Join(errEnded, s.err))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// accessDenied is the server's error for an account that may not log in.
const accessDenied = 1045

var errEnded = errors.New("no longer running")

// Kill ends the server as kill -9 does, and waits until the kernel has closed
// its files.
func (s *Server) Kill() {
	s.process.Kill()
	<-s.ended
	s.close()
}

// Stop shuts the server down in order.
func (s *Server) Stop() error {
	defer s.close()
	if err := s.process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop server on %s: %w", s.dir.Root, err)
	}
	select {
	case <-s.ended:
		return s.err
	case <-time.After(patience):
		s.process.Kill()
		<-s.ended
		return fmt.Errorf("stop server on %s: still running after %s", s.dir.Root, patience)
	}
}

func (s *Server) close() {
	if s.DB != nil {
		s.DB.Close()
	}
	os.RemoveAll(s.run)
}

// Errors are the errors in a server's log, without their times.
func Errors(log string) []string {
	var errors []string
	for line := range strings.Lines(log) {
		if _, text, found := strings.Cut(line, "[ERROR] "); found {
			errors = append(errors, strings.TrimSpace(text))
		}
	}
	return errors
}

// complaints are the errors in a log, or else its end.
func complaints(log string) string {
	if found := Errors(log); len(found) > 0 {
		return strings.Join(found, "\n")
	}
	return log[max(0, len(log)-2000):]
}
