//go:build outages

package e2e

import (
	"context"
	"strings"
	"testing"
	"time"
)

// TestVolumeForeign gives the machine another system ID while volumes of its group are
// active: disks of another machine, as far as lvm can tell. lvm refuses to change such a
// group, and so must an lvm that the agent keeps open and that has worked on it before:
// after a report, one for all commands would change it (docs/decisions/0009).
func TestVolumeForeign(t *testing.T) {
	execute(t, volumesNode, "sh", "-c", `cp /etc/lvm/lvm.conf /run/lvm.conf && printf '\nglobal/system_id_source="lvmlocal"\n' >>/etc/lvm/lvm.conf`)
	systemID(t, "this")
	startVolumes(t)
	class(t, "plain", "fsType: ext4")
	mine := placed(t, "mine", "plain", "64Mi") // each lvm has been opened
	mine.write(t)
	execute(t, volumesNode, "lvm", "vgchange", "-q", "-y", "--systemid", "this", "berth")
	t.Cleanup(func() {
		own := []string{"--config", `global/system_id_source="lvmlocal" local/system_id="this"`} // whoever the machine is when the test fails
		for _, args := range [][]string{append([]string{"lvm", "vgchange", "-q", "-y", "--systemid", "", "berth"}, own...), {"cp", "/run/lvm.conf", "/etc/lvm/lvm.conf"}} {
			if _, err := suite.bed.Exec(context.Background(), volumesNode, args...); err != nil {
				t.Error(err)
			}
		}
	})
	placed(t, "before", "plain", "64Mi").remove(t)
	before, since := groupSeqno(t), time.Now()

	systemID(t, "other")
	ask(t, "new", "plain", "64Mi", "", "schedulerName: berth-scheduler") // the agent sends it back to the scheduler
	wantEventSince(t, since, volumesNamespace, "PersistentVolumeClaim", "new", "ProvisioningFailed", "belongs to system ID this", "vgchange")
	if after := strings.TrimSpace(execute(t, volumesNode, "lvm", "vgs", "--foreign", "--noheadings", "-o", "vg_seqno", "berth")); after != before {
		t.Errorf("the metadata of a foreign group was changed: from %s to %s", before, after)
	}
	systemID(t, "this")
	mounted(t, "new", "plain").remove(t)
	mine.holds(t)
	mine.remove(t)
}

// systemID is who the machine is to lvm.
func systemID(t *testing.T, id string) {
	t.Helper()
	execute(t, volumesNode, "sh", "-c", `printf 'local { system_id="%s" }\n' "$1" >/etc/lvm/lvmlocal.conf`, "sh", id)
}
