//go:build outages

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The node's two physical volumes, and the file behind the one that it loses.
const (
	keptDisk, lostDisk = "/dev/ubdb", "/dev/ubdc"
	lostDiskFile       = volumesNode + "-2.img"
)

// TestVolumeLostDisk boots the node without one of its two disks. What lies on
// the other one is served, a mirrored volume on the copy that is left; nothing is
// written to the volume group, so that the disk is as good as before when it is back.
func TestVolumeLostDisk(t *testing.T) {
	startVolumes(t)
	class(t, "plain", "fsType: ext4")
	class(t, "mirror", "type: raid1, fsType: ext4")
	mirror := placed(t, "mirror", "mirror", "64Mi")
	kept, lost := placedOn(t, "kept", keptDisk), placedOn(t, "lost", lostDisk)
	for _, v := range []used{mirror, kept, lost} {
		v.write(t)
	}
	eventually(t, "both copies are the same", mirror.mirrored)
	before, since := groupSeqno(t), time.Now()

	boot(t, false)
	for _, v := range []used{mirror, kept} {
		eventually(t, v.claim+" is served", v.whole)
	}
	wantEventSince(t, since, metav1.NamespaceDefault, "Node", volumesNode, "VolumeNotAvailable", lost.lvName)
	wantEventSince(t, since, metav1.NamespaceDefault, "Node", volumesNode, "VolumeGroupPartial", "1 physical volumes of volume group \"berth\"")
	execute(t, volumesNode, "sh", "-c", `echo "on one disk" >"$1/later" && sync -f "$1/later"`, "sh", mirror.dir)
	request(t, "new", "plain", "64Mi")
	wantEventSince(t, since, volumesNamespace, "PersistentVolumeClaim", "new", "ProvisioningFailed", "are missing, nothing is written to it")
	eventually(t, "the node says that it has no room", func(ctx context.Context) error {
		free, err := offers(ctx)
		if room, told := free["volumes-plain"]; err == nil && (!told || room > 0) {
			err = fmt.Errorf("it offers %v", free)
		}
		return err
	})
	used{claim: "new"}.deleteClaim(t)
	if after := groupSeqno(t); after != before {
		t.Errorf("the metadata was changed without the disk: from %s to %s", before, after)
	}

	boot(t, true)
	for _, v := range []used{mirror, kept, lost} {
		eventually(t, v.claim+" is served", v.whole)
	}
	eventually(t, "both copies are the same", mirror.mirrored)
	if later := execute(t, volumesNode, "cat", mirror.dir+"/later"); later != "on one disk\n" {
		t.Errorf("what was written to one copy is now %q", later)
	}
	for _, v := range []used{mirror, kept, lost} {
		v.remove(t)
	}
}

// placedOn makes claim and pod while lvm may use one disk only.
func placedOn(t *testing.T, claim, disk string) used {
	t.Helper()
	other := map[string]string{keptDisk: lostDisk, lostDisk: keptDisk}[disk]
	execute(t, volumesNode, "lvm", "pvchange", "-q", "-x", "n", other)
	v := placed(t, claim, "plain", "64Mi")
	execute(t, volumesNode, "lvm", "pvchange", "-q", "-x", "y", other)
	if at := v.lvs(t, "seg_pe_ranges"); !strings.HasPrefix(at, disk+":") {
		t.Fatalf("the volume of %s lies on %s", claim, at)
	}
	return v
}

// mirrored says whether lvm calls a raid1 volume whole and in step, and its copies
// on the disks are the same, byte for byte.
func (v used) mirrored(ctx context.Context) error {
	out, err := suite.bed.Exec(ctx, volumesNode, "lvm", "lvs", "--noheadings", "-o", "copy_percent,raid_sync_action,lv_health_status", "-S", "lv_uuid="+v.lvUUID)
	if state := strings.Join(strings.Fields(out), " "); err != nil || state != "100.00 idle" {
		return fmt.Errorf("lvm says %q of it: %v", state, err)
	}
	_, err = suite.bed.Exec(ctx, volumesNode, "sh", "-euc", `
fsfreeze --freeze "$1"
trap 'fsfreeze --unfreeze "$1"' EXIT
sum() { dd if="/dev/mapper/$1" iflag=direct bs=1M status=none | sha256sum; }
test "$(sum "$2_rimage_0")" = "$(sum "$2_rimage_1")"`, "sh", v.dir, mapped(v.lvName))
	return err
}

func groupSeqno(t *testing.T) string {
	t.Helper()
	return strings.TrimSpace(execute(t, volumesNode, "lvm", "vgs", "--noheadings", "-o", "vg_seqno", "berth"))
}

// boot cuts the node's power and boots it, with the disk that it may lose or
// without. After the test it has it.
func boot(t *testing.T, withDisk bool) {
	t.Helper()
	file := filepath.Join(suite.bed.Dir, "disks", lostDiskFile)
	away := file + ".away"
	from, to := file, away
	if withDisk {
		from, to = away, file
	} else {
		t.Cleanup(func() {
			if _, err := os.Stat(away); err == nil { // the test has failed
				boot(t, true)
			}
		})
	}
	if err := suite.bed.PowerOff(volumesNode); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
	ctx := context.WithoutCancel(t.Context())
	if err := suite.bed.PowerOn(ctx, volumesNode); err != nil {
		t.Fatal(err)
	}
	if err := suite.bed.WaitReady(ctx, volumesNode); err != nil {
		t.Fatal(err)
	}
}
