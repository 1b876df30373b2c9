package loopback

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"k8s.io/client-go/dynamic"

	"github.com/berth-dev/berth/test/controlplane"
)

// control is the control plane of this test.
type control struct {
	*controlplane.ControlPlane
	t   *testing.T
	pod []byte // a kubeconfig for the manifests' service account
}

func startControl(t *testing.T) *control {
	t.Helper()
	c := &control{t: t, ControlPlane: controlplane.ForTest(t, controlplane.Config{})}
	var err error
	if c.pod, err = c.KubeconfigAs("system:serviceaccount:galera:galera"); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *control) kubectl(stdin string, args ...string) {
	c.t.Helper()
	if err := c.kubectlErr(stdin, args...); err != nil {
		c.t.Fatal(err)
	}
}

func (c *control) kubectlErr(stdin string, args ...string) error {
	_, err := c.Kubectl(context.Background(), stdin, args...)
	return err
}

func (c *control) client() dynamic.Interface {
	c.t.Helper()
	client, err := dynamic.NewForConfig(c.Config())
	if err != nil {
		c.t.Fatal(err)
	}
	return client
}

// eventually waits for a condition of processes outside, for which there is
// nothing to watch.
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

// repository gives the path of something in the repository.
func repository(t *testing.T, path string) string {
	t.Helper()
	absolute, err := filepath.Abs(filepath.Join("..", "..", path))
	if err != nil {
		t.Fatal(err)
	}
	return absolute
}
