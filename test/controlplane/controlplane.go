package controlplane

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// adminToken speaks for a member of system:masters. It is no secret: the API
// server listens on loopback only and lives as long as its test.
const adminToken = "administrator-on-loopback"

// Config says what to run. The zero value with a Dir is an etcd and an API
// server with RBAC and without the admission of service accounts.
type Config struct {
	Dir         string   // an existing directory for memory, keys and logs
	Bin         string   // directory of the binaries; empty: Binaries()
	APIServer   []string // further arguments of kube-apiserver
	Controllers []string // controllers to run in kube-controller-manager; none: it does not run
	Manager     []string // further arguments of kube-controller-manager
	Scheduler   bool     // whether kube-scheduler runs
}

// ControlPlane is one that runs.
type ControlPlane struct {
	config Config
	port   int // of the API server
	etcd   string
	server *process
	others []*process // in the order in which they started
}

// Binaries is the directory of the control plane's binaries.
func Binaries() (string, error) {
	if bin := os.Getenv("BERTH_BIN"); bin != "" {
		return bin, nil
	}
	return Repository("_out/bin")
}

// Repository is the absolute path of something in the repository that contains
// the working directory.
func Repository(path string) (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, path), nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("find the repository: no go.mod above the working directory")
		}
		dir = parent
	}
}

// Start starts a control plane with an empty memory and returns when the API
// server is ready. Stop has to be called when the error is nil.
func Start(ctx context.Context, config Config) (*ControlPlane, error) {
	if config.Bin == "" {
		bin, err := Binaries()
		if err != nil {
			return nil, fmt.Errorf("start control plane: %w", err)
		}
		config.Bin = bin
	}
	for _, name := range []string{"etcd", "kube-apiserver", "kubectl"} {
		if _, err := os.Stat(filepath.Join(config.Bin, name)); err != nil {
			return nil, fmt.Errorf("start control plane: %w: run `make control-plane`, or set BERTH_BIN", err)
		}
	}
	c := &ControlPlane{config: config}
	if err := c.start(ctx); err != nil {
		c.Stop()
		return nil, fmt.Errorf("start control plane: %w", err)
	}
	return c, nil
}

func (c *ControlPlane) start(ctx context.Context) error {
	ports, err := freePorts(3)
	if err != nil {
		return err
	}
	c.port, c.etcd = ports[0], fmt.Sprintf("http://127.0.0.1:%d", ports[1])
	if err := c.writeFiles(); err != nil {
		return err
	}
	if err := c.run("etcd", "--data-dir="+c.path("etcd"), "--unsafe-no-fsync", "--log-level=error",
		"--listen-client-urls="+c.etcd, "--advertise-client-urls="+c.etcd,
		fmt.Sprintf("--listen-peer-urls=http://127.0.0.1:%d", ports[2])); err != nil {
		return err
	}
	if err := c.StartAPI(ctx); err != nil {
		return err
	}
	if len(c.config.Controllers) > 0 {
		if err := c.run("kube-controller-manager", append([]string{
			"--kubeconfig=" + c.Kubeconfig(), "--leader-elect=false", "--secure-port=0",
			"--pvclaimbinder-sync-period=1s", "--service-account-private-key-file=" + c.path("service-account.key"),
			"--controllers=" + strings.Join(c.config.Controllers, ","),
		}, c.config.Manager...)...); err != nil {
			return err
		}
	}
	if c.config.Scheduler {
		return c.run("kube-scheduler", "--kubeconfig="+c.Kubeconfig(), "--leader-elect=false", "--secure-port=0")
	}
	return nil
}

// StartAPI starts the API server after StopAPI, on its port and with its memory.
func (c *ControlPlane) StartAPI(ctx context.Context) error {
	key := c.path("service-account.key")
	args := append([]string{
		"--etcd-servers=" + c.etcd, "--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", c.port),
		// Nobody is told this address (RFC 5737); by default there has to be a route.
		"--advertise-address=192.0.2.1",
		"--cert-dir=" + c.path("certificates"), "--token-auth-file=" + c.path("tokens.csv"),
		"--authorization-mode=RBAC", "--allow-privileged", "--service-cluster-ip-range=10.0.0.0/24",
		"--service-account-issuer=https://loopback", "--service-account-key-file=" + key, "--service-account-signing-key-file=" + key,
		"--disable-admission-plugins=ServiceAccount,TaintNodesByCondition",
	}, c.config.APIServer...)
	server, err := start(c.config, "kube-apiserver", args...)
	if err != nil {
		return err
	}
	c.server = server
	return c.ready(ctx)
}

// StopAPI ends the API server at once and keeps its memory: an outage.
func (c *ControlPlane) StopAPI() {
	if c.server != nil {
		c.server.stop()
	}
}

// ready waits until the API server says that it is.
func (c *ControlPlane) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	// There is nothing to watch before the API server answers.
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		_, err := c.Kubectl(ctx, "", "get", "--raw", "/readyz")
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for kube-apiserver: %w%s", err, c.server.tail())
		case <-c.server.done:
			return fmt.Errorf("kube-apiserver ended%s", c.server.tail())
		case <-tick.C:
		}
	}
}

// Run starts another program from the directory of the binaries. It ends with
// Stop, and is heard in Logs.
func (c *ControlPlane) Run(name string, args ...string) error { return c.run(name, args...) }

func (c *ControlPlane) run(name string, args ...string) error {
	p, err := start(c.config, name, args...)
	if err != nil {
		return err
	}
	c.others = append(c.others, p)
	return nil
}

// Stop ends all of it. What it wrote stays in the directory.
func (c *ControlPlane) Stop() {
	c.StopAPI()
	for i := len(c.others) - 1; i >= 0; i-- {
		c.others[i].stop()
	}
}

// Logs is the end of every program's log, for a report of what went wrong.
func (c *ControlPlane) Logs() string {
	var logs strings.Builder
	for _, p := range append(c.others, c.server) {
		if p != nil {
			logs.WriteString(p.tail())
		}
	}
	return logs.String()
}

// Config is an administrator's connection. The caller owns the copy.
func (c *ControlPlane) Config() *rest.Config {
	return &rest.Config{
		Host: c.host(), BearerToken: adminToken, TLSClientConfig: rest.TLSClientConfig{Insecure: true}, QPS: 100, Burst: 200,
	}
}

// Kubeconfig is the path of an administrator's kubeconfig.
func (c *ControlPlane) Kubeconfig() string { return c.path("kubeconfig") }

// KubeconfigAs is the content of a kubeconfig of a user with the rights that
// RBAC gives him, such as system:serviceaccount:NAMESPACE:NAME; empty: of the
// administrator.
func (c *ControlPlane) KubeconfigAs(user string) ([]byte, error) {
	return clientcmd.Write(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{"loopback": {Server: c.host(), InsecureSkipTLSVerify: true}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{"user": {Token: adminToken, Impersonate: user}},
		Contexts:       map[string]*clientcmdapi.Context{"loopback": {Cluster: "loopback", AuthInfo: "user"}},
		CurrentContext: "loopback",
	})
}

// Kubectl runs kubectl as the administrator and returns what it printed.
func (c *ControlPlane) Kubectl(ctx context.Context, stdin string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(c.config.Bin, "kubectl"), append([]string{"--kubeconfig=" + c.Kubeconfig()}, args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return stdout.String(), nil
}

func (c *ControlPlane) host() string            { return fmt.Sprintf("https://127.0.0.1:%d", c.port) }
func (c *ControlPlane) path(name string) string { return filepath.Join(c.config.Dir, name) }
