package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/berth-dev/berth/pkg/datadir"
	"github.com/berth-dev/berth/pkg/galeracluster"
	"github.com/berth-dev/berth/pkg/member"
	"github.com/berth-dev/berth/pkg/sidecar"
)

// memberFlags are the flags that prepare and exec share: both have to come to
// the same conclusion about the same volume.
type memberFlags struct {
	Namespace, PodName, PodUID, PodIP, NodeName string
	Claim                                       string
	Volume, DataDir, RunDir                     string
	Installer, InitSQL, RecoveryPool            string
	GroupPort, ProbePort                        int
	Kubeconfig                                  string
	APIPatience                                 time.Duration

	command []string
}

// Flags declares the flags.
func (f *memberFlags) Flags(fs *pflag.FlagSet) {
	fs.StringVar(&f.Namespace, "namespace", "", "the pod's namespace, from the downward API: $(POD_NAMESPACE)")
	fs.StringVar(&f.PodName, "pod-name", "", "the pod's name, STATEFULSET-ORDINAL: $(POD_NAME)")
	fs.StringVar(&f.PodUID, "pod-uid", "", "the pod's UID: $(POD_UID)")
	fs.StringVar(&f.PodIP, "pod-ip", "", "the pod's IP address, at which the other members reach it: $(POD_IP)")
	fs.StringVar(&f.NodeName, "node-name", "", "the node's name: $(NODE_NAME)")
	fs.StringVar(&f.Claim, "claim", "", "name of the claim that holds the data: data-$(POD_NAME)")
	fs.StringVar(&f.Volume, "volume", "/var/lib/galera", "where the claim's volume is mounted; Berth's own files lie in its directory berth")
	fs.StringVar(&f.DataDir, "datadir", "/var/lib/galera/data", "the server's data directory; has to lie below --volume")
	fs.StringVar(&f.RunDir, "run-dir", "/run/mysqld", "a directory that all containers of this pod share and that ends with it (an emptyDir)")
	fs.StringVar(&f.Installer, "install-command", "mariadb-install-db", "the program that creates the data directory of a first installation")
	fs.StringVar(&f.InitSQL, "init-sql", "", "a file of SQL that a first installation runs, for users and databases")
	fs.StringVar(&f.RecoveryPool, "recovery-buffer-pool", "64M", "buffer pool of the server while it recovers its position; bounds the memory that takes")
	fs.IntVar(&f.GroupPort, "group-port", 4567, "the port on which Galera servers listen for each other")
	fs.IntVar(&f.ProbePort, "probe-port", 9104, "the port on which the other members' sidecars answer")
	fs.DurationVar(&f.APIPatience, "api-patience", 10*time.Second, "how long the API server may not answer before a member with sound data joins, without it, a Primary component that it can reach")
	fs.StringVar(&f.Kubeconfig, "kubeconfig", "", "how to reach the API server from outside a pod; empty means the pod's service account")
}

// Validate checks the flags and the server's command, and joins all problems.
func (f *memberFlags) Validate(command []string) error {
	var problems []error
	require := func(flag, value string) {
		if value == "" {
			problems = append(problems, fmt.Errorf("--%s is missing", flag))
		}
	}
	require("namespace", f.Namespace)
	require("pod-uid", f.PodUID)
	require("claim", f.Claim)
	if _, _, err := splitPodName(f.PodName); err != nil {
		problems = append(problems, fmt.Errorf("--pod-name: %w", err))
	}
	if net.ParseIP(f.PodIP) == nil {
		problems = append(problems, fmt.Errorf("--pod-ip: %q is not an IP address", f.PodIP))
	}
	if err := checkDataDir(f.Volume, f.DataDir); err != nil {
		problems = append(problems, err)
	}
	if len(command) == 0 {
		problems = append(problems, errors.New("the server's command is missing: write it after --, as in `-- mariadbd --defaults-file=/etc/berth/my.cnf`"))
	}
	f.command = command
	return errors.Join(problems...)
}

// Member builds the member that the flags describe.
func (f *memberFlags) Member() (*member.Member, error) {
	cluster, ordinal, err := splitPodName(f.PodName)
	if err != nil {
		return nil, err
	}
	client, err := newClient(f.Kubeconfig)
	if err != nil {
		return nil, err
	}
	dialer := net.Dialer{Timeout: time.Second}
	return &member.Member{
		Identity: member.Identity{Namespace: f.Namespace, Cluster: cluster, Ordinal: ordinal, Pod: f.PodName,
			PodUID: f.PodUID, Address: f.PodIP, Node: f.NodeName, Claim: f.Claim},
		Volume:   datadir.Volume{Root: f.Volume, Data: f.DataDir},
		Server:   member.Server{Command: f.command, Installer: f.Installer, InitSQL: f.InitSQL, RecoveryPool: f.RecoveryPool, Log: os.Stderr},
		Store:    galeracluster.NewStore(client, f.Namespace, cluster),
		Workload: galeracluster.NewWorkload(client, f.Namespace),
		Answers: func(ctx context.Context, address string) bool {
			conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(address, strconv.Itoa(f.GroupPort)))
			if err != nil {
				return false
			}
			conn.Close()
			return true
		},
		Outside: func(ctx context.Context, address string) bool {
			return sidecar.OutsidePrimary(ctx, net.JoinHostPort(address, strconv.Itoa(f.ProbePort)))
		},
		Primary: func(ctx context.Context, address string) (string, bool) {
			return sidecar.PrimaryHistory(ctx, net.JoinHostPort(address, strconv.Itoa(f.ProbePort)))
		},
		APIPatience: f.APIPatience,
		RunDir:      f.RunDir,
		NewUUID:     func() string { return string(uuid.NewUUID()) },
	}, nil
}

// splitPodName gives the StatefulSet's name and the ordinal.
func splitPodName(pod string) (string, int, error) {
	i := strings.LastIndexByte(pod, '-')
	if i > 0 {
		if ordinal, err := strconv.Atoi(pod[i+1:]); err == nil && ordinal >= 0 {
			return pod[:i], ordinal, nil
		}
	}
	return "", 0, fmt.Errorf("%q is not the name of a StatefulSet's pod (NAME-ORDINAL)", pod)
}

func newClient(kubeconfig string) (dynamic.Interface, error) {
	config, err := rest.InClusterConfig()
	if kubeconfig != "" || errors.Is(err, rest.ErrNotInCluster) {
		rules := clientcmd.NewDefaultClientConfigLoadingRules()
		rules.ExplicitPath = kubeconfig
		config, err = clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, nil).ClientConfig()
	}
	if err != nil {
		return nil, fmt.Errorf("find the API server: %w", err)
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make a client of the API server: %w", err)
	}
	return client, nil
}

// checkDataDir refuses a data directory in which a state transfer would wipe out
// Berth's own files, or that is another volume's.
func checkDataDir(volume, dir string) error {
	rel, err := filepath.Rel(volume, dir)
	if err != nil || !filepath.IsLocal(rel) || rel == "." || strings.Split(rel, string(filepath.Separator))[0] == "berth" {
		return fmt.Errorf("--datadir %s has to be a directory below --volume %s and not in its directory berth: Berth's files must survive a state transfer", dir, volume)
	}
	return nil
}
