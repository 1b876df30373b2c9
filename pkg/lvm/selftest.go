package lvm

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Place says whose mount namespace lvm runs in.
type Place string

// The places.
const (
	InContainer Place = "container" // this process's own
	OnHost      Place = "nsenter"   // that of process 1, which has to be the machine's
	Nowhere     Place = "none"      // there is no lvm, only a Group beside it
)

// Places are all of them, the default first.
var Places = []Place{InContainer, OnHost, Nowhere}

// Finding is something to mend on this machine.
type Finding struct {
	Subject string `json:"subject"`
	Problem string `json:"problem"`
	Fix     string `json:"fix"`
}

// SelfTest finds out whether lvm, as it runs here, shares its locks, its archive
// and its devices file with the machine's own lvm. With a lock directory that
// only a container sees, two writers destroy a volume group within a few commands
// (measured: lvm-provisioners.md, 5.4).
type SelfTest struct {
	Runner Runner
	Place  Place
	// Proc is where proc is mounted; empty means /proc.
	Proc string
	// SystemDir holds lvm.conf and the devices file; empty means /etc/lvm.
	SystemDir string
	// Base is the base directory of a Group beside lvm; "" is none.
	Base string
}

// Private returns what is not shared with the machine, or cannot be told to be:
// while there is anything, nothing may be written. Nothing is found on the
// machine itself, outside of containers. It costs one lvm command.
func (t SelfTest) Private(ctx context.Context) []Finding {
	var found []Finding
	if t.Base != "" {
		found = t.unshared([]string{t.Base}, "what is put there is gone with the container")
	}
	if t.Place == Nowhere {
		return found
	}
	return append(found, t.privateLVM(ctx)...)
}

func (t SelfTest) privateLVM(ctx context.Context) []Finding {
	dirs, err := t.directories(ctx)
	if err != nil {
		return []Finding{{"lvm", fmt.Sprintf("cannot be asked where its locks are: %v", err), fixPlace(t.Place)}}
	}
	if t.Place == OnHost {
		return t.entered()
	}
	return t.unshared(dirs.all(), "with locks or a devices file of its own, lvm here and on the host destroy each other's work")
}

// unshared returns the directories that are not the machine's, and what comes of it.
func (t SelfTest) unshared(dirs []string, harm string) []Finding {
	own, err := t.mounts("self")
	if err != nil {
		return []Finding{{"mounts", fmt.Sprintf("of this process cannot be read: %v", err), "run as root, with /proc mounted"}}
	}
	if t.isMachine("self", own) {
		return nil
	}
	// Process 1 is the machine's where the pod shares its process IDs.
	first, err := t.mounts("1")
	seen := err == nil && t.isMachine("1", first)
	var found []Finding
	for _, dir := range dirs {
		problem := ""
		switch {
		case !seen:
			problem = own.looksPrivate(dir)
		case own.source(dir) != first.source(dir):
			problem = "belongs to this container alone"
		}
		if problem != "" {
			found = append(found, Finding{dir, problem + ": " + harm, "mount the host's " + dir + " there (hostPath)"})
		}
	}
	return found
}

// entered tells whether process 1, whose namespaces lvm is run in, is outside of
// this container. That lvm answered from there was seen before.
func (t SelfTest) entered() []Finding {
	if first, err := t.mounts("1"); err == nil && t.isMachine("1", first) {
		return nil
	}
	own, err1 := os.Readlink(filepath.Join(t.proc(), "self/ns/mnt"))
	first, err2 := os.Readlink(filepath.Join(t.proc(), "1/ns/mnt"))
	if err1 == nil && err2 == nil && own != first {
		return nil
	}
	return []Finding{{"process 1", "is not seen to be the machine's: lvm would run in this container all the same", fixPlace(OnHost)}}
}

func fixPlace(p Place) string {
	if p == OnHost {
		return "give the pod hostPID: true and a privileged container, and install lvm2 on the machine"
	}
	return "install lvm2 (2.03.12 or later) in the image, and mount /etc/lvm and /run/lock/lvm of the host"
}

func (t SelfTest) proc() string {
	if t.Proc == "" {
		return "/proc"
	}
	return t.Proc
}

// directories are those that lvm uses, each with a Finding of its own.
type directories struct{ system, locking, archive, backup string }

func (d directories) all() []string { return []string{d.system, d.locking, d.archive, d.backup} }

// directories asks lvm where it keeps locks, and old metadata.
func (t SelfTest) directories(ctx context.Context) (directories, error) {
	d := directories{system: t.SystemDir}
	if d.system == "" {
		d.system = "/etc/lvm"
	}
	// A setting of its own, for without any, as where there is no lvm.conf, lvmconfig
	// fails (2.03.16).
	out, err := t.Runner.Run(ctx, "self-test", "lvm", "lvmconfig", "--typeconfig", "full", "--config", "log/verbose=0",
		"global/locking_dir", "backup/archive_dir", "backup/backup_dir")
	if err != nil {
		return d, err
	}
	for _, setting := range []struct {
		key string
		dir *string
	}{{"locking_dir", &d.locking}, {"archive_dir", &d.archive}, {"backup_dir", &d.backup}} {
		_, tail, found := strings.Cut("\n"+string(out), "\n"+setting.key+`="`)
		dir, _, closed := strings.Cut(tail, `"`)
		if !found || !closed || !filepath.IsAbs(dir) {
			return d, fmt.Errorf("lvmconfig does not name %s: %q", setting.key, out)
		}
		*setting.dir = filepath.Clean(dir)
	}
	return d, nil
}
