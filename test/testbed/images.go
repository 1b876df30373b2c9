package testbed

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// suite is the Debian release that nodes and images are made of: the one whose
// LVM, MariaDB and Galera versions the reference was measured with.
const suite = "bookworm"

// debian is a root file system made from Debian packages.
type debian struct {
	suite    string // empty: suite
	unpacked bool   // the packages are unpacked, not set up: a tree to take files from
	packages []string
	hooks    []string // mmdebstrap hooks, run before the packages are installed
	// unneeded are paths that are removed in the end, with wildcards: a node under
	// User-Mode Linux unpacks an image at a hundred files a second.
	unneeded []string
}

// nodeSystem is what the nodes boot from.
var nodeSystem = debian{packages: []string{
	"ca-certificates", "containerd", "containernetworking-plugins", "e2fsprogs", "iproute2", "iptables", "kmod",
	"lvm2", "mount", "procps", "runc", "thin-provisioning-tools", "util-linux", "xfsprogs",
}}

// imageSystem is the one Debian layer below all images that need a system: a
// node unpacks it once.
var imageSystem = debian{
	packages: []string{
		"e2fsprogs", "galera-4", "iproute2", "lvm2", "mariadb-server", "procps", "rsync", "socat",
		"thin-provisioning-tools", "util-linux", "xfsprogs",
	},
	// A fixed user, so that manifests can name it.
	hooks: []string{
		`echo mysql:x:999:999:MariaDB:/nonexistent:/bin/false >>"$1/etc/passwd"`,
		`echo mysql:x:999: >>"$1/etc/group"`,
	},
	unneeded: []string{
		"/usr/bin/aria_*", "/usr/bin/myisam*", "/usr/bin/perl*", "/usr/bin/python3*", "/usr/include", "/usr/lib/python3*", "/usr/lib/*/perl*",
		"/usr/share/bash-completion", "/usr/share/perl*", "/usr/share/python3", "/var/cache/*", "/var/lib/apt/*", "/var/lib/dpkg/info", "/var/lib/mysql/*",
	},
}

// imageRecipe is a container image: the Debian layer, if it needs one, and
// binaries of the build, placed in /usr/local/bin.
type imageRecipe struct {
	reference string
	debian    bool
	binaries  []string
	user      string
}

var imageRecipes = []imageRecipe{
	{reference: "berth.local/mariadb:10.11", debian: true, user: "999:999"},
	{reference: "berth.local/lvm-provisioner:dev", debian: true, binaries: []string{"lvm-provisioner"}},
	{reference: "berth.local/pause:dev", binaries: []string{"pause"}},
	{reference: "berth.local/galera-init:dev", binaries: []string{"galera-init"}},
	{reference: "berth.local/scheduler-plugin:dev", binaries: []string{"scheduler-plugin"}},
}

func (d debian) args(target string) []string {
	variant := "minbase"
	if d.unpacked {
		variant = "extract"
	}
	args := []string{
		"--variant=" + variant, "--quiet", "--include=" + strings.Join(d.packages, ","),
		"--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*",
		"--dpkgopt=path-exclude=/usr/share/locale/*", "--dpkgopt=path-exclude=/usr/share/info/*",
		"--dpkgopt=path-exclude=/usr/share/zoneinfo/*", "--dpkgopt=path-exclude=/usr/share/lintian/*",
		// A mirror may lag behind; signatures are checked all the same.
		`--aptopt=Acquire::Check-Valid-Until "false"`,
	}
	for _, hook := range d.hooks {
		args = append(args, "--essential-hook="+hook)
	}
	for _, path := range d.unneeded {
		args = append(args, `--customize-hook=rm -rf "$1"`+path)
	}
	return append(args, cmp.Or(d.suite, suite), target)
}

func (d debian) digest() string {
	return fmt.Sprintf("%x", sha256.Sum256([]byte(strings.Join(d.args(""), "\x00"))))[:12]
}

// bootstrap makes the root file system at target, a directory or a name that
// ends in .tar, unless it is there already. A half-made one is never left under
// the target's name.
func (d debian) bootstrap(ctx context.Context, target string) error {
	if _, err := os.Stat(target); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	partial := filepath.Join(filepath.Dir(target), "partial-"+filepath.Base(target))
	if err := os.RemoveAll(partial); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "mmdebstrap", d.args(partial)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		return errors.Join(fmt.Errorf("make %s with mmdebstrap: %w: %s", filepath.Base(target), err, lastLines(stderr.String(), 5)), os.RemoveAll(partial))
	}
	return os.Rename(partial, target)
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// Build makes the root file system of the nodes, their kernel and all container images. What
// is there already and still right is left alone: Debian trees are named by
// their recipe, images are made again when what they are made of has changed.
func Build(ctx context.Context, paths Paths, logf func(string, ...any)) error {
	cache := filepath.Dir(paths.RootFS)
	tree := filepath.Join(cache, "node-"+nodeSystem.digest())
	logf("root file system of the nodes")
	if err := nodeSystem.bootstrap(ctx, tree); err != nil {
		return err
	}
	if err := relink(filepath.Base(tree), paths.RootFS); err != nil {
		return err
	}
	if err := buildKernel(ctx, paths, logf); err != nil {
		return err
	}
	for _, recipe := range imageRecipes {
		logf("image %s", recipe.reference)
		if err := recipe.build(ctx, paths, cache); err != nil {
			return fmt.Errorf("build image %s: %w", recipe.reference, err)
		}
	}
	return nil
}

func relink(target, name string) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.Symlink(target, name)
}

func (r imageRecipe) file(paths Paths) string {
	base, _, _ := strings.Cut(filepath.Base(r.reference), ":")
	return filepath.Join(paths.Images, base+".tar")
}

func (r imageRecipe) build(ctx context.Context, paths Paths, cache string) error {
	inputs, err := r.inputs(paths)
	if err != nil {
		return err
	}
	made := r.file(paths) + ".inputs"
	if former, err := os.ReadFile(made); err == nil && string(former) == inputs {
		return nil
	}
	var layers []v1.Layer
	if r.debian {
		tree := filepath.Join(cache, "image-"+imageSystem.digest()+".tar")
		if err := imageSystem.bootstrap(ctx, tree); err != nil {
			return err
		}
		content, err := os.ReadFile(tree)
		if err != nil {
			return err
		}
		layers = append(layers, static.NewLayer(content, types.DockerUncompressedLayer))
	}
	if len(r.binaries) > 0 {
		layer, err := binaryLayer(paths.Bin, r.binaries)
		if err != nil {
			return err
		}
		layers = append(layers, layer)
	}
	image, err := mutate.AppendLayers(empty.Image, layers...)
	if err != nil {
		return err
	}
	config := v1.Config{User: r.user, Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}}
	if len(r.binaries) == 1 {
		config.Entrypoint = []string{"/usr/local/bin/" + r.binaries[0]}
	}
	if image, err = mutate.Config(image, config); err != nil {
		return err
	}
	file, err := image.ConfigFile()
	if err != nil {
		return err
	}
	file = file.DeepCopy()
	file.Architecture, file.OS = "amd64", "linux"
	if image, err = mutate.ConfigFile(image, file); err != nil {
		return err
	}
	tag, err := name.NewTag(r.reference)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(paths.Images, 0o755); err != nil {
		return err
	}
	partial := r.file(paths) + ".partial"
	if err := tarball.WriteToFile(partial, tag, image); err != nil {
		return err
	}
	if err := os.Rename(partial, r.file(paths)); err != nil {
		return err
	}
	return os.WriteFile(made, []byte(inputs), 0o644)
}

// inputs names everything that the image is made of. Times do not tell: go build
// touches binaries that it need not build.
func (r imageRecipe) inputs(paths Paths) (string, error) {
	inputs := r.reference + " " + r.user + "\n"
	if r.debian {
		inputs += "debian " + imageSystem.digest() + "\n"
	}
	for _, binary := range r.binaries {
		content, err := os.ReadFile(filepath.Join(paths.Bin, binary))
		if err != nil {
			return "", err
		}
		inputs += fmt.Sprintf("%s %x\n", binary, sha256.Sum256(content))
	}
	return inputs, nil
}

// binaryLayer puts binaries into /usr/local/bin, with fixed times, so that the
// same binaries give the same layer.
func binaryLayer(dir string, binaries []string) (v1.Layer, error) {
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for _, path := range []string{"usr/", "usr/local/", "usr/local/bin/"} {
		header := tar.Header{Typeflag: tar.TypeDir, Name: path, Mode: 0o755, ModTime: time.Unix(0, 0)}
		if err := w.WriteHeader(&header); err != nil {
			return nil, err
		}
	}
	for _, binary := range binaries {
		content, err := os.ReadFile(filepath.Join(dir, binary))
		if err != nil {
			return nil, err
		}
		header := tar.Header{Typeflag: tar.TypeReg, Name: "usr/local/bin/" + binary, Mode: 0o755, Size: int64(len(content)), ModTime: time.Unix(0, 0)}
		if err := w.WriteHeader(&header); err != nil {
			return nil, err
		}
		if _, err := w.Write(content); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return static.NewLayer(archive.Bytes(), types.DockerUncompressedLayer), nil
}

// LoadImages imports every image of the build into the named nodes, all nodes at once.
func (b *Bed) LoadImages(ctx context.Context, names ...string) error {
	errs := make([]error, len(names))
	var wait sync.WaitGroup
	for i, node := range names {
		wait.Go(func() {
			for _, recipe := range imageRecipes {
				if err := b.LoadImage(ctx, node, recipe.file(b.Paths)); err != nil {
					errs[i] = err
					return
				}
			}
		})
	}
	wait.Wait()
	return errors.Join(errs...)
}

// LoadImage imports one image archive into a node, which reads it from the bed's
// directory: its own network would be much slower.
func (b *Bed) LoadImage(ctx context.Context, node, archive string) error {
	name := filepath.Base(archive)
	if err := link(archive, b.path("images", name)); err != nil {
		return fmt.Errorf("load image: %w (run `make bed-build`)", err)
	}
	if _, err := b.Exec(ctx, node, "ctr", "--namespace", "k8s.io", "images", "import", "/run/bed/images/"+name); err != nil {
		return fmt.Errorf("load image %s: %w", name, err)
	}
	return nil
}
