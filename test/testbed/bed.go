package testbed

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// MaxNodes is how many nodes a bed can have: node numbers are one digit of an address.
const MaxNodes = 9

// Config says what a bed looks like. Zero values are filled in by defaults.
type Config struct {
	Nodes    int    `json:"nodes"`    // 1 to MaxNodes
	MemoryMB int    `json:"memoryMB"` // of each node
	Disks    int    `json:"disks"`    // physical volumes of each node
	DiskGB   int    `json:"diskGB"`   // size of each physical volume; sparse on the host
	VG       string `json:"vg"`       // name of the volume group of each node
	// NoVG lists nodes that get disks but no volume group, to show what Berth says of them.
	NoVG []string `json:"noVG,omitempty"`
	// Spare lists nodes that Up leaves switched off: machines to add later.
	Spare []string `json:"spare,omitempty"`
}

func (c Config) withDefaults() Config {
	if c.Nodes == 0 {
		c.Nodes = 3
	}
	if c.MemoryMB == 0 {
		c.MemoryMB = 2048
	}
	if c.Disks == 0 {
		c.Disks = 2
	}
	if c.DiskGB == 0 {
		c.DiskGB = 2
	}
	if c.VG == "" {
		c.VG = "berth"
	}
	return c
}

func (c Config) validate() error {
	var errs []error
	if c.Nodes < 1 || c.Nodes > MaxNodes {
		errs = append(errs, fmt.Errorf("nodes: %d is not between 1 and %d", c.Nodes, MaxNodes))
	}
	if c.MemoryMB < 1024 {
		errs = append(errs, fmt.Errorf("memory: %d MB is too little for kubelet, containerd and a server; give at least 1024", c.MemoryMB))
	}
	if c.Disks < 1 || c.Disks > 8 {
		errs = append(errs, fmt.Errorf("disks: %d is not between 1 and 8", c.Disks))
	}
	if c.DiskGB < 1 {
		errs = append(errs, fmt.Errorf("disk size: %d GB is less than 1", c.DiskGB))
	}
	return errors.Join(errs...)
}

// Paths says where a bed finds what was built for it. None of it belongs to the
// bed: Down leaves it alone.
type Paths struct {
	Bin    string // control plane binaries, testbed itself, Berth's binaries
	RootFS string // root file system of the nodes
	Kernel string // tree that holds the nodes' kernel and its modules
	Images string // container images as tar archives
}

// DefaultPaths are the places below out that the Makefile fills.
func DefaultPaths(out string) Paths {
	return Paths{
		Bin:    filepath.Join(out, "bin"),
		RootFS: filepath.Join(out, "cache", "rootfs"),
		Kernel: filepath.Join(out, "cache", "kernel"),
		Images: filepath.Join(out, "images"),
	}
}

// Bed is one test bed. Its zero value is not usable; call New.
type Bed struct {
	Dir   string
	Paths Paths
	Logf  func(format string, args ...any) // progress for people; may be nil
}

// New names a bed that lives in dir. Nothing is made before Up.
func New(dir string, paths Paths) (*Bed, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("find bed directory %s: %w", dir, err)
	}
	for _, p := range []*string{&paths.Bin, &paths.RootFS, &paths.Kernel, &paths.Images} {
		if *p, err = filepath.Abs(*p); err != nil {
			return nil, fmt.Errorf("find build directory: %w", err)
		}
	}
	return &Bed{Dir: abs, Paths: paths}, nil
}

func (b *Bed) logf(format string, args ...any) {
	if b.Logf != nil {
		b.Logf(format, args...)
	}
}

func (b *Bed) path(elem ...string) string {
	return filepath.Join(append([]string{b.Dir}, elem...)...)
}

// Namespace is the name of the bed's network namespace, derived from its
// directory, so that a bed finds what a crashed predecessor left.
func (b *Bed) Namespace() string {
	sum := sha256.Sum256([]byte(b.Dir))
	return fmt.Sprintf("berth-%x", sum[:4])
}

// Kubeconfig is the path of an administrator's kubeconfig. Its server address is
// reachable inside the bed's network namespace only: see Client and Kubectl.
func (b *Bed) Kubeconfig() string { return b.path("pki", "admin.kubeconfig") }

// Config reads what the bed was started with.
func (b *Bed) Config() (Config, error) {
	var c Config
	raw, err := os.ReadFile(b.path("bed.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return c, fmt.Errorf("no test bed in %s: start one with `testbed up`", b.Dir)
	}
	if err != nil {
		return c, fmt.Errorf("read bed: %w", err)
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return c, fmt.Errorf("read bed: %w", err)
	}
	return c, nil
}

func (b *Bed) saveConfig(c Config) error {
	raw, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(b.path("bed.json"), append(raw, '\n'), 0o644)
}

// NodeNames are the names of a bed's nodes, in order.
func (c Config) NodeNames() []string {
	names := make([]string, c.Nodes)
	for i := range names {
		names[i] = "node" + strconv.Itoa(i+1)
	}
	return names
}

// booted are the names of the nodes that Up switches on.
func (c Config) booted() []string {
	return slices.DeleteFunc(c.NodeNames(), func(name string) bool { return slices.Contains(c.Spare, name) })
}

// node returns the number of a node by its name.
func (c Config) node(name string) (int, error) {
	n, err := strconv.Atoi(strings.TrimPrefix(name, "node"))
	if err != nil || !strings.HasPrefix(name, "node") || n < 1 || n > c.Nodes {
		return 0, fmt.Errorf("no node %q: this bed has %s", name, strings.Join(c.NodeNames(), ", "))
	}
	return n, nil
}

// check says what is missing on this machine or in the build before anything is made.
func (b *Bed) check() error {
	var errs []error
	if os.Geteuid() != 0 {
		errs = append(errs, errors.New("a test bed needs root: it makes a network namespace and tap interfaces"))
	}
	for _, name := range []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kubectl", "testbed"} {
		if _, err := os.Stat(filepath.Join(b.Paths.Bin, name)); err != nil {
			errs = append(errs, fmt.Errorf("%s is not built: run `make bed-build` (%w)", name, err))
		}
	}
	if _, err := os.Stat(filepath.Join(b.Paths.RootFS, "usr", "bin", "containerd")); err != nil {
		errs = append(errs, fmt.Errorf("the nodes' root file system is not built: run `make bed-build` (%w)", err))
	}
	if _, err := os.Stat(filepath.Join(b.Paths.Kernel, umlPath)); err != nil {
		errs = append(errs, fmt.Errorf("the nodes' kernel is missing: run `make bed-build` (%w)", err))
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		errs = append(errs, fmt.Errorf("this machine lacks /dev/net/tun: load the module tun (%w)", err))
	}
	return errors.Join(errs...)
}
