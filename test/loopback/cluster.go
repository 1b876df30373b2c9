package loopback

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/dynamic"

	"github.com/berth-dev/berth/pkg/galeracluster"
	"github.com/berth-dev/berth/pkg/rebuild"
	"github.com/berth-dev/berth/test/controlplane"
)

// Members is how many members a cluster has.
const Members = 3

const namespace, statefulSet = "galera", "galera"

// Cluster is three members and the control plane that they report to.
type Cluster struct {
	Control *controlplane.ControlPlane
	Members []*Member

	lane    int
	objects dynamic.Interface
	mutex   sync.Mutex
	runs    []*Run
}

// Build compiles galera-init into a directory, with further arguments of go build.
func Build(ctx context.Context, dir string, args ...string) (program string, err error) {
	program = filepath.Join(dir, "galera-init")
	args = append([]string{"build", "-o", program}, append(args, "github.com/berth-dev/berth/cmd/galera-init")...)
	cmd := exec.CommandContext(ctx, "go", args...)
	// As the Makefile builds, so that the build cache serves.
	cmd.Env = append(os.Environ(), "GOFLAGS=-trimpath -buildvcs=false", "CGO_ENABLED=0", "GOTOOLCHAIN=local")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build galera-init: %w: %s", err, out)
	}
	return program, nil
}

// Start makes a control plane with the manifests, and members with blank volumes
// that do not run yet. All files are below dir. Clusters that exist at the same
// time differ in their lane.
func Start(ctx context.Context, dir, program string, lane int) (*Cluster, error) {
	c := &Cluster{lane: lane}
	if err := c.build(ctx, dir, program); err != nil {
		c.Close()
		return nil, fmt.Errorf("start cluster: %w", err)
	}
	return c, nil
}

func (c *Cluster) build(ctx context.Context, dir, program string) (err error) {
	control := filepath.Join(dir, "control")
	if err := errors.Join(os.MkdirAll(control, 0o755), os.Chmod(dir, 0o755)); err != nil { // members run as mysql
		return err
	}
	if c.Control, err = controlplane.Start(ctx, controlplane.Config{Dir: control}); err != nil {
		return err
	}
	if c.objects, err = dynamic.NewForConfig(c.Control.Config()); err != nil {
		return err
	}
	if err := c.apply(ctx); err != nil {
		return err
	}
	kubeconfig, err := c.Control.KubeconfigAs("system:serviceaccount:" + namespace + ":galera")
	if err != nil {
		return err
	}
	for ordinal := range Members {
		m, err := newMember(c, filepath.Join(dir, fmt.Sprint(ordinal)), program, kubeconfig, ordinal)
		if err != nil {
			return err
		}
		c.Members = append(c.Members, m)
	}
	return nil
}

// apply applies the real manifests, and the claims that a StatefulSet controller
// and a PV controller would make and bind.
func (c *Cluster) apply(ctx context.Context) error {
	manifests, err := controlplane.Repository("manifests")
	if err != nil {
		return err
	}
	var claims strings.Builder
	for ordinal := range Members {
		fmt.Fprintf(&claims, `---
{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: data-%[1]s-%[2]d, namespace: %[3]s},
spec: {storageClassName: berth, volumeName: pv-%[2]d, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}
`, statefulSet, ordinal, namespace)
	}
	for _, step := range []struct {
		stdin string
		args  []string
	}{
		{"", []string{"apply", "-f", filepath.Join(manifests, "base", "crd.yaml")}},
		{"", []string{"wait", "--for=condition=Established", "crd/galeraclusters.berth.dev"}},
		{"", []string{"apply", "-k", filepath.Join(manifests, "galera")}},
		{claims.String(), []string{"apply", "-f", "-"}},
	} {
		if _, err := c.Control.Kubectl(ctx, step.stdin, step.args...); err != nil {
			return err
		}
	}
	return nil
}

// Close ends everything at once.
func (c *Cluster) Close() {
	for _, m := range c.Members {
		m.Kill()
	}
	if c.Control != nil {
		c.Control.Stop()
	}
}

// Start gives every member a new pod.
func (c *Cluster) Start() error {
	var errs []error
	for _, m := range c.Members {
		errs = append(errs, m.NewPod())
	}
	return errors.Join(errs...)
}

// Synced waits until all members are Synced in a Primary component.
func (c *Cluster) Synced(ctx context.Context, limit time.Duration) error {
	for _, m := range c.Members {
		if err := m.Synced(ctx, limit); err != nil {
			return err
		}
	}
	return nil
}

// State reads the GaleraCluster object.
func (c *Cluster) State(ctx context.Context) (rebuild.Cluster, error) {
	return galeracluster.NewStore(c.objects, namespace, statefulSet).Get(ctx)
}

// Watch delivers the object's state now and after each change.
func (c *Cluster) Watch(ctx context.Context) <-chan rebuild.Cluster {
	return galeracluster.NewStore(c.objects, namespace, statefulSet).Watch(ctx)
}

// Restore replaces the object by one of an earlier state, as somebody does who
// restores etcd from an old snapshot: no transition is checked.
func (c *Cluster) Restore(ctx context.Context, state rebuild.Cluster) error {
	if _, err := c.Control.Kubectl(ctx, "", "delete", "--namespace="+namespace, "galeraclusters/"+statefulSet, "--ignore-not-found"); err != nil {
		return fmt.Errorf("restore the object: %w", err)
	}
	_, err := galeracluster.NewStore(c.objects, namespace, statefulSet).Update(ctx, func(now *rebuild.Cluster) bool {
		*now = state
		return true
	})
	if err != nil {
		return fmt.Errorf("restore the object: %w", err)
	}
	return nil
}

// Runs are all runs of containers up to now, in the order in which they started.
func (c *Cluster) Runs() []Run {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	var runs []Run
	for _, r := range c.runs {
		runs = append(runs, *r)
	}
	slices.SortStableFunc(runs, func(a, b Run) int { return a.Started.Compare(b.Started) })
	return runs
}

// eventually tries until a condition of processes outside holds, for which there
// is nothing to watch.
func eventually(ctx context.Context, limit time.Duration, what string, holds func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("not within %s: %s", limit, what)
		case <-tick.C:
		}
	}
	return nil
}
