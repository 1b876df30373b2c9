package lvm_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-dev/berth/pkg/lvm"
	"github.com/berth-dev/berth/pkg/lvm/lvmtest"
)

// Mounts of a machine, of containers on it, and of a machine of another kind.
const (
	machine = "26 1 254:0 / / rw - ext4 /dev/vda rw\n" +
		"30 26 0:20 / /run rw - tmpfs tmpfs rw\n"
	bare = "700 600 0:50 / / rw - overlay overlay rw\n" +
		"710 700 0:60 / /run rw - tmpfs tmpfs rw\n"
	lock     = "720 700 0:20 /lock/lvm /run/lock/lvm rw - tmpfs tmpfs rw\n"
	etc      = "721 700 254:0 /etc/lvm /etc/lvm rw - ext4 /dev/vda rw\n"
	etcOther = "721 700 254:7 /etc/lvm /etc/lvm rw - ext4 /dev/vdb rw\n"
	etcEmpty = "721 700 254:0 /var/lib/kubelet/pods/u/volumes/kubernetes.io~empty-dir/lvm /etc/lvm rw - ext4 /dev/vda rw\n"
	lockTmp  = "720 700 0:61 / /run/lock/lvm rw - tmpfs tmpfs rw\n"
	// moved is the machine's root where an initramfs of Linux 7 has moved it.
	moved = "20 2 254:0 / / rw - ext4 /dev/vda rw\n" +
		"30 20 0:20 / /run rw - tmpfs tmpfs rw\n"
	initial, later = "mnt:[4026531832]", "mnt:[4026532095]"
	// A root that is no overlay is a container's all the same.
	btrfs = "700 600 0:51 /snapshots/7 / rw - btrfs /dev/vda rw\n"
)

func TestSelfTest(t *testing.T) {
	for name, c := range map[string]struct {
		self, first string
		place       lvm.Place
		own, other  string // mount namespaces of this process and of process 1
		want        []string
	}{
		"machine":                       {self: machine},
		"machine, its root moved":       {self: moved, own: initial},
		"a root on mount 2, elsewhere":  {self: moved, own: later, want: []string{"/etc/lvm belongs", "/run/lock/lvm cannot be told", "/etc/lvm/archive", "/etc/lvm/backup"}},
		"machine, seen from a chroot":   {self: btrfs, own: initial, want: []string{"/etc/lvm belongs", "/run/lock/lvm belongs", "/etc/lvm/archive", "/etc/lvm/backup"}},
		"container with nothing":        {self: bare, want: []string{"/etc/lvm", "/run/lock/lvm cannot be told", "/etc/lvm/archive", "/etc/lvm/backup"}},
		"not an overlay":                {self: btrfs, want: []string{"/etc/lvm belongs", "/run/lock/lvm belongs", "/etc/lvm/archive", "/etc/lvm/backup"}},
		"lock directory only":           {self: bare + lock, want: []string{"/etc/lvm belongs", "/etc/lvm/archive", "/etc/lvm/backup"}},
		"both":                          {self: bare + lock + etc},
		"archive of its own":            {self: bare + lock + etc + "722 721 0:62 / /etc/lvm/archive rw - tmpfs tmpfs rw\n", want: []string{"/etc/lvm/archive cannot be told"}},
		"volume of the pod":             {self: bare + lock + etcEmpty, want: []string{"/etc/lvm is a volume of this pod alone", "/etc/lvm/archive", "/etc/lvm/backup"}},
		"lock directory in memory":      {self: bare + lockTmp + etc, want: []string{"/run/lock/lvm cannot be told to be the host's"}},
		"compared, the same":            {self: bare + lock + etc, first: machine},
		"compared, another file system": {self: bare + lock + etcOther, first: machine, want: []string{"/etc/lvm belongs", "/etc/lvm/archive", "/etc/lvm/backup"}},
		"compared, its root moved":      {self: bare + lock + etcOther, first: moved, own: later, other: initial, want: []string{"/etc/lvm belongs", "/etc/lvm/archive", "/etc/lvm/backup"}},
		"process 1 is the container's":  {self: bare + lock + etcOther, first: bare},
		"mounts are not readable":       {self: "", want: []string{"mounts of this process"}},
		"entered":                       {place: lvm.OnHost, first: machine},
		"entered a machine in a box":    {place: lvm.OnHost, self: bare, first: btrfs, own: "mnt:[1]", other: "mnt:[2]"},
		"entered nothing":               {place: lvm.OnHost, self: bare, first: bare, own: "mnt:[1]", other: "mnt:[1]", want: []string{"process 1 is not seen"}},
		"cannot see process 1":          {place: lvm.OnHost, self: bare, want: []string{"process 1 is not seen"}},
	} {
		t.Run(name, func(t *testing.T) {
			proc := t.TempDir()
			for pid, content := range map[string]string{"self": c.self, "1": c.first} {
				if err := os.MkdirAll(filepath.Join(proc, pid, "ns"), 0o755); err != nil {
					t.Fatal(err)
				}
				if content == "" {
					continue
				}
				if err := os.WriteFile(filepath.Join(proc, pid, "mountinfo"), []byte(content), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			for pid, ns := range map[string]string{"self": c.own, "1": c.other} {
				if ns == "" {
					continue
				}
				if err := os.Symlink(ns, filepath.Join(proc, pid, "ns/mnt")); err != nil {
					t.Fatal(err)
				}
			}
			test := lvm.SelfTest{Runner: lvmtest.NewDisk(8, "berth"), Place: c.place, Proc: proc}
			found := test.Private(t.Context())
			if len(found) != len(c.want) {
				t.Fatalf("found %+v, want %q", found, c.want)
			}
			for i, f := range found {
				if text := f.Subject + " " + f.Problem; !strings.Contains(text, c.want[i]) || f.Fix == "" {
					t.Errorf("found %+v, want %q and what to do", f, c.want[i])
				}
			}
		})
	}
}

type silent struct{ out string }

func (s silent) Run(context.Context, string, string, ...string) ([]byte, error) {
	if s.out == "" {
		return nil, errors.New("no such program")
	}
	return []byte(s.out), nil
}

// What lvm does not say is not taken for its default.
func TestSelfTestWithoutAnswer(t *testing.T) {
	proc := t.TempDir()
	if err := os.MkdirAll(filepath.Join(proc, "self"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(proc, "self/mountinfo"), []byte(machine), 0o644); err != nil {
		t.Fatal(err)
	}
	for out, want := range map[string]string{
		"":                                "no such program",
		"locking_dir=\"/run/lock/lvm\"\n": "does not name archive_dir",
		"locking_dir=\"lock\"\n":          "does not name locking_dir",
		"locking_dir=\"/run/lock":         "does not name locking_dir",
	} {
		found := lvm.SelfTest{Runner: silent{out}, Proc: proc}.Private(t.Context())
		if len(found) != 1 || !strings.Contains(found[0].Problem, want) {
			t.Errorf("%q: found %+v, want %q", out, found, want)
		}
	}
}

// lvm's own answer, on this machine's lvm.
func TestLVMSelfTestAsksLVM(t *testing.T) {
	proc := t.TempDir()
	for _, pid := range []string{"self", "1"} {
		if err := os.MkdirAll(filepath.Join(proc, pid), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(proc, pid, "mountinfo"), []byte(btrfs), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	run := lvm.Exec{Env: []string{"LVM_SYSTEM_DIR=" + t.TempDir()}}
	subjects := map[string]bool{}
	for _, f := range (lvm.SelfTest{Runner: run, Proc: proc}).Private(t.Context()) {
		subjects[f.Subject] = true
	}
	for _, dir := range []string{"/etc/lvm", "/run/lock/lvm"} {
		if !subjects[dir] {
			t.Errorf("%s was not looked at: %v", dir, subjects)
		}
	}
	if len(subjects) != 4 {
		t.Errorf("looked at %v, want locks, archive, backup and configuration", subjects)
	}
}

// Where the machine has a directory mounted, seen from the machine and from a pod
// that shares its process IDs; elsewhere it cannot be told.
func TestMounted(t *testing.T) {
	const (
		base  = "730 700 254:0 /srv/berth /srv/berth rw - ext4 /dev/vda rw\n"
		pod   = "40 26 254:0 /srv/berth/v1/data /var/lib/kubelet/pods/u/volumes/kubernetes.io~local-volume/pv rw - ext4 /dev/vda rw\n"
		other = "41 26 254:7 /srv/berth/v1/data /mnt rw - ext4 /dev/vdb rw\n"
		alike = "42 26 254:0 /srv/berth/v10/data /mnt rw - ext4 /dev/vda rw\n"
		on    = "43 26 254:9 / /srv/berth/v1/data/x rw - ext4 /dev/vdc rw\n"
	)
	for name, c := range map[string]struct {
		self, first, namespace, want string
		unseen                       bool
	}{
		"machine":                      {machine, machine, "", "", false},
		"machine, a pod":               {machine, machine + pod, "", "/var/lib/kubelet/pods/u/volumes/kubernetes.io~local-volume/pv", false},
		"pod, a pod":                   {bare + base, machine + pod, "", "/var/lib/kubelet/pods/u/volumes/kubernetes.io~local-volume/pv", false},
		"pod, a pod, root moved":       {bare + base, moved + pod, initial, "/var/lib/kubelet/pods/u/volumes/kubernetes.io~local-volume/pv", false},
		"pod, others":                  {bare + base, machine + other + alike, "", "", false},
		"something mounted in it":      {bare + base, machine + on, "", "/srv/berth/v1/data/x", false},
		"process 1 is not the machine": {bare + base, bare, later, "", true},
		"process 1 is not seen":        {bare + base, "", "", "", true},
	} {
		t.Run(name, func(t *testing.T) {
			proc := t.TempDir()
			for pid, content := range map[string]string{"self": c.self, "1": c.first} {
				if err := os.Mkdir(filepath.Join(proc, pid), 0o755); err != nil {
					t.Fatal(err)
				}
				if content == "" {
					continue
				}
				if err := os.WriteFile(filepath.Join(proc, pid, "mountinfo"), []byte(content), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if c.namespace != "" {
				if err := errors.Join(os.Mkdir(filepath.Join(proc, "1/ns"), 0o755), os.Symlink(c.namespace, filepath.Join(proc, "1/ns/mnt"))); err != nil {
					t.Fatal(err)
				}
			}
			where, err := lvm.SelfTest{Proc: proc}.Mounted("/srv/berth/v1")
			if got := strings.Join(where, " "); got != c.want || (err != nil) != c.unseen {
				t.Errorf("mounted on %q, %v; want %q", got, err, c.want)
			}
			// That the base directory is the machine's is looked for without any lvm.
			found := lvm.SelfTest{Proc: proc, Place: lvm.Nowhere, Base: "/srv/berth"}.Private(t.Context())
			if len(found) != 0 {
				t.Errorf("found %+v", found)
			}
		})
	}
	proc := t.TempDir()
	if err := errors.Join(os.Mkdir(filepath.Join(proc, "self"), 0o755), os.WriteFile(filepath.Join(proc, "self/mountinfo"), []byte(bare), 0o644)); err != nil {
		t.Fatal(err)
	}
	found := lvm.SelfTest{Proc: proc, Place: lvm.Nowhere, Base: "/srv/berth"}.Private(t.Context())
	if len(found) != 1 || found[0].Subject != "/srv/berth" || !strings.Contains(found[0].Problem, "gone with the container") {
		t.Errorf("a directory of the container alone: %+v", found)
	}
}
