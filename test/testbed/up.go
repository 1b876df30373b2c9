package testbed

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

//go:embed guest
var guestFiles embed.FS

// Up makes the bed: network, certificates, control plane, disks; it boots the
// nodes and returns when all of them are Ready and hold all container images. What a
// crashed bed left in the same directory is removed first; a bed that still runs
// is an error and stays as it is.
func (b *Bed) Up(ctx context.Context, c Config) error {
	c = c.withDefaults()
	if err := errors.Join(c.validate(), b.check()); err != nil {
		return fmt.Errorf("start test bed: %w", err)
	}
	if pid, err := b.process("kube-apiserver"); err == nil && pid != 0 && b.complete() {
		return fmt.Errorf("a test bed runs in %s already: use it, or end it with `testbed down`", b.Dir)
	}
	if err := b.Down(ctx); err != nil {
		return fmt.Errorf("clean up after a former test bed: %w", err)
	}
	seed, err := b.seedDisk(ctx)
	if err != nil {
		return err
	}
	if err := b.makeSkeleton(ctx, c); err != nil {
		return err
	}
	for _, name := range c.NodeNames() {
		if err := b.makeDisks(c, name, seed); err != nil {
			return err
		}
	}
	b.logf("booting %d nodes", len(c.booted()))
	if err := b.PowerOn(ctx, c.booted()...); err != nil {
		return err
	}
	b.logf("starting the control plane")
	if err := b.startControlPlane(ctx); err != nil {
		return err
	}
	b.logf("waiting for the nodes to be Ready")
	if err := b.WaitReady(ctx, c.booted()...); err != nil {
		return err
	}
	return os.WriteFile(b.path(completeMark), nil, 0o644)
}

// completeMark is a file that the last step of Up makes.
const completeMark = "complete"

// complete says whether an Up came to its end: what an Up left that did not is
// no bed that anybody uses.
func (b *Bed) complete() bool {
	_, err := os.Stat(b.path(completeMark))
	return err == nil
}

// makeSkeleton makes all of a bed that does not run: directories, files,
// certificates, network.
func (b *Bed) makeSkeleton(ctx context.Context, c Config) error {
	// First the file by which Down knows that the directory is its own.
	if err := os.MkdirAll(b.Dir, 0o755); err != nil {
		return fmt.Errorf("start test bed: %w", err)
	}
	if err := b.saveConfig(c); err != nil {
		return fmt.Errorf("start test bed: %w", err)
	}
	for _, dir := range []string{"bin", "disks", "guest", "images", "log", "pki", "run"} {
		if err := os.MkdirAll(b.path(dir), 0o755); err != nil {
			return fmt.Errorf("start test bed: %w", err)
		}
	}
	if err := b.placeFiles(); err != nil {
		return fmt.Errorf("start test bed: %w", err)
	}
	if err := b.makePKI(c); err != nil {
		return err
	}
	return b.makeNetwork(ctx, c.Nodes)
}

// placeFiles puts what the guests read into the bed. Binaries are linked where
// possible: nobody writes to them.
func (b *Bed) placeFiles() error {
	binaries, err := os.ReadDir(b.Paths.Bin)
	if err != nil {
		return err
	}
	for _, binary := range binaries {
		if err := link(filepath.Join(b.Paths.Bin, binary.Name()), b.path("bin", binary.Name())); err != nil {
			return err
		}
	}
	files, err := guestFiles.ReadDir("guest")
	if err != nil {
		return err
	}
	for _, file := range files {
		content, err := guestFiles.ReadFile("guest/" + file.Name())
		if err != nil {
			return err
		}
		if err := os.WriteFile(b.path("guest", file.Name()), content, 0o755); err != nil {
			return err
		}
	}
	// The guests' root is read-only, so the mount point is made from outside.
	if err := os.MkdirAll(filepath.Join(b.Paths.RootFS, "lib", "modules"), 0o755); err != nil {
		return err
	}
	init, err := guestFiles.ReadFile("guest/init.sh")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(b.Paths.RootFS, "sbin", "bed-init"), init, 0o755)
}

// link makes to a second name of from, or a copy where the file systems differ.
// What had the name before is replaced: builds replace files, they do not write into them.
func link(from, to string) error {
	partial := to + ".partial"
	if err := os.RemoveAll(partial); err != nil {
		return err
	}
	if os.Link(from, partial) != nil {
		content, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		if err := os.WriteFile(partial, content, 0o755); err != nil {
			return err
		}
	}
	return os.Rename(partial, to)
}

// Down ends every process of the bed and removes all that it made: processes,
// network namespace, directory. A bed that does not exist is no error.
func (b *Bed) Down(ctx context.Context) error {
	if err := b.removeNetwork(ctx); err != nil {
		return err
	}
	// Processes that were started while the namespace was being made or removed.
	files, err := filepath.Glob(b.path("run", "*.pid"))
	if err != nil {
		return err
	}
	for _, file := range files {
		name := filepath.Base(file)
		if err := b.stop(name[:len(name)-len(".pid")], syscall.SIGKILL); err != nil {
			return err
		}
	}
	if err := b.ownedOrAbsent(); err != nil {
		return err
	}
	if err := os.RemoveAll(b.Dir); err != nil {
		return fmt.Errorf("remove test bed: %w", err)
	}
	return nil
}

// ownedOrAbsent refuses a directory that is neither empty nor a test bed: Down
// removes it whole, so a mistyped path must not cost anybody anything.
func (b *Bed) ownedOrAbsent() error {
	entries, err := os.ReadDir(b.Dir)
	if errors.Is(err, fs.ErrNotExist) || (err == nil && len(entries) == 0) {
		return nil
	}
	if err != nil {
		return err
	}
	if _, err := os.Stat(b.path("bed.json")); err != nil {
		return fmt.Errorf("%s is not empty and holds no test bed (no bed.json): name another directory", b.Dir)
	}
	return nil
}

// WaitReady waits until the named nodes have booted and are Ready in the boot
// that runs now. What the API server still says of a node's former life counts
// for nothing.
func (b *Bed) WaitReady(ctx context.Context, names ...string) error {
	client, err := b.Client()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	if err := b.WaitBooted(ctx, names...); err != nil {
		return err
	}
	for _, name := range names {
		boot, err := b.Exec(ctx, name, "cat", "/proc/sys/kernel/random/boot_id")
		if err != nil {
			return fmt.Errorf("wait for node %s to be Ready: %w", name, err)
		}
		for {
			node, err := client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
			if err == nil && ready(node) && node.Status.NodeInfo.BootID == strings.TrimSpace(boot) {
				break
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("wait for node %s to be Ready (see `testbed exec %s -- tail /var/log/kubelet.log`): %w", name, name, errors.Join(ctx.Err(), err))
			case <-time.After(250 * time.Millisecond):
			}
		}
	}
	return nil
}

func ready(node *corev1.Node) bool {
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}
