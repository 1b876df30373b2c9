package lvm_test

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/berth-dev/berth/pkg/lvm"
	"github.com/berth-dev/berth/pkg/lvm/lvmtest"
)

// bench is one of the machines that have to give the same answers: disks in memory,
// lvm itself on loop devices without device-mapper, and the same kept open. All have a
// volume group "vgt" of two physical volumes of 31 extents.
type bench struct {
	*lvm.System
	run lvm.Runner
	// lose makes the second physical volume go missing, or come back.
	lose func(is bool)
}

func machines(t *testing.T) map[string]bench {
	t.Helper()
	disk := lvmtest.NewDisk(62, "vgt")
	disk.SetPVs("vgt", 2)
	loop, open := lvmtest.NewLoop(t, "vgt", "128M", "128M"), lvmtest.NewLoop(t, "vgt", "128M", "128M")
	shell := open.Shell()
	return map[string]bench{
		"memory": {lvm.New(disk, lvm.MetadataOnly()), disk, func(is bool) {
			disk.LosePV("vgt", map[bool]int{true: 1}[is])
		}},
		"lvm":   {lvm.New(loop, lvm.MetadataOnly()), loop, func(is bool) { loop.See(map[bool]int{true: 1, false: 2}[is]) }},
		"shell": {lvm.New(shell, lvm.MetadataOnly()), shell, func(is bool) { open.See(map[bool]int{true: 1, false: 2}[is]) }},
	}
}

// lv is a volume as the report has it, or one that is not there.
func (b bench) lv(vg lvm.VG, name string) lvm.LV {
	for _, lv := range vg.LVs {
		if lv.Name == name {
			return lv
		}
	}
	return lvm.LV{Name: name}
}

// call is one line of the table. Raw lines are commands as no method makes them.
type call struct {
	name string
	do   func(t *testing.T, b bench, vg lvm.VG) error
	raw  []string
	want error // the class; nil is none that matters
	code int   // 0 is success, -1 that lvm was not asked
}

func create(name string, extents int64, layout lvm.Layout, tags ...string) func(*testing.T, bench, lvm.VG) error {
	return func(t *testing.T, b bench, vg lvm.VG) error {
		return b.Create(t.Context(), vg, name, extents*vg.ExtentSize, layout, tags)
	}
}

// table is every command that Berth runs on lvm without a device-mapper, in ways
// that go well and in ways that do not, one after the other on the same disks.
var table = []call{
	{name: "create", do: create("a", 3, lvm.Layout{}, "k=1", "s=creating")},
	{name: "create again", do: create("a", 3, lvm.Layout{}), want: lvm.ErrExists, code: 5},
	{name: "create without room", do: create("b", 100, lvm.Layout{}), want: lvm.ErrNoSpace, code: 5},
	{name: "create over both disks", do: create("wide", 40, lvm.Layout{})},
	{name: "create in no group", do: func(t *testing.T, b bench, vg lvm.VG) error {
		vg.Name = "nosuch"
		return b.Create(t.Context(), vg, "b", vg.ExtentSize, lvm.Layout{}, nil)
	}, want: lvm.ErrNotFound, code: 5},
	{name: "tag with a space", do: create("b", 1, lvm.Layout{}, "x y"), want: lvm.ErrUsage, code: 3},
	{name: "tag with a comma", do: create("b", 1, lvm.Layout{}, "x,y"), want: lvm.ErrUsage, code: 3},
	{name: "name with a space", do: create("bad name", 1, lvm.Layout{}), want: lvm.ErrUsage, code: 3},
	{name: "reserved name", do: create("snapshot1", 1, lvm.Layout{}), want: lvm.ErrUsage, code: 3},
	{name: "reserved part of a name", do: create("a_rimage_0", 1, lvm.Layout{}), want: lvm.ErrUsage, code: 3},
	{name: "every character of a tag", do: create("tagged", 1, lvm.Layout{}, "AZaz09_+.-/=!:#&")},
	{name: "swap", do: func(t *testing.T, b bench, vg lvm.VG) error {
		return b.SwapTag(t.Context(), vg, b.lv(vg, "a"), "s=creating", "s=ready")
	}},
	{name: "swap again", do: func(t *testing.T, b bench, vg lvm.VG) error {
		return b.SwapTag(t.Context(), vg, b.lv(vg, "a"), "s=creating", "s=ready")
	}},
	{name: "swap many", do: func(t *testing.T, b bench, vg lvm.VG) error {
		return b.SwapTags(t.Context(), vg, b.lv(vg, "a"), []string{"s=ready", "none"}, []string{"d=1", "s=trash"})
	}},
	{name: "take off and put on the same", do: func(t *testing.T, b bench, vg lvm.VG) error {
		return b.SwapTags(t.Context(), vg, b.lv(vg, "a"), []string{"d=1"}, []string{"d=1"})
	}},
	{name: "off and on in one command", raw: []string{"lvchange", "--deltag", "d=1", "--addtag", "d=1", "vgt/a"}},
	{name: "put on again", do: func(t *testing.T, b bench, vg lvm.VG) error {
		return b.SwapTags(t.Context(), vg, b.lv(vg, "a"), nil, []string{"d=1"})
	}},
	{name: "swap of no volume", do: func(t *testing.T, b bench, vg lvm.VG) error {
		return b.SwapTag(t.Context(), vg, lvm.LV{Name: "none"}, "x", "y")
	}, want: lvm.ErrNotFound, code: 5},
	{name: "swap with a bad tag", do: func(t *testing.T, b bench, vg lvm.VG) error {
		return b.SwapTag(t.Context(), vg, b.lv(vg, "a"), "d=1", "x y")
	}, want: lvm.ErrUsage, code: 3},
	{name: "tags of the group", do: func(t *testing.T, b bench, vg lvm.VG) error {
		return b.SwapGroupTags(t.Context(), vg, nil, []string{"home=a", "home=b"})
	}},
	{name: "swap tags of the group", do: func(t *testing.T, b bench, vg lvm.VG) error {
		return b.SwapGroupTags(t.Context(), vg, []string{"home=a", "none"}, []string{"home=c"})
	}},
	{name: "tags of no group", do: func(t *testing.T, b bench, _ lvm.VG) error {
		return b.SwapGroupTags(t.Context(), lvm.VG{Name: "nosuch"}, nil, []string{"home=a"})
	}, want: lvm.ErrNotFound, code: 5},
	{name: "a bad tag of the group", raw: []string{"vgchange", "--addtag", "x y", "vgt"}, want: lvm.ErrUsage, code: 3},
	{name: "rename", do: func(t *testing.T, b bench, vg lvm.VG) error {
		return b.Rename(t.Context(), vg, b.lv(vg, "a"), "trash-a")
	}},
	{name: "rename to a name that is taken", do: func(t *testing.T, b bench, vg lvm.VG) error {
		return b.Rename(t.Context(), vg, b.lv(vg, "trash-a"), "wide")
	}, want: lvm.ErrExists, code: 5},
	{name: "rename of no volume", do: func(t *testing.T, b bench, vg lvm.VG) error {
		return b.Rename(t.Context(), vg, lvm.LV{Name: "none"}, "other")
	}, want: lvm.ErrNotFound, code: 5},
	{name: "extend", do: func(t *testing.T, b bench, vg lvm.VG) error {
		return b.Extend(t.Context(), vg, b.lv(vg, "trash-a"), 5*vg.ExtentSize)
	}},
	{name: "extend to its size", raw: []string{"lvextend", "-y", "-l", "5", "vgt/trash-a"}, want: lvm.ErrSameSize, code: 5},
	{name: "extend to less", raw: []string{"lvextend", "-y", "-l", "4", "vgt/trash-a"}, want: lvm.ErrSameSize, code: 5},
	{name: "extend without room", do: func(t *testing.T, b bench, vg lvm.VG) error {
		return b.Extend(t.Context(), vg, b.lv(vg, "trash-a"), 60*vg.ExtentSize)
	}, want: lvm.ErrNoSpace, code: 5},
	{name: "extend of no volume", do: func(t *testing.T, b bench, vg lvm.VG) error {
		return b.Extend(t.Context(), vg, lvm.LV{Name: "none"}, vg.ExtentSize)
	}, want: lvm.ErrNotFound, code: 5},
	{name: "remove", do: func(t *testing.T, b bench, vg lvm.VG) error { return b.Remove(t.Context(), vg, b.lv(vg, "wide")) }},
	{name: "remove again", do: func(t *testing.T, b bench, vg lvm.VG) error {
		return b.Remove(t.Context(), vg, lvm.LV{Name: "wide"})
	}, want: lvm.ErrNotFound, code: 5},
	{name: "two stripes", do: create("striped", 20, lvm.Layout{Type: lvm.Striped, Stripes: 2})},
	{name: "two stripes without room", do: create("b", 50, lvm.Layout{Type: lvm.Striped, Stripes: 2}), want: lvm.ErrNoSpace, code: 5},
	{name: "more stripes than disks", do: create("b", 3, lvm.Layout{Type: lvm.Striped, Stripes: 3}), want: lvm.ErrNoSpace, code: 5},
	{name: "no such command", raw: []string{"bogus"}, code: 2},
	{name: "no such option", raw: []string{"lvchange", "--colour", "vgt/striped"}, want: lvm.ErrUsage, code: 3},

	{name: "a disk goes", do: func(_ *testing.T, b bench, _ lvm.VG) error { b.lose(true); return nil }},
	{name: "create while it is gone", raw: []string{"lvcreate", "-y", "-W", "n", "-Z", "n", "-an", "-l", "1", "-n", "b", "vgt"}, want: lvm.ErrPartial, code: 5},
	{name: "rename while it is gone", raw: []string{"lvrename", "vgt", "trash-a", "renamed"}, want: lvm.ErrPartial, code: 5},
	{name: "extend while it is gone", raw: []string{"lvextend", "-y", "-l", "6", "vgt/trash-a"}, want: lvm.ErrPartial, code: 5},
	{name: "what Berth does while it is gone", do: create("b", 1, lvm.Layout{}), want: lvm.ErrPartial, code: -1},
	{name: "the disk comes back", do: func(_ *testing.T, b bench, _ lvm.VG) error { b.lose(false); return nil }},
	{name: "create when it is back", do: create("b", 1, lvm.Layout{})},
	// Tags and removal are what lvm lets through, and then it calls the disk
	// missing for good: that nothing is written meanwhile is our own doing.
	{name: "a disk goes again", do: func(_ *testing.T, b bench, _ lvm.VG) error { b.lose(true); return nil }},
	{name: "tag while it is gone", raw: []string{"lvchange", "--addtag", "d=2", "vgt/trash-a"}},
	{name: "tag of the group while it is gone", raw: []string{"vgchange", "--addtag", "home=d", "vgt"}},
	{name: "remove while it is gone", raw: []string{"lvremove", "-y", "vgt/tagged"}},
	{name: "the disk comes back and is called missing", do: func(_ *testing.T, b bench, _ lvm.VG) error { b.lose(false); return nil }},
	{name: "create all the same", raw: []string{"lvcreate", "-y", "-W", "n", "-Z", "n", "-an", "-l", "1", "-n", "c", "vgt"}, want: lvm.ErrPartial, code: 5},
}

// The disks in memory, and an lvm that is kept open, answer as lvm does, call by call:
// the same exit code, the same class of error, the same report afterwards.
func TestLVMTable(t *testing.T) {
	all := machines(t)
	seqno := map[string]int{}
	for _, c := range table {
		seen := map[string]string{}
		for name, b := range all {
			before := report(t, b.System)
			err := c.run(t, b, before)
			if got := codeOf(err); got != c.code || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("%s, %s: code %d, error %v; want code %d, %v", c.name, name, got, err, c.code, c.want)
			}
			after := report(t, b.System)
			if after.Seqno < seqno[name] || c.code != 0 && after.Seqno != before.Seqno {
				t.Errorf("%s, %s: sequence number %d after %d", c.name, name, after.Seqno, before.Seqno)
			}
			seqno[name] = after.Seqno
			seen[name] = shape(after)
		}
		for name := range all {
			if diff := gocmp.Diff(seen["lvm"], seen[name]); diff != "" {
				t.Fatalf("%s: %s differs (-lvm +%s)\n%s", c.name, name, name, diff)
			}
		}
	}
}

func (c call) run(t *testing.T, b bench, vg lvm.VG) error {
	if c.do != nil {
		return c.do(t, b, vg)
	}
	_, err := b.run.Run(t.Context(), "test", "lvm", slices.Insert(slices.Clone(c.raw), 1, "--driverloaded", "n")...)
	return err
}

// codeOf is the exit code behind an error; -1 is none.
func codeOf(err error) int {
	var ended *lvm.Error
	switch {
	case err == nil:
		return 0
	case errors.As(err, &ended):
		return ended.Code
	default:
		return -1
	}
}

// shape is all of a report that is not one machine's own: no UUIDs, no numbers.
func shape(vg lvm.VG) string {
	var b strings.Builder
	slices.Sort(vg.Tags)
	fmt.Fprintf(&b, "%s size %d free %d extent %d missing %d tags %q system %q room %v\n",
		vg.Name, vg.Size, vg.Free, vg.ExtentSize, vg.MissingPVs, vg.Tags, vg.SystemID, vg.MetadataFree > lvm.MetadataReserve)
	for _, pv := range vg.PVs {
		fmt.Fprintf(&b, "disk size %d free %d missing %v\n", pv.Size, pv.Free, pv.Missing)
	}
	slices.SortFunc(vg.LVs, func(x, y lvm.LV) int { return cmp.Compare(x.Name, y.Name) })
	for _, lv := range vg.LVs {
		slices.Sort(lv.Tags)
		fmt.Fprintf(&b, "%s %s size %d tags %q active %v kind %.1s pool %q health %q\n", lv.Name, lv.Path, lv.Size, lv.Tags, lv.Active, lv.Attr, lv.Pool, lv.Health)
	}
	return b.String()
}
