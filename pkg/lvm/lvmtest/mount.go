package lvmtest

import "strings"

// mount plays mount, umount, resize2fs and xfs_growfs. A file system grows only
// while it is mounted.
func (d *Disk) mount(name string, args []string) ([]byte, int, string) {
	last := args[len(args)-1]
	switch name {
	case "mount":
		v := d.device(args[len(args)-2])
		if v == nil || v.Unreadable || v.FSType != after(args, "-t") {
			return nil, 32, "mount: wrong fs type, bad option, bad superblock"
		}
		d.mounts[last] = v
	case "umount":
		if d.mounts[last] == nil {
			return nil, 32, "umount: " + last + ": not mounted."
		}
		delete(d.mounts, last)
	case "resize2fs":
		v := d.device(last)
		if v == nil || v.Unreadable || v.FSType != "ext4" || !d.mounted(v) {
			return nil, 1, "resize2fs: Please run 'e2fsck -f " + last + "' first."
		}
		v.FSExtents = v.Extents
	case "xfs_growfs":
		v := d.mounts[last]
		if v == nil || v.FSType != "xfs" {
			return nil, 1, "xfs_growfs: " + last + " is not a mounted XFS filesystem"
		}
		v.FSExtents = v.Extents
	}
	return nil, 0, ""
}

func (d *Disk) mounted(v *Volume) bool {
	for _, m := range d.mounts {
		if m == v {
			return true
		}
	}
	return false
}

// Mounts returns the directories on which something is mounted.
func (d *Disk) Mounts() string {
	var all []string
	for dir := range d.mounts {
		all = append(all, dir)
	}
	return strings.Join(all, " ")
}
