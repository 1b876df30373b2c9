package lvmtest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-dev/berth/pkg/lvm"
)

// LoopGroup makes a volume group on a loop device, with an LVM configuration
// and a lock directory of its own, and returns a Runner whose lvm sees nothing
// else. Use it with lvm.MetadataOnly: metadata, locking and exit codes are real
// then, and no device-mapper is needed. It needs root.
func LoopGroup(t testing.TB, vg, size string) lvm.Runner {
	t.Helper()
	return NewLoop(t, vg, size)
}

// Loop is a volume group on loop devices, and the Runner whose lvm sees it.
type Loop struct {
	lvm.Exec
	t       testing.TB
	dir     string
	devices []string
}

// NewLoop makes a volume group with a physical volume of each size.
func NewLoop(t testing.TB, vg string, sizes ...string) *Loop {
	t.Helper()
	l := &Loop{t: t, dir: t.TempDir()}
	l.Env = []string{"LVM_SYSTEM_DIR=" + l.dir}
	for i, size := range sizes {
		disk := filepath.Join(l.dir, fmt.Sprintf("disk%d", i))
		command(t, "truncate", "-s", size, disk)
		device := strings.TrimSpace(command(t, "losetup", "--find", "--show", disk))
		t.Cleanup(func() { command(t, "losetup", "--detach", device) })
		l.devices = append(l.devices, device)
	}
	l.See(len(sizes))
	for _, args := range [][]string{append([]string{"pvcreate", "--driverloaded", "n"}, l.devices...), append([]string{"vgcreate", "--driverloaded", "n", vg}, l.devices...)} {
		if _, err := l.Run(t.Context(), "setup", "lvm", args...); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

// Shell is a Runner that keeps one lvm open on the volume group until the test ends.
func (l *Loop) Shell() *lvm.Shell {
	l.t.Helper()
	// lvm looks for profiles beside its configuration.
	if err := os.CopyFS(filepath.Join(l.dir, "profile"), os.DirFS("/etc/lvm/profile")); err != nil && !errors.Is(err, fs.ErrExist) {
		l.t.Fatal(err)
	}
	s := &lvm.Shell{Exec: l.Exec, Said: func(err error) { l.t.Errorf("no shell: %v", err) }}
	l.t.Cleanup(s.Close)
	return s
}

// Devices are the loop devices, and Dir has lvm's configuration, and its locks in lock.
func (l *Loop) Devices() []string { return l.devices }
func (l *Loop) Dir() string       { return l.dir }

// See lets lvm see the first n of the devices: the others are missing.
func (l *Loop) See(n int) {
	l.t.Helper()
	var filter []string
	for _, device := range l.devices[:n] {
		filter = append(filter, fmt.Sprintf("%q", "a|^"+device+"$|"))
	}
	// Hints of where physical volumes are lie in one file for the whole machine.
	config := fmt.Sprintf(`devices { filter=[%s,"r|.*|"] use_devicesfile=0 obtain_device_list_from_udev=0 external_device_info_source="none" hints="none" }
global { locking_dir=%q }
activation { udev_sync=0 udev_rules=0 }
`, strings.Join(filter, ","), filepath.Join(l.dir, "lock"))
	if err := os.WriteFile(filepath.Join(l.dir, "lvm.conf"), []byte(config), 0o600); err != nil {
		l.t.Fatal(err)
	}
}

func command(t testing.TB, name string, args ...string) string {
	t.Helper()
	// Not the test's context: clean-up runs when that has ended.
	out, err := exec.CommandContext(context.Background(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}
