package lvm

import (
	"errors"
	"strings"
	"testing"
)

// Texts and codes as written by lvm 2.03.16.
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
