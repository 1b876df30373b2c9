package lvm

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// mounts is what a process sees mounted, in the order of mounting. Format:
// proc_pid_mountinfo(5).
type mounts []mount

type mount struct {
	parent string // ID of the mount below
	device string // major:minor of the file system
	root   string // what of the file system is mounted
	point  string // where
}

func (t SelfTest) mounts(pid string) (mounts, error) {
	raw, err := os.ReadFile(filepath.Join(t.proc(), pid, "mountinfo"))
	if err != nil {
		return nil, err
	}
	var all mounts
	for line := range strings.Lines(string(raw)) {
		fields := strings.Fields(line)
		if len(fields) < 6 {
			return nil, fmt.Errorf("mountinfo has a line %q", line)
		}
		all = append(all, mount{fields[1], fields[2], fields[3], fields[4]})
	}
	return all, nil
}

// machineNamespace is the kernel's first mount namespace, where it has a number of
// its own (MNT_NS_INIT_INO, include/uapi/linux/nsfs.h).
const machineNamespace = "mnt:[4026531832]"

// isMachine reports that these mounts of a process are those of the machine itself.
// Mount 1 is the kernel's first, and a copy of it in another namespace has another
// number. Since Linux 7.0 mount 2 may be below the machine's root as well, where an
// initramfs moved it there (seen with 7.2); that number may be anybody's later, so the
// namespace has to be the first one.
func (t SelfTest) isMachine(pid string, m mounts) bool {
	for _, e := range m {
		switch {
		case e.point != "/":
		case e.parent == "1":
			return true
		case e.parent == "2":
			namespace, err := os.Readlink(filepath.Join(t.proc(), pid, "ns/mnt"))
			return err == nil && namespace == machineNamespace
		}
	}
	return false
}

// holding returns the mount that a directory lies in. Of several on one point the
// last hides the others.
func (m mounts) holding(dir string) mount {
	var best mount
	for _, e := range m {
		if len(e.point) >= len(best.point) && (e.point == "/" || e.point == dir || strings.HasPrefix(dir, e.point+"/")) {
			best = e
		}
	}
	return best
}

// source names a directory by its file system and its place in that: the same
// answer in two namespaces is the same directory.
func (m mounts) source(dir string) string {
	e := m.holding(dir)
	return e.device + " " + filepath.Join(e.root, strings.TrimPrefix(dir, e.point))
}

// Mounted returns where the machine has a directory mounted, or anything in it, and
// where in it anything is mounted. That this cannot be seen is an error.
func (t SelfTest) Mounted(dir string) ([]string, error) {
	own, err := t.mounts("self")
	if err != nil {
		return nil, err
	}
	first, err := t.mounts("1")
	if err != nil {
		return nil, err
	}
	if !t.isMachine("1", first) {
		return nil, errors.New("the machine's mounts are not seen (in a pod: hostPID)")
	}
	within := func(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }
	at := own.holding(dir)
	root := filepath.Join(at.root, strings.TrimPrefix(dir, at.point))
	var where []string
	for _, e := range append(first, own...) {
		if e.device == at.device && within(e.root, root) || within(e.point, dir) {
			where = append(where, e.point)
		}
	}
	slices.Sort(where)
	return slices.Compact(where), nil
}

// looksPrivate says why a directory of a container is not the machine's, or
// cannot be told to be, where the machine's own mounts cannot be seen; "" says
// that it is. A directory of the machine is mounted under the name that it has there.
func (m mounts) looksPrivate(dir string) string {
	e := m.holding(dir)
	switch {
	case e.point == "/" || e.point == "":
		return "belongs to this container alone"
	case strings.Contains(e.root, "/volumes/kubernetes.io~"):
		return "is a volume of this pod alone"
	case filepath.Base(e.root) != filepath.Base(e.point):
		return fmt.Sprintf("cannot be told to be the host's: %s of a file system is mounted on %s", e.root, e.point)
	default:
		return ""
	}
}
