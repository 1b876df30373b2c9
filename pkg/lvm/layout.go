package lvm

import (
	"slices"
	"strconv"
)

// LayoutType says how a volume lies on the physical volumes.
type LayoutType string

// The layouts that Berth makes.
const (
	Linear  LayoutType = "linear"
	Striped LayoutType = "striped"
	RAID1   LayoutType = "raid1" // two copies
	Thin    LayoutType = "thin"  // in the volume group's one thin pool
)

// LayoutTypes are all of them, the default first.
var LayoutTypes = []LayoutType{Linear, Striped, RAID1, Thin}

// Layout is how a volume is to be made. The zero value is linear.
type Layout struct {
	Type LayoutType
	// Stripes is the number of physical volumes that a striped volume lies on.
	Stripes int
}

// MetadataReserve is the room, in bytes, that creation leaves in the metadata
// area: growth, renames and changes of state must go through when no further
// volume fits. A volume with its tags takes about 0.5 KiB (2.03.16).
const MetadataReserve = 16 << 10

// MetadataPerVolume is more than a new volume with its tags takes of the metadata area,
// in bytes.
const MetadataPerVolume = 2 << 10

// Room returns the size in bytes of the largest volume of this layout that is
// sure to fit. It may be less than what lvm would find, never more.
func (l Layout) Room(vg VG) int64 {
	if vg.MissingPVs > 0 || vg.MetadataFree < MetadataReserve {
		return 0
	}
	free := make([]int64, 0, len(vg.PVs))
	for _, pv := range vg.PVs {
		free = append(free, pv.Free/vg.ExtentSize)
	}
	slices.Sort(free)
	slices.Reverse(free)
	var extents int64
	switch l.Type {
	case Striped:
		if l.Stripes <= len(free) {
			extents = free[l.Stripes-1] * int64(l.Stripes)
		}
	case RAID1:
		if len(free) >= 2 {
			extents = max(free[1]-1, 0) // an extent of each copy is its bitmap
		}
	case Thin:
		return vg.thinRoom()
	default:
		extents = vg.Free / vg.ExtentSize
	}
	return extents * vg.ExtentSize
}

// Round returns the size that a volume of at least size bytes gets: whole
// extents, and the same number on each stripe.
func (l Layout) Round(vg VG, size int64) int64 {
	unit := vg.ExtentSize
	if l.Type == Striped {
		unit *= int64(l.Stripes)
	}
	return (size + unit - 1) / unit * unit
}

// args are the arguments of lvcreate that name layout, size and volume group.
func (l Layout) args(vg VG, size int64) []string {
	extents := strconv.FormatInt(size/vg.ExtentSize, 10)
	switch l.Type {
	case Striped:
		return []string{"--type", "striped", "--stripes", strconv.Itoa(l.Stripes), "-l", extents}
	case RAID1:
		return []string{"--type", "raid1", "--mirrors", "1", "-l", extents}
	case Thin:
		pool, _ := vg.ThinPool()
		return []string{"--type", "thin", "--thinpool", pool.Name, "-V", strconv.FormatInt(size, 10) + "b"}
	default:
		return []string{"-l", extents}
	}
}

// ThinPool returns the volume group's thin pool, if there is exactly one.
func (vg VG) ThinPool() (LV, bool) {
	var pool LV
	n := 0
	for _, lv := range vg.LVs {
		if lv.IsThinPool() {
			pool, n = lv, n+1
		}
	}
	return pool, n == 1
}

// thinRoom counts what was promised of the pool, not what is written: a pool
// that runs full damages the file systems of all its volumes, so there is no
// overcommitment.
func (vg VG) thinRoom() int64 {
	pool, one := vg.ThinPool()
	if !one {
		return 0
	}
	room := pool.Size
	for _, lv := range vg.LVs {
		if lv.Pool == pool.Name {
			room -= lv.Size
		}
	}
	return max(room-room%vg.ExtentSize, 0)
}
