package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/berth-dev/berth/pkg/datadir"
	"github.com/berth-dev/berth/pkg/galeracluster"
	"github.com/berth-dev/berth/pkg/sidecar"
	"github.com/berth-dev/berth/pkg/wsrep"
)

// Sidecar stands beside a running server.
type Sidecar struct {
	Socket, Account, Listen                       string
	Volume, DataDir, RunDir                       string
	Namespace, PodName, PodUID, Kubeconfig        string
	FlushInterval, RecordInterval, ObjectInterval time.Duration
	NonPrimaryLimit                               time.Duration
}

func newSidecarCommand() *cobra.Command {
	var s Sidecar
	cmd := &cobra.Command{
		Use:   "sidecar",
		Short: "Say whether the server may serve clients, keep its volume on disk, note how far it has come",
		Long: `sidecar runs beside the server in the same pod, best as a native sidecar before prepare: its
metrics then tell also what the members wait for.

It answers on --listen:
  /readyz   200 while the server is Synced, in a Primary component, ready, not told to reject queries,
            in the history that the volume's lineage names, and on disk; else 503 and the reason
  /livez    200 while sidecar runs. It says nothing about the server: a donor or joiner must not be
            killed for being one
  /group    whether the server is in a Primary component, for members that think of joining it
  /metrics  of this member, and of the verdict with its reason code, for Prometheus

It flushes the volume's file system every --flush-interval. Galera maps galera.cache and never syncs
it: after a power cut it would lag behind the database, be forgotten at the next start, and every
stale member would need a full copy (SST) where the missing transactions (IST) were enough. And the
files that a full copy brings are not synced by rsync: a power cut within half a minute would leave
zeros in them. So /readyz answers 200 only after such a flush.

With --pod-name it notes the last committed position on the volume, and in the GaleraCluster object
at most every --object-interval and only when it has changed, so that no cluster is started from less;
a changed view, and a changed number of replicas with it, at once;
keeps the pod's label berth.dev/ready; and keeps the members' addresses on the volume, for a start
without an API server.

A server that is in no Primary component for --non-primary-limit is shut down in order: it serves
nobody, and what it holds may be needed. It reports, like the others, and one of them bootstraps.
So is one that has lost a thread that applies write sets and commits nothing meanwhile, while some
wait: it would be Joined for ever. It starts again, and joins by incremental transfer.`,
		Example: `  galera-init sidecar --namespace=$(POD_NAMESPACE) --pod-name=$(POD_NAME) --pod-uid=$(POD_UID)
  galera-init sidecar --listen 127.0.0.1:9104     # probes and flushes only, without Kubernetes`,
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
	flags.StringVar(&s.Listen, "listen", ":9104", "address to answer on")
	flags.StringVar(&s.Volume, "volume", "/var/lib/galera", "where the volume with the server's data is mounted")
	flags.StringVar(&s.DataDir, "datadir", "/var/lib/galera/data", "the server's data directory; has to lie below --volume")
	flags.StringVar(&s.RunDir, "run-dir", "/run/mysqld", "the directory that all containers of this pod share")
	flags.StringVar(&s.Namespace, "namespace", "", "the pod's namespace: $(POD_NAMESPACE)")
	flags.StringVar(&s.PodName, "pod-name", "", "the pod's name: $(POD_NAME); empty means to write nothing into the API")
	flags.StringVar(&s.PodUID, "pod-uid", "", "the pod's UID: $(POD_UID)")
	flags.StringVar(&s.Kubeconfig, "kubeconfig", "", "how to reach the API server from outside a pod; empty means the pod's service account")
	flags.DurationVar(&s.FlushInterval, "flush-interval", time.Second, "time between two flushes of the volume")
	flags.DurationVar(&s.RecordInterval, "record-interval", 2*time.Second, "time between two looks at the server's position, for the volume and the label")
	flags.DurationVar(&s.ObjectInterval, "object-interval", 10*time.Second, "least time between two writes of the position into the GaleraCluster object")
	flags.DurationVar(&s.NonPrimaryLimit, "non-primary-limit", 30*time.Second, "how long a server may be in no Primary component, or apply nothing for want of a thread, before it is shut down, so that it can report and join again; 0 means for ever")
	return cmd
}

// Validate joins all problems of the flags.
func (s *Sidecar) Validate() error {
	var problems []error
	if _, _, err := net.SplitHostPort(s.Listen); err != nil {
		problems = append(problems, fmt.Errorf("--listen: %w", err))
	}
	if err := checkDataDir(s.Volume, s.DataDir); err != nil {
		problems = append(problems, err)
	}
	if s.NonPrimaryLimit < 0 {
		problems = append(problems, fmt.Errorf("--non-primary-limit: %s is negative", s.NonPrimaryLimit))
	}
	for name, interval := range map[string]time.Duration{"flush": s.FlushInterval, "record": s.RecordInterval, "object": s.ObjectInterval} {
		if interval < 100*time.Millisecond {
			problems = append(problems, fmt.Errorf("--%s-interval: %s is less than 100ms", name, interval))
		}
	}
	if s.PodName != "" {
		if _, _, err := splitPodName(s.PodName); err != nil {
			problems = append(problems, fmt.Errorf("--pod-name: %w", err))
		}
		if s.Namespace == "" || s.PodUID == "" {
			problems = append(problems, errors.New("--pod-name needs --namespace and --pod-uid"))
		}
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
	_, port, err := net.SplitHostPort(s.Listen)
	if err != nil {
		return err
	}
	beside := &sidecar.Sidecar{
		Server: server, Volume: datadir.Volume{Root: s.Volume, Data: s.DataDir}, PodUID: s.PodUID, RunDir: s.RunDir,
		Flush:         func() error { return flushFileSystem(s.Volume) },
		FlushInterval: s.FlushInterval, RecordInterval: s.RecordInterval, ObjectInterval: s.ObjectInterval, NonPrimaryLimit: s.NonPrimaryLimit, Port: port,
	}
	if s.PodName != "" {
		client, err := newClient(s.Kubeconfig)
		if err != nil {
			return err
		}
		cluster, ordinal, err := splitPodName(s.PodName)
		if err != nil {
			return err
		}
		workload := galeracluster.NewWorkload(client, s.Namespace)
		beside.Ordinal, beside.Store = ordinal, galeracluster.NewStore(client, s.Namespace, cluster)
		beside.Shape = func(ctx context.Context) (galeracluster.Shape, error) { return workload.Shape(ctx, cluster) }
		beside.Label = func(ctx context.Context, ready bool) error {
			return workload.LabelReady(ctx, s.PodName, s.PodUID, ready)
		}
	}
	return beside.Run(ctx, s.Listen)
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
