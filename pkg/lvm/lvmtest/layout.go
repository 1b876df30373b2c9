package lvmtest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/berth-dev/berth/pkg/lvm"
)

// SetPVs spreads the volume group evenly over n physical volumes.
func (d *Disk) SetPVs(vg string, n int64) {
	g := d.group(vg)
	g.pvs = n
	for _, v := range g.volumes {
		v.parts = nil // laid out anew
	}
}

// SetUUID makes the volume group unlike those of other machines.
func (d *Disk) SetUUID(vg, uuid string) { d.group(vg).uuid = uuid }

// SetTags sets the tags of the volume group itself.
func (d *Disk) SetTags(vg string, tags ...string) { d.group(vg).tags = tags }

// Tags returns the tags of the volume group itself.
func (d *Disk) Tags(vg string) []string { return slices.Clone(d.group(vg).tags) }

// tagGroup plays vgchange, which is used for tags only.
func (d *Disk) tagGroup(args []string) ([]byte, int, string) {
	name := args[len(args)-1]
	g := d.group(name)
	if g.name == "" {
		return nil, 5, fmt.Sprintf("Volume group %q not found\nCannot process volume group %s", name, name)
	}
	off, on := every(args, "--deltag"), every(args, "--addtag")
	g.tags = append(slices.DeleteFunc(g.tags, func(t string) bool { return slices.Contains(on, t) }), on...)
	g.tags = slices.DeleteFunc(g.tags, func(t string) bool { return slices.Contains(off, t) })
	g.changed()
	return nil, 0, ""
}

// SetMetadataFree sets the room in the metadata area, in bytes.
func (d *Disk) SetMetadataFree(vg string, bytes int64) { d.group(vg).mdaFree = bytes }

// SetOld leaves the signature of a former owner on the free blocks of a volume
// group. "ambiguous" is one that lvm's wiping passes over.
func (d *Disk) SetOld(vg, signature string) { d.group(vg).old = signature }

// SetForeign gives a volume group to the machine of that system ID; what is active stays so.
func (d *Disk) SetForeign(vg, systemID string) { d.group(vg).foreign = systemID }

// find has a new volume meet what is on its blocks, and returns why lvcreate ends, or "".
func (v *Volume) find(old string, args []string) string {
	switch wipes := after(args, "-W") == "y" && old != "ambiguous"; {
	case old == "" || v.Layout.Type == lvm.Thin:
	case !wipes:
		v.FSType, v.FSUUID = old, "former"
	case !slices.Contains(args, "-y"): // it asks, and without a terminal the answer is no
		return fmt.Sprintf("Aborted wiping of %s.\n  1 existing signature left on the device.\n  Failed to wipe signatures on logical volume %s.", old, v.Name)
	}
	return ""
}

func (d *Disk) group(name string) *group {
	for _, g := range d.groups {
		if g.name == name {
			return g
		}
	}
	return &group{}
}

// layoutOf reads what lvcreate is asked to make: layout, extents and pool.
func layoutOf(args []string) (l lvm.Layout, extents int64, pool string) {
	l.Type = lvm.LayoutType(after(args, "--type"))
	l.Stripes, _ = strconv.Atoi(after(args, "--stripes"))
	if l.Type == lvm.Thin {
		bytes, _ := strconv.ParseInt(strings.TrimSuffix(after(args, "-V"), "b"), 10, 64)
		return l, bytes / ExtentSize, after(args, "--thinpool")
	}
	extents, _ = strconv.ParseInt(after(args, "-l"), 10, 64)
	return l, extents, ""
}

// freeOf returns the free extents of each physical volume.
func (g *group) freeOf() []int64 {
	free := make([]int64, g.pvs)
	for i := range free {
		free[i] = g.extents / g.pvs
	}
	for _, v := range g.volumes {
		for i, n := range v.parts {
			free[i] -= n
		}
	}
	for _, v := range g.volumes {
		if v.parts == nil {
			v.parts = make([]int64, g.pvs)
			take(free, v, v.Extents)
		}
	}
	return free
}

// take lays so many extents more of the volume on the physical volumes, as
// lib/metadata/lv_manip.c of lvm2 does where room is not in pieces: one copy or
// stripe on each of the first that have room for it; of a linear volume all on
// one where it is already, else on the first that has room, else on the largest.
func take(free []int64, v *Volume, extents int64) {
	n, each := int64(v.Layout.Stripes), extents
	lay := func(i int, part int64) {
		free[i] -= part
		v.parts[i] += part
	}
	switch v.Layout.Type {
	case lvm.Thin:
		return
	case lvm.Striped:
		each /= n
	case lvm.RAID1:
		n, each = 2, each+1
	default:
		for i, has := range v.parts {
			if has > 0 && free[i] >= each {
				lay(i, each)
				return
			}
		}
		for each > 0 {
			i := roomiest(free, each, nil)
			part := max(min(free[i], each), 1) // refusal looks for less than nothing
			lay(i, part)
			each -= part
		}
		return
	}
	used := map[int]bool{}
	for range n {
		best := roomiest(free, each, used)
		used[best] = true
		lay(best, each)
	}
}

// roomiest is the first physical volume, of those not used, that can hold most of
// what is needed.
func roomiest(free []int64, needed int64, used map[int]bool) int {
	best := -1
	for i := range free {
		if !used[i] && (best < 0 || min(free[i], needed) > min(free[best], needed)) {
			best = i
		}
	}
	return best
}

func (g *group) free() int64 {
	var sum int64
	for _, n := range g.freeOf() {
		sum += n
	}
	return sum
}

// refusal is what lvcreate says to a volume that does not fit, or "".
func (g *group) refusal(v *Volume) string {
	free := g.freeOf()
	needed := v.Extents
	switch v.Layout.Type {
	case lvm.Thin:
		if !slices.ContainsFunc(g.volumes, func(p *Volume) bool { return p.ThinPool && p.Name == v.Pool }) {
			return fmt.Sprintf("Pool %s not found in Volume group %s.", v.Pool, g.name)
		}
		return ""
	case lvm.Striped:
		if v.Layout.Stripes > len(free) {
			return fmt.Sprintf("Number of stripes (%d) must not exceed number of physical volumes (%d)", v.Layout.Stripes, len(free))
		}
	case lvm.RAID1:
		needed = 2 * (v.Extents + 1)
	}
	if g.free() < needed {
		return fmt.Sprintf("Volume group %q has insufficient free space (%d extents): %d required.", g.name, g.free(), needed)
	}
	if v.Layout.Type == lvm.RAID1 && len(free) < 2 {
		return fmt.Sprintf("Insufficient suitable allocatable extents for logical volume %s: %d more required", v.Name, v.Extents)
	}
	v.parts = make([]int64, g.pvs)
	take(free, v, v.Extents)
	if short := slices.Min(free); short < 0 {
		return fmt.Sprintf("Insufficient suitable allocatable extents for logical volume %s: %d more required", v.Name, -short)
	}
	return ""
}
