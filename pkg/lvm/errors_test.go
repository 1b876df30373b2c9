package lvm

import (
	"errors"
	"strings"
	"testing"
)

// Texts and codes as written by lvm 2.03.16, then those of other releases by
// their source.
func TestErrorClasses(t *testing.T) {
	for _, c := range []struct {
		code   int
		stderr string
		want   error
	}{
		{5, `  Volume group "vgt" has insufficient free space (486 extents): 2560 required.`, ErrNoSpace},
		{5, "  Insufficient free space: 5070 extents needed, but only 435 available", ErrNoSpace},
		{5, "  Insufficient suitable allocatable extents for logical volume a: 3 more required", ErrNoSpace},
		{5, `  Logical Volume "a" already exists in volume group "vgt"`, ErrExists},
		{5, "  Volume group \"nosuch\" not found\n  Cannot process volume group nosuch", ErrNotFound},
		{5, `  Failed to find logical volume "vgt/none"`, ErrNotFound},
		{5, "  Cannot change VG vgt while PVs are missing.", ErrPartial},
		{5, "  Logical volume vgt/a contains a filesystem in use.", ErrInUse},
		{5, "  Logical volume vgt/a in use.", ErrInUse},
		{5, "  Refusing activation of partial LV vgt/a.  Use '--activationmode partial' to override.", ErrPartial},
		{5, "  VG vgt 812 metadata on /dev/a (523264 bytes) too large for circular buffer (1043968 bytes with 522240 used)", ErrMetadataFull},
		{5, "  Cannot access VG vgt with system ID old with local system ID new.\n  Cannot process volume group vgt", ErrForeign},
		{5, "  Cannot access VG vgt with system ID old with unknown local system ID.", ErrForeign},
		{5, "  Multiple VGs found with the same name: skipping vgt\n  Use --select vg_uuid=<uuid> in place of the VG name.", ErrAmbiguous},
		{5, "  /run/lock/lvm/V_vgt:aux: open failed: Permission denied\n  Can't get lock for vgt\n  Cannot process volume group vgt", ErrLocked},
		{5, "  File locking initialisation failed.", ErrLocked},
		{5, "  Free space in pool vgt/pool is above threshold, new volumes are not allowed.", ErrNoSpace},
		{5, "  Insufficient suitable contiguous allocatable extents for logical volume a: 3 more required", ErrNoSpace},
		{5, "  Logical volume a already exists in Volume group vgt.", ErrExists},
		// 2.02.98
		{5, "  One or more specified logical volume(s) not found.", ErrNotFound},
		{5, "  Volume group \"vgt\" not found", ErrNotFound},
		{5, "  Volume group \"vgt\" not found, is inconsistent or has PVs missing.\n  Consider vgreduce --removemissing if metadata is inconsistent.", ErrPartial},
		{5, "  Refusing activation of partial LV a. Use --partial to override.", ErrPartial},
		{5, "  Logical volume vgt/a in use.", ErrInUse},
		{5, "  VG vgt metadata too large for circular buffer", ErrMetadataFull},
		{5, "  Cannot create new thin volume, free space in thin pool pool is over the autoextend threshold.", ErrNoSpace},
		// 2.03.39: wider numbers, a prefix for historical volumes
		{5, "  Insufficient free space: 123456789012 extents needed, but only 435 available", ErrNoSpace},
		{5, `  Historical Logical Volume "a" already exists in volume group "vgt"`, ErrExists},
		{5, `  Failed to find logical volume "vgt/a"`, ErrNotFound},
		{3, "  Invalid argument for --addtag: x y\n  Error during parsing of command line.", ErrUsage},
	} {
		err := NewError("create", "lvm", []string{"lvcreate"}, c.code, "  WARNING: Activation disabled.\n"+c.stderr)
		if !errors.Is(err, c.want) {
			t.Errorf("%q is not %q", c.stderr, c.want)
		}
		if strings.Contains(err.Error(), "WARNING") {
			t.Errorf("a warning is shown as the cause: %v", err)
		}
	}
	// The code decides: the same text with another code is not classified.
	if err := NewError("create", "lvm", nil, 4, "insufficient free space"); errors.Is(err, ErrNoSpace) {
		t.Errorf("code 4 was taken for a lack of space")
	}
	if err := NewError("probe", "blkid", nil, 5, "insufficient free space"); errors.Is(err, ErrNoSpace) {
		t.Errorf("a text of blkid was read as lvm's")
	}
}
