package lvmtest

import (
	"context"
	"fmt"
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
func LoopGroup(t *testing.T, vg, size string) lvm.Runner {
	t.Helper()
	dir := t.TempDir()
	disk := filepath.Join(dir, "disk")
	command(t, "truncate", "-s", size, disk)
	device := strings.TrimSpace(command(t, "losetup", "--find", "--show", disk))
	t.Cleanup(func() { command(t, "losetup", "--detach", device) })
	config := fmt.Sprintf(`devices { filter=["a|^%s$|","r|.*|"] use_devicesfile=0 obtain_device_list_from_udev=0 external_device_info_source="none" }
global { locking_dir=%q }
activation { udev_sync=0 udev_rules=0 }
`, device, filepath.Join(dir, "lock"))
	if err := os.WriteFile(filepath.Join(dir, "lvm.conf"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	run := lvm.Exec{Env: []string{"LVM_SYSTEM_DIR=" + dir}}
	for _, args := range [][]string{{"pvcreate", "--driverloaded", "n", device}, {"vgcreate", "--driverloaded", "n", vg, device}} {
		if _, err := run.Run(t.Context(), "setup", "lvm", args...); err != nil {
			t.Fatal(err)
		}
	}
	return run
}

func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	// Not the test's context: clean-up runs when that has ended.
	out, err := exec.CommandContext(context.Background(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}
