//go:build outages

package e2e

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/berth-dev/berth/pkg/volume"
)

// TestVolumeTrash brings a deleted volume back, and reads the disk where others
// were, once their space is free.
func TestVolumeTrash(t *testing.T) {
	startVolumes(t)
	t.Run("undelete", undelete)
	for _, policy := range volume.Wipes {
		t.Run("wipe "+string(policy), func(t *testing.T) { wiped(t, policy) })
	}
}

func undelete(t *testing.T) {
	class(t, "undelete", "fsType: ext4")
	v := placed(t, "undelete", "undelete", "64Mi")
	v.write(t)
	v.trash(t)
	execute(t, volumesNode, "/run/bed/bin/lvm-provisioner", "undelete", "--kubeconfig=/run/bed/pki/admin.kubeconfig", volumesNamespace+"/undelete")
	v.comesBack(t, "64Mi").remove(t)
}

// wiped holds a class to its policy: what it promises to wipe is gone, and what
// it does not is there, or the test would prove nothing.
func wiped(t *testing.T, policy volume.Wipe) {
	name := "wipe-" + string(policy)
	class(t, name, "fsType: ext4, wipe: "+string(policy))
	v := placed(t, name, name, "64Mi")
	v.write(t)
	disk, offset, length := v.extent(t)
	v.remove(t)
	lines, written, recognised := freed(t, disk, offset, length)
	t.Logf("freed space: %d lines of the file, %d bytes that are not zero, file system recognised: %t", lines, written, recognised)
	switch policy {
	case volume.WipeNone:
		if lines == 0 || !recognised {
			t.Error("the space was wiped, and the class says that it is not to be")
		}
	case volume.WipeSignatures:
		if recognised || lines == 0 {
			t.Error("the file system is still recognised, or more than that was wiped")
		}
	case volume.WipeDiscard, volume.WipeZero: // this bed's disks read as zeros where they were discarded
		if written != 0 {
			t.Error("not all of the space is zero")
		}
	default:
		t.Errorf("nothing is known of policy %q", policy)
	}
}

// freed reads a piece of a disk past all caches, for lvm wrote it by another
// device: how often the file's line is there, how many bytes are not zero, and
// whether it begins with a file system.
func freed(t *testing.T, disk string, offset, length int64) (lines, written int64, recognised bool) {
	t.Helper()
	out := execute(t, volumesNode, "sh", "-euc", `
dd if="$1" of=/run/freed iflag=direct,skip_bytes,count_bytes bs=1M skip="$2" count="$3" status=none
grep -ac `+pattern+` /run/freed || test $? -eq 1
tr -d '\000' </run/freed | wc -c
blkid -p /run/freed >/dev/null && echo true || { test $? -eq 2 && echo false; }
rm /run/freed`, "sh", disk, strconv.FormatInt(offset, 10), strconv.FormatInt(length, 10))
	if _, err := fmt.Sscan(out, &lines, &written, &recognised); err != nil {
		t.Fatalf("read the freed space: %q: %v", out, err)
	}
	return lines, written, recognised
}

// extent is where on which disk a linear volume of one piece lies, in bytes.
func (v used) extent(t *testing.T) (disk string, offset, length int64) {
	t.Helper()
	ranges := v.lvs(t, "seg_pe_ranges") // /dev/ubdb:100-115
	disk, extents, _ := strings.Cut(ranges, ":")
	var first, last int64
	if _, err := fmt.Sscanf(extents, "%d-%d", &first, &last); err != nil {
		t.Fatalf("lvm says %q of where it lies: %v", ranges, err)
	}
	var start, size int64
	out := execute(t, volumesNode, "lvm", "pvs", "--noheadings", "--units", "b", "--nosuffix", "-o", "pe_start,vg_extent_size", disk)
	if _, err := fmt.Sscan(out, &start, &size); err != nil {
		t.Fatalf("lvm says %q of where its extents begin: %v", out, err)
	}
	return disk, start + first*size, (last - first + 1) * size
}
