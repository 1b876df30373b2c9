package e2e

import (
	"context"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/test/mutant"
	"github.com/berth-dev/berth/test/testbed"
)

// TestMutants sees that the mutations still fit the source, and that what they
// make of it compiles. It needs no test bed.
func TestMutants(t *testing.T) {
	for name, mutations := range mutant.All() {
		t.Run(name, func(t *testing.T) { build(t, mutations) })
	}
}

// build builds galera-init with changes and returns its path.
func build(t *testing.T, mutations []mutant.Mutation) string {
	t.Helper()
	dir := t.TempDir()
	overlay, err := mutant.Overlay(dir, mutations)
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "galera-init")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	args := append([]string{"build"}, append(overlay, "-ldflags", "-s -w", "-o", program, "./cmd/galera-init")...)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = suite.root
	// As the Makefile builds, so that the build cache serves.
	cmd.Env = append(os.Environ(), "GOFLAGS=-trimpath -buildvcs=false", "CGO_ENABLED=0", "GOTOOLCHAIN=local")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the mutant: %v: %s", err, out)
	}
	return program
}

// plant puts a program in the place of galera-init of a member's running pod,
// where the next start of its container finds it, and the true one back when the
// test has ended.
func plant(t *testing.T, name, program string) {
	t.Helper()
	pod := member(t, name)
	target := path.Join("/var/lib/kubelet/pods", string(pod.UID), "volumes/kubernetes.io~empty-dir/berth/galera-init")
	put := func(ctx context.Context, from string) error {
		if err := suite.bed.CopyIn(ctx, pod.Spec.NodeName, from, target+".new"); err != nil {
			return err
		}
		_, err := suite.bed.Exec(ctx, pod.Spec.NodeName, "sh", "-ec", `test -x "$1"; chmod 0755 "$1.new"; mv "$1.new" "$1"`, "sh", target)
		return err
	}
	ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
	defer cancel()
	if err := put(ctx, program); err != nil {
		t.Fatalf("plant a mutant in %s: %v", name, err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
		defer cancel()
		if err := put(ctx, filepath.Join(suite.bed.Paths.Bin, "galera-init")); err != nil {
			t.Errorf("put the true program back into %s: %v", name, err)
		}
	})
}

// loadImage puts a program in the place of galera-init's image on all nodes.
func loadImage(t *testing.T, program string) {
	t.Helper()
	paths := suite.bed.Paths
	paths.Bin, paths.Images = t.TempDir(), t.TempDir()
	// Only what is newer than its image is built: all else is as it was.
	for from, to := range map[string]string{suite.bed.Paths.Bin: paths.Bin, suite.bed.Paths.Images: paths.Images} {
		entries, err := os.ReadDir(from)
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range entries {
			if strings.HasPrefix(entry.Name(), "galera-init") {
				continue
			}
			if err := os.Symlink(filepath.Join(from, entry.Name()), filepath.Join(to, entry.Name())); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.Symlink(program, filepath.Join(paths.Bin, "galera-init")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), actLimit)
	defer cancel()
	if err := testbed.Build(ctx, paths, suite.progress.Stage); err != nil {
		t.Fatal(err)
	}
	for _, node := range suite.nodes {
		if err := suite.bed.LoadImage(ctx, node, filepath.Join(paths.Images, "galera-init.tar")); err != nil {
			t.Fatal(err)
		}
		execute(t, node, "sync") // the power is cut next
	}
}
