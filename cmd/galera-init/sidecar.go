package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
	"k8s.io/klog/v2"

	"github.com/berth-dev/berth/pkg/wsrep"
)

// Sidecar stands beside a running server.
type Sidecar struct {
	Socket, Account, Listen, Volume string
	FlushInterval, NonPrimaryLimit  time.Duration

	settled atomic.Bool // a flush has ended since the server became fit
}

func newSidecarCommand() *cobra.Command {
	var s Sidecar
	cmd := &cobra.Command{
		Use:   "sidecar",
		Short: "Say whether the server may serve clients, and keep its volume flushed",
		Long: `sidecar runs beside the server in the same pod.

It answers /readyz with 200 while the server is Synced, in a Primary component, ready and not
told to reject queries, and with 503 and the reason otherwise. /livez answers while sidecar runs:
it says nothing about the server, for a donor or joiner must not be killed for being one. /group says
whether the server is in a Primary component, to members that think of joining it.

A server that is in no Primary component for --non-primary-limit is shut down: it serves nobody, and
what it holds may be needed. It reports, like the others, and one of them bootstraps.

It flushes the volume's file system every --flush-interval. Galera maps galera.cache and never syncs
it: after a power cut it would lag behind the database, be forgotten at the next start, and every
stale member would need a full copy (SST) where the missing transactions (IST) were enough. And the
files that a full copy brings are not synced by rsync: a power cut within half a minute would leave
zeros in them. So /readyz answers 200 only after such a flush.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := s.Validate(); err != nil {
				return usageError{err}
			}
			return s.Run(cmd.Context())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&s.Socket, "socket", "/run/mysqld/mysqld.sock", "the server's Unix socket")
	flags.StringVar(&s.Account, "account", "mysql", "the account to ask as; the server lets it in by its operating system user (unix_socket)")
	flags.StringVar(&s.Listen, "listen", ":9104", "address to answer probes on")
	flags.StringVar(&s.Volume, "volume", "/var/lib/galera", "where the volume with the server's data is mounted")
	flags.DurationVar(&s.NonPrimaryLimit, "non-primary-limit", 30*time.Second, "how long a server may be in no Primary component before it is shut down, so that it can report; 0 means for ever")
	flags.DurationVar(&s.FlushInterval, "flush-interval", time.Second, "time between two flushes of the volume")
	return cmd
}

// Validate joins all problems of the flags.
func (s *Sidecar) Validate() error {
	var problems []error
	if _, _, err := net.SplitHostPort(s.Listen); err != nil {
		problems = append(problems, fmt.Errorf("--listen: %w", err))
	}
	if s.NonPrimaryLimit < 0 {
		problems = append(problems, fmt.Errorf("--non-primary-limit: %s is negative", s.NonPrimaryLimit))
	}
	if s.FlushInterval < 100*time.Millisecond {
		problems = append(problems, fmt.Errorf("--flush-interval: %s is less than 100ms", s.FlushInterval))
	}
	return errors.Join(problems...)
}

// Run works until the context ends.
func (s *Sidecar) Run(ctx context.Context) error {
	server, err := wsrep.Local(s.Socket, s.Account)
	if err != nil {
		return err
	}
	defer server.Close()
	go s.flush(ctx)
	go s.leave(ctx, server)

	mux := http.NewServeMux()
	mux.HandleFunc("/livez", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("/group", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, groupOf(r.Context(), server)) })
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, r *http.Request) {
		if reason := s.unready(r.Context(), server); reason != "" {
			http.Error(w, reason, http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	listener := http.Server{Addr: s.Listen, Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() })
	defer stop()
	if err := listener.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("answer probes: %w", err)
	}
	return nil
}

// unready says why the server must not serve clients now. A server that has just
// become fit may have received all its data a moment ago: it is on disk before
// anybody relies on it.
func (s *Sidecar) unready(ctx context.Context, server *wsrep.Server) string {
	status, err := server.Status(ctx)
	if err != nil {
		s.settled.Store(false)
		return err.Error()
	}
	if unfit := status.Unfit(); unfit != "" {
		s.settled.Store(false)
		return unfit
	}
	if !s.settled.Load() {
		if err := flushFileSystem(s.Volume); err != nil {
			return err.Error()
		}
		s.settled.Store(true)
	}
	return ""
}

// flush keeps the volume's content on disk.
func (s *Sidecar) flush(ctx context.Context) {
	tick := time.NewTicker(s.FlushInterval)
	defer tick.Stop()
	failing := false
	for {
		err := flushFileSystem(s.Volume)
		if err != nil && !failing {
			klog.FromContext(ctx).Error(err, "Cannot flush the volume: after a power cut, joiners may need full copies")
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// flushFileSystem writes all dirty pages of the file system that holds path (syncfs(2)).
func flushFileSystem(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("flush volume: %w", err)
	}
	defer file.Close()
	if err := unix.Syncfs(int(file.Fd())); err != nil {
		return fmt.Errorf("flush volume %s: %w", path, err)
	}
	return nil
}
