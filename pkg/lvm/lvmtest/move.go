package lvmtest

import "slices"

// NumberFrom sets the number that the next UUID is made from, so that the disks
// of several machines have none in common. Call it before a group is made.
func (d *Disk) NumberFrom(n int) { d.count = n }

// AddGroup puts another volume group into the machine.
func (d *Disk) AddGroup(name string, extents int64, tags ...string) {
	d.groups = append(d.groups, &group{uuid: d.uuid("VG"), name: name, extents: extents, pvs: 1, mdaFree: 519680, seqno: 1, tags: tags})
}

// Swap exchanges all volume groups of two machines, which are off meanwhile.
func (d *Disk) Swap(with *Disk) {
	d.PowerCycle()
	with.PowerCycle()
	d.groups, with.groups = with.groups, d.groups
}

// Drop takes a volume off the disk without a command, as a foreign hand does.
func (d *Disk) Drop(v *Volume) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, g := range d.groups {
		n := len(g.volumes)
		g.volumes = slices.DeleteFunc(g.volumes, func(o *Volume) bool { return o == v })
		if len(g.volumes) != n {
			g.seqno++
		}
	}
}

// Group is what Groups tells of a volume group.
type Group struct {
	Name    string
	UUID    string
	Extents int64
	Free    int64 // extents; less than 0 never is
	Missing int   // physical volumes
}

// Groups returns the machine's volume groups as they are now.
func (d *Disk) Groups() []Group {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []Group
	for _, g := range d.groups {
		all = append(all, Group{g.name, g.uuid, g.extents, g.free(), g.missing})
	}
	return all
}
