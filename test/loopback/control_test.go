package loopback

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"
)

const adminToken = "loopback-test"

// control is an etcd and a kube-apiserver of this test.
type control struct {
	t     *testing.T
	bin   string
	dir   string
	admin string // path of an administrator's kubeconfig
	pod   string // content of a kubeconfig for the manifests' service account
}

func startControl(t *testing.T) *control {
	t.Helper()
	bin := os.Getenv("BERTH_BIN")
	if bin == "" {
		bin = repository(t, "_out/bin")
	}
	for _, name := range []string{"etcd", "kube-apiserver", "kubectl"} {
		if _, err := os.Stat(filepath.Join(bin, name)); err != nil {
			t.Fatalf("%v: build the control plane's binaries first, or set BERTH_BIN", err)
		}
	}
	c := &control{t: t, bin: bin, dir: t.TempDir()}
	client, peer, api := freePort(t), freePort(t), freePort(t)
	etcd := fmt.Sprintf("http://127.0.0.1:%d", client)
	c.background("etcd", "--data-dir="+filepath.Join(c.dir, "etcd"), "--unsafe-no-fsync", "--log-level=error",
		"--listen-client-urls="+etcd, "--advertise-client-urls="+etcd,
		fmt.Sprintf("--listen-peer-urls=http://127.0.0.1:%d", peer))
	key := c.signingKey()
	tokens := c.write("tokens.csv", adminToken+`,admin,admin,"system:masters"`+"\n")
	c.background("kube-apiserver", "--etcd-servers="+etcd, fmt.Sprintf("--secure-port=%d", api), "--bind-address=127.0.0.1",
		"--cert-dir="+c.dir, "--token-auth-file="+tokens, "--authorization-mode=RBAC", "--service-cluster-ip-range=10.0.0.0/24",
		"--service-account-issuer=https://loopback", "--service-account-key-file="+key, "--service-account-signing-key-file="+key,
		"--disable-admission-plugins=ServiceAccount")
	c.admin = c.write("kubeconfig", kubeconfig(api, ""))
	c.pod = kubeconfig(api, ", as: 'system:serviceaccount:galera:galera'")
	c.eventually(2*time.Minute, "the API server is ready", func() bool {
		return c.kubectlErr("", "get", "--raw", "/readyz") == nil
	})
	return c
}

// background starts one of the binaries and ends it, by its process, with the test.
func (c *control) background(name string, args ...string) {
	c.t.Helper()
	log, err := os.Create(filepath.Join(c.dir, name+".log"))
	if err != nil {
		c.t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(c.bin, name), args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		log.Close()
	})
}

func (c *control) kubectl(stdin string, args ...string) {
	c.t.Helper()
	if err := c.kubectlErr(stdin, args...); err != nil {
		c.t.Fatal(err)
	}
}

func (c *control) kubectlErr(stdin string, args ...string) error {
	cmd := exec.Command(filepath.Join(c.bin, "kubectl"), append([]string{"--kubeconfig=" + c.admin}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

func (c *control) client() dynamic.Interface {
	c.t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", c.admin)
	if err != nil {
		c.t.Fatal(err)
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		c.t.Fatal(err)
	}
	return client
}

// kubeconfig is the configuration of the administrator, or of one whom the
// administrator impersonates.
func kubeconfig(port int, as string) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: 'https://127.0.0.1:%d', insecure-skip-tls-verify: true}}]
users: [{name: u, user: {token: %s%s}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
`, port, adminToken, as)
}

func (c *control) signingKey() string {
	c.t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		c.t.Fatal(err)
	}
	block := &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}
	return c.write("service-account.key", string(pem.EncodeToMemory(block)))
}

func (c *control) write(name, content string) string {
	c.t.Helper()
	path := filepath.Join(c.dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		c.t.Fatal(err)
	}
	return path
}

// eventually waits for a condition of processes outside, for which there is
// nothing to watch.
func (c *control) eventually(limit time.Duration, what string, holds func() bool) {
	c.t.Helper()
	eventually(c.t, limit, what, holds)
}

func eventually(t *testing.T, limit time.Duration, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-ctx.Done():
			t.Fatalf("not within %s: %s", limit, what)
		case <-tick.C:
		}
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// repository gives the path of something in the repository.
func repository(t *testing.T, path string) string {
	t.Helper()
	absolute, err := filepath.Abs(filepath.Join("..", "..", path))
	if err != nil {
		t.Fatal(err)
	}
	return absolute
}
