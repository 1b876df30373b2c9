package testbed

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"syscall"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// controlPlane lists the host's programs in the order in which they start.
var controlPlane = []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"}

func (b *Bed) controlArgs(name string) []string {
	pki := func(file string) string { return b.path("pki", file) }
	switch name {
	case "etcd":
		return []string{
			"--data-dir=" + b.path("etcd"), "--log-level=warn",
			"--listen-client-urls=http://127.0.0.1:2379", "--advertise-client-urls=http://127.0.0.1:2379",
			"--listen-peer-urls=http://127.0.0.1:2380",
			// The API server's memory is not what the bed is about: the host does not lose power.
			"--unsafe-no-fsync",
		}
	case "kube-apiserver":
		return []string{
			"--etcd-servers=http://127.0.0.1:2379", "--secure-port=443", "--bind-address=0.0.0.0",
			"--advertise-address=" + controlAddress, "--service-cluster-ip-range=10.96.0.0/16",
			"--tls-cert-file=" + pki("apiserver.crt"), "--tls-private-key-file=" + pki("apiserver.key"),
			"--client-ca-file=" + pki("ca.crt"), "--authorization-mode=Node,RBAC",
			"--enable-admission-plugins=NodeRestriction", "--allow-privileged=true",
			"--service-account-issuer=https://kubernetes.default.svc",
			"--service-account-key-file=" + pki("ca.key"), "--service-account-signing-key-file=" + pki("ca.key"),
			"--kubelet-client-certificate=" + pki("kubelet-client.crt"), "--kubelet-client-key=" + pki("kubelet-client.key"),
			"--kubelet-preferred-address-types=InternalIP",
		}
	case "kube-controller-manager":
		config := pki("controller-manager.kubeconfig")
		return []string{
			"--kubeconfig=" + config, "--authentication-kubeconfig=" + config, "--authorization-kubeconfig=" + config,
			"--leader-elect=false", "--bind-address=127.0.0.1", "--use-service-account-credentials=true",
			"--service-account-private-key-file=" + pki("ca.key"), "--root-ca-file=" + pki("ca.crt"),
			// A lease of 12 s and a grace of 16 s: a power cut is known soon after it happened.
			"--node-monitor-grace-period=16s", "--node-monitor-period=2s",
		}
	default:
		config := pki("scheduler.kubeconfig")
		return []string{
			"--kubeconfig=" + config, "--authentication-kubeconfig=" + config, "--authorization-kubeconfig=" + config,
			"--leader-elect=false", "--bind-address=127.0.0.1",
		}
	}
}

func (b *Bed) startControlPlane(ctx context.Context) error {
	for _, name := range controlPlane {
		argv := append([]string{b.path("bin", name)}, b.controlArgs(name)...)
		if err := b.start(name, b.Dir, argv...); err != nil {
			return err
		}
		if name == "kube-apiserver" {
			if err := b.waitForAPI(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *Bed) stopControlPlane(signal syscall.Signal) error {
	var errs []error
	for i := len(controlPlane) - 1; i >= 0; i-- {
		errs = append(errs, b.stop(controlPlane[i], signal))
	}
	return errors.Join(errs...)
}

func (b *Bed) waitForAPI(ctx context.Context) error {
	client, err := b.Client()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		_, err := client.RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		if err == nil {
			return nil
		}
		if pid, _ := b.process("kube-apiserver"); pid == 0 {
			return fmt.Errorf("kube-apiserver ended: see %s", b.path("log", "kube-apiserver.log"))
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for API server (see %s): %w", b.path("log", "kube-apiserver.log"), err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// WipeAPI empties etcd: afterwards the API server remembers nothing, not even
// its nodes. Kubelets that run are started again, for a kubelet registers its
// node at its start only.
func (b *Bed) WipeAPI(ctx context.Context) error {
	c, err := b.Config()
	if err != nil {
		return err
	}
	if err := b.stopControlPlane(syscall.SIGKILL); err != nil {
		return fmt.Errorf("wipe API: %w", err)
	}
	if err := os.RemoveAll(b.path("etcd")); err != nil {
		return fmt.Errorf("wipe API: %w", err)
	}
	if err := b.startControlPlane(ctx); err != nil {
		return fmt.Errorf("wipe API: %w", err)
	}
	for _, name := range c.NodeNames() {
		if on, err := b.PoweredOn(name); err != nil || !on {
			continue
		}
		if _, err := b.Exec(ctx, name, "pkill", "-x", "kubelet"); err != nil {
			return fmt.Errorf("wipe API: restart kubelet of %s: %w", name, err)
		}
	}
	return nil
}

// RESTConfig is an administrator's connection to the bed's API server, usable
// from any process of the host.
func (b *Bed) RESTConfig() (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", b.Kubeconfig())
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig of test bed: %w", err)
	}
	config.Dial = b.DialContext
	config.QPS, config.Burst = 100, 200
	return config, nil
}

// Client is a typed client over RESTConfig.
func (b *Bed) Client() (*kubernetes.Clientset, error) {
	config, err := b.RESTConfig()
	if err != nil {
		return nil, err
	}
	return kubernetes.NewForConfig(config)
}

// Kubectl is the kubectl command with the given arguments, ready to run as the
// bed's administrator. The caller sets its input and output.
func (b *Bed) Kubectl(ctx context.Context, args ...string) (*exec.Cmd, error) {
	if _, err := os.Stat(b.Kubeconfig()); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("no test bed in %s: start one with `testbed up`", b.Dir)
	}
	argv := append([]string{"netns", "exec", b.Namespace(), b.path("bin", "kubectl"), "--kubeconfig=" + b.Kubeconfig()}, args...)
	cmd := exec.CommandContext(ctx, "ip", argv...)
	cmd.Env = append(os.Environ(), "HOME="+b.Dir)
	return cmd, nil
}
