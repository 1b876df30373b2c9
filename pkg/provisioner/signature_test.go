package provisioner

import (
	"strings"
	"testing"

	"github.com/berth-dev/berth/pkg/lvm/lvmtest"
)

// Scenario 24: a new volume lies on blocks with a former owner's signature. lvcreate
// is told to wipe it without a question; what it passes over is never formatted.
func TestCreateOverOldSignatures(t *testing.T) {
	for _, old := range []string{"ext4", "xfs", "crypto_LUKS", "linux_raid_member", "jmicron_raid_member", "LVM2_member"} {
		t.Run(old, func(t *testing.T) {
			f := newFixture(t)
			f.disk.SetOld("berth", old)
			f.mustProvision("data-galera-0")
			if lv := f.oneLV(); lv.Formats != 1 || lv.FSType != "ext4" || len(f.disk.Violations()) != 0 {
				t.Errorf("%+v, violations %v", lv, f.disk.Violations())
			}
		})
	}
	t.Run("not wiped", func(t *testing.T) {
		f := newFixture(t)
		f.disk.SetOld("berth", "ambiguous")
		claim := f.claim("data-galera-0", "10Mi")
		for range 2 {
			if _, err := f.provision(claim); err == nil || !strings.Contains(err.Error(), "is not served") {
				t.Errorf("provision: %v", err)
			}
		}
		if lv := f.oneLV(); lv.Formats != 0 || lv.FSType != "ambiguous" {
			t.Errorf("%+v", lv)
		}
		if n := len(f.pvs()); n != 0 {
			t.Errorf("%d PVs", n)
		}
	})
}

// A test of the test: without -y lvcreate asks, and fails where nobody answers.
func TestOldSignaturesInMemory(t *testing.T) {
	disk := lvmtest.NewDisk(8, "berth")
	disk.SetOld("berth", "ext4")
	for _, c := range []struct{ flags, want string }{{"-W y -Z y", "Aborted wiping of ext4"}, {"-y -W n -Z n", ""}} {
		args := append(append([]string{"lvcreate"}, strings.Fields(c.flags)...), "-l", "1", "-n", "berth-a", "berth")
		_, err := disk.Run(t.Context(), "test", "lvm", args...)
		if got := err == nil; got != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.flags, err, c.want)
		}
	}
	if all := disk.Volumes(); len(all) != 1 || all[0].FSType != "ext4" {
		t.Errorf("%+v", all)
	}
}
