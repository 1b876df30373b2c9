package lvm

import (
	"context"
	"fmt"
	"slices"
	"strconv"
)

// Deactivate takes the volume's device away. It fails while somebody holds the
// device, by the kernel's own word.
func (s *System) Deactivate(ctx context.Context, vg VG, lv LV) error {
	if vg.Dir != "" {
		return s.aside(vg, "deactivate", func(g Group) error { return g.Idle(lv) })
	}
	if s.metadataOnly {
		return nil // it was never active
	}
	return s.change(ctx, vg, "deactivate", "lvchange", "-y", "-a", "n", vg.Name+"/"+lv.Name)
}

// SwapTags takes tags off and puts others on in a single transaction; a tag that
// is among both stays on. Repeating it is harmless.
func (s *System) SwapTags(ctx context.Context, vg VG, lv LV, off, on []string) error {
	if vg.Dir != "" {
		return s.aside(vg, "swap-tag", func(g Group) error { return g.Change(lv, Change{Off: off, On: on}) })
	}
	args := append([]string{"lvchange"}, swap(off, on)...)
	return s.change(ctx, vg, "swap-tag", append(args, vg.Name+"/"+lv.Name)...)
}

// SwapGroupTags takes tags off a volume group and puts others on in a single
// transaction. Repeating it is harmless.
func (s *System) SwapGroupTags(ctx context.Context, vg VG, off, on []string) error {
	if vg.Dir != "" {
		return s.aside(vg, "group-tags", func(g Group) error { return g.ChangeTags(off, on) })
	}
	args := append([]string{"vgchange"}, swap(off, on)...)
	return s.change(ctx, vg, "group-tags", append(args, vg.Name)...)
}

// swap are the arguments that take tags off and put others on. Of a tag that is
// among both lvm would put it on first and then take it off.
func swap(off, on []string) (args []string) {
	for _, tag := range off {
		if !slices.Contains(on, tag) {
			args = append(args, "--deltag", tag)
		}
	}
	for _, tag := range on {
		args = append(args, "--addtag", tag)
	}
	return args
}

// Rename gives the volume another name; UUID, tags and content stay.
func (s *System) Rename(ctx context.Context, vg VG, lv LV, name string) error {
	if vg.Dir != "" {
		return s.aside(vg, "rename", func(g Group) error { return g.Change(lv, Change{Name: name}) })
	}
	return s.change(ctx, vg, "rename", "lvrename", vg.Name, lv.Name, name)
}

// Extend grows the volume to size bytes, a multiple of the extent size. lvextend
// calls a size that is there already an error, so that is compared first.
func (s *System) Extend(ctx context.Context, vg VG, lv LV, size int64) error {
	if size%vg.ExtentSize != 0 {
		return fmt.Errorf("extend %s: %d bytes is not a multiple of the extent size %d", lv.Name, size, vg.ExtentSize)
	}
	if size <= lv.Size {
		return nil
	}
	if vg.Dir != "" {
		return s.aside(vg, "extend", func(g Group) error { return g.Change(lv, Change{Size: size}) })
	}
	return s.change(ctx, vg, "extend", "lvextend", "-y", "-l", strconv.FormatInt(size/vg.ExtentSize, 10), vg.Name+"/"+lv.Name)
}

// Remove gives the volume's space back. It fails while somebody holds the device.
func (s *System) Remove(ctx context.Context, vg VG, lv LV) error {
	if vg.Dir != "" {
		return s.aside(vg, "remove", func(g Group) error { return g.Remove(lv) })
	}
	return s.change(ctx, vg, "remove", "lvremove", "-y", vg.Name+"/"+lv.Name)
}
