package lvmtest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// reshape plays lvremove, lvrename and lvextend.
func (d *Disk) reshape(args []string) ([]byte, int, string) {
	path := args[len(args)-1]
	if args[0] == "lvrename" {
		path = args[len(args)-3] + "/" + args[len(args)-2]
	}
	for _, g := range d.groups {
		i := slices.IndexFunc(g.volumes, func(v *Volume) bool { return g.name+"/"+v.Name == path })
		if i < 0 {
			continue
		}
		if g.gone() > 0 && args[0] != "lvremove" { // which lvm lets through
			return nil, 5, fmt.Sprintf("Cannot change VG %s while PVs are missing.", g.name)
		}
		code, stderr := d.reshapeOne(g, i, args)
		if code == 0 {
			g.changed()
		}
		return nil, code, stderr
	}
	vg, lv, _ := strings.Cut(path, "/")
	return nil, 5, map[string]string{
		"lvremove": fmt.Sprintf("Failed to find logical volume %q", path),
		"lvrename": fmt.Sprintf("Existing logical volume %q not found in volume group %q", lv, vg),
		"lvextend": fmt.Sprintf("Logical volume %s not found in volume group %s.", lv, vg),
	}[args[0]]
}

func (d *Disk) reshapeOne(g *group, i int, args []string) (code int, stderr string) {
	v := g.volumes[i]
	switch args[0] {
	case "lvremove":
		if v.Open {
			return 5, fmt.Sprintf("Logical volume %s/%s contains a filesystem in use.", g.name, v.Name)
		}
		if v.Data && !slices.Contains(v.Tags, "berth.dev/state=wiping") {
			d.violations = append(d.violations, v.Name+": a volume with data was removed that was not marked")
		}
		g.volumes = slices.Delete(g.volumes, i, i+1)
	case "lvrename":
		name := args[len(args)-1]
		if slices.ContainsFunc(g.volumes, func(o *Volume) bool { return o.Name == name }) {
			return 5, fmt.Sprintf("Logical Volume %q already exists in volume group %q", name, g.name)
		}
		v.Name = name
	case "lvextend":
		extents, _ := strconv.ParseInt(after(args, "-l"), 10, 64)
		switch {
		case extents < v.Extents:
			return 5, fmt.Sprintf("New size given (%d extents) not larger than existing size (%d extents)", extents, v.Extents)
		case extents == v.Extents:
			return 5, fmt.Sprintf("New size (%d extents) matches existing size (%d extents).", extents, v.Extents)
		case extents-v.Extents > g.free():
			return 5, fmt.Sprintf("Insufficient free space: %d extents needed, but only %d available", extents-v.Extents, g.free())
		}
		take(g.freeOf(), v, extents-v.Extents)
		v.Extents = extents
	}
	return 0, ""
}

// wipe plays wipefs -a and blkdiscard, of which the whole device counts as one step.
func (d *Disk) wipe(name string, args []string) ([]byte, int, string) {
	v := d.device(args[len(args)-1])
	if v == nil || v.Unreadable {
		return nil, 1, name + ": cannot open " + args[len(args)-1]
	}
	if !slices.Contains(v.Tags, "berth.dev/state=wiping") {
		d.violations = append(d.violations, v.Name+": wiped before it was marked")
	}
	v.FSType, v.FSUUID = "", ""
	v.Wiped = append(v.Wiped, name)
	return nil, 0, ""
}

// every returns all arguments that follow flag.
func every(args []string, flag string) []string {
	var all []string
	for i, a := range args[:len(args)-1] {
		if a == flag {
			all = append(all, args[i+1])
		}
	}
	return all
}
