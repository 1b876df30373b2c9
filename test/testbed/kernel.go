package testbed

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// Where Debian has the kernel of the package user-mode-linux, its modules, and the
// C library with the dynamic loader.
const (
	umlPath     = "usr/bin/linux.uml"
	modulesPath = "usr/lib/uml/modules"
	libraryPath = "usr/lib/x86_64-linux-gnu"
)

// kernelSystem holds the nodes' kernel. Debian 12's own enters a process through
// ptrace; since 6.16 a process can enter the kernel through seccomp, which costs a
// quarter (19 and 80 microseconds a system call under a hypervisor that keeps page
// tables by software).
var kernelSystem = debian{suite: "sid", unpacked: true, packages: []string{"user-mode-linux"}}

// buildKernel makes the tree that holds the nodes' kernel. Where the newer kernel
// cannot be had, or does not run here, it is the machine's own tree, with the
// kernel that `make deps` installed: the same bed, slower.
func buildKernel(ctx context.Context, paths Paths, logf func(string, ...any)) error {
	tree := filepath.Join(filepath.Dir(paths.Kernel), "kernel-"+kernelSystem.digest())
	logf("kernel of the nodes")
	err := kernelSystem.bootstrap(ctx, tree)
	if err == nil {
		var version string
		if version, err = kernelVersion(ctx, tree); err == nil {
			logf("kernel of the nodes: %s", version)
			return relink(filepath.Base(tree), paths.Kernel)
		}
	}
	version, ownErr := kernelVersion(ctx, "/")
	if ownErr != nil {
		return fmt.Errorf("make the nodes' kernel: %w; and this machine's own: %w", err, ownErr)
	}
	logf("kernel of the nodes: %s, this machine's own; nodes would be faster with a newer one: %v", version, err)
	return relink("/", paths.Kernel)
}

// kernelVersion asks the kernel in a tree for its version.
func kernelVersion(ctx context.Context, tree string) (string, error) {
	argv := append(kernelCommand(tree), "--version")
	output, err := exec.CommandContext(ctx, "unshare", append([]string{"--mount"}, argv...)...).CombinedOutput()
	version := strings.TrimSpace(string(output))
	if err != nil {
		return "", fmt.Errorf("run %s: %w: %s", filepath.Join(tree, umlPath), err, lastLines(version, 3))
	}
	return version, nil
}

// kernel returns the command that starts a node's kernel, without its arguments,
// and the directory of its modules.
func (b *Bed) kernel() (argv []string, modules string, err error) {
	tree, err := filepath.EvalSymlinks(b.Paths.Kernel)
	if err != nil {
		return nil, "", fmt.Errorf("find the nodes' kernel: %w (run `make bed-build`)", err)
	}
	return kernelCommand(tree), filepath.Join(tree, modulesPath), nil
}

// kernelCommand starts the kernel of a tree with the C library of that tree, which
// this machine's own may be older than. It has to run in a mount namespace of its
// own, as `ip netns exec` makes one.
func kernelCommand(tree string) []string {
	const script = `mount --bind "$0/` + libraryPath + `" /` + libraryPath + ` && exec "$0/` + umlPath + `" "$@"`
	return []string{"sh", "-c", script, strings.TrimSuffix(tree, "/")}
}
