package lvmtest

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/berth-dev/berth/pkg/lvm"
)

// ExtentSize of every volume group in memory, in bytes.
const ExtentSize = 4 << 20

// Disk is a machine's volume groups in memory. It implements lvm.Runner for the
// commands that Berth uses, with the exit codes and texts of lvm 2.03.16,
// blkid 2.38 and the mkfs programs.
type Disk struct {
	mu     sync.Mutex
	groups []*group
	count  int
	// violations are things that must never happen on a disk, such as a file
	// system made over a user's data.
	violations []string
	mounts     map[string]*Volume // by directory
}

type group struct {
	uuid, name string
	extents    int64
	// pvs is the number of physical volumes, of equal size.
	pvs     int64
	tags    []string
	mdaFree int64
	// missing is how many are gone; flagged how many were when the metadata was
	// changed, which lvm remembers.
	missing, flagged int
	seqno            int
	// old is what the next volume finds on its blocks.
	old string
	// foreign is the system ID of the machine that it belongs to, "" for this one.
	foreign string
	volumes []*Volume
}

// Volume is a logical volume in memory.
type Volume struct {
	UUID, Name string
	Extents    int64
	Tags       []string
	Active     bool
	// Layout is linear unless it says otherwise.
	Layout lvm.Layout
	// Pool is the thin pool that a thin volume lives in; ThinPool is one.
	Pool     string
	ThinPool bool
	// FSType and FSUUID are what a probe finds.
	FSType, FSUUID string
	// FSExtents is how much of the volume the file system fills.
	FSExtents int64
	// Data says that a user wrote to the file system.
	Data bool
	// Unreadable makes every read of the device an I/O error.
	Unreadable bool
	// Open says that the device is mounted, or held by somebody.
	Open bool
	// Incomplete makes a check of the file system find damage.
	Incomplete bool
	// Health is what lvm says is wrong with it, unless a disk that it lies on is missing.
	Health string
	// Wiped are the programs that wiped it.
	Wiped []string
	// Formats counts the runs of mkfs.
	Formats int
	// parts are the extents on each physical volume.
	parts []int64
}

// NewDisk returns a machine with one volume group of each name, of the given
// number of extents.
func NewDisk(extents int64, names ...string) *Disk {
	d := &Disk{mounts: map[string]*Volume{}}
	for _, name := range names {
		d.groups = append(d.groups, &group{uuid: d.uuid("VG"), name: name, extents: extents, pvs: 1, mdaFree: 519680, seqno: 1})
	}
	return d
}

// uuid returns a new UUID in LVM's form, with upper and lower case in it.
func (d *Disk) uuid(kind string) string {
	d.count++
	return fmt.Sprintf("%s%04d-aAbB-cCdD-eEfF-gGhH-iIjJ-kKlLmM", kind, d.count)
}

// Volumes returns the volumes themselves, to look at and to damage.
func (d *Disk) Volumes() []*Volume {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []*Volume
	for _, g := range d.groups {
		all = append(all, g.volumes...)
	}
	return all
}

// VGUUID returns the UUID of the volume group of this name.
func (d *Disk) VGUUID(name string) string {
	for _, g := range d.groups {
		if g.name == name {
			return g.uuid
		}
	}
	return ""
}

// Add puts a volume on the disk as if it had always been there.
func (d *Disk) Add(vg string, v Volume) *Volume {
	d.mu.Lock()
	defer d.mu.Unlock()
	v.UUID = d.uuid("LV")
	for _, g := range d.groups {
		if g.name == vg {
			g.volumes = append(g.volumes, &v)
			g.seqno++
		}
	}
	return &v
}

// PowerCycle leaves every volume inactive, as after a boot.
func (d *Disk) PowerCycle() {
	clear(d.mounts)
	for _, v := range d.Volumes() {
		v.Active = false
	}
}

// LosePV makes physical volumes of a volume group go missing, or come back.
func (d *Disk) LosePV(vg string, missing int) {
	for _, g := range d.groups {
		if g.name == vg {
			g.missing = missing
		}
	}
}

func (g *group) gone() int { return max(g.missing, g.flagged) }

// changed notes a change of the metadata.
func (g *group) changed() {
	g.seqno++
	g.flagged = max(g.flagged, g.missing)
}

// Violations returns what happened that must never happen.
func (d *Disk) Violations() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.violations)
}

// Run implements lvm.Runner.
func (d *Disk) Run(_ context.Context, site, name string, args ...string) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	out, code, stderr := d.run(name, args)
	if code != 0 {
		return out, lvm.NewError(site, name, args, code, stderr)
	}
	return out, nil
}

func (d *Disk) run(name string, args []string) (out []byte, code int, stderr string) {
	last := args[len(args)-1]
	switch name {
	case "lvm":
		return d.lvm(args)
	case "blkid":
		return d.blkid(args[3:]) // after -p -o export
	case lvm.ReadDevice:
		v := d.device(args[0])
		if v == nil || v.Unreadable {
			return nil, 1, "input/output error"
		}
		return superblock(v), 0, ""
	case "mount", "umount", "resize2fs", "xfs_growfs":
		return d.mount(name, args)
	case "wipefs", "blkdiscard":
		return d.wipe(name, args)
	case "mkfs.ext4":
		return d.mkfs(last, "ext4", after(args, "-U"))
	case "mkfs.xfs":
		return d.mkfs(last, "xfs", strings.TrimPrefix(after(args, "-m"), "uuid="))
	case "e2fsck", "xfs_repair":
		if v := d.device(last); v == nil || v.Unreadable || v.Incomplete {
			return nil, 4, "errors left uncorrected"
		}
		return nil, 0, ""
	}
	return nil, 127, name + ": command not found"
}

func (d *Disk) lvm(args []string) ([]byte, int, string) {
	if text := usage(args); text != "" {
		return nil, 3, text
	}
	switch args[0] {
	case "fullreport":
		return d.report(), 0, ""
	case "lvmconfig":
		return []byte("locking_dir=\"/run/lock/lvm\"\narchive_dir=\"/etc/lvm/archive\"\nbackup_dir=\"/etc/lvm/backup\"\n"), 0, ""
	case "lvcreate":
		return d.create(args)
	case "lvchange":
		return d.change(args)
	case "vgchange":
		return d.tagGroup(args)
	case "lvremove", "lvrename", "lvextend":
		return d.reshape(args)
	}
	return nil, 2, "No such command '" + args[0] + "'."
}

func (d *Disk) create(args []string) ([]byte, int, string) {
	vg, name := args[len(args)-1], after(args, "-n")
	for _, g := range d.groups {
		if g.name != vg {
			continue
		}
		if g.gone() > 0 {
			return nil, 5, fmt.Sprintf("Cannot change VG %s while PVs are missing.", vg)
		}
		if g.foreign != "" {
			return nil, 5, fmt.Sprintf("Cannot access VG %s with system ID %s with unknown local system ID.", vg, g.foreign)
		}
		if slices.ContainsFunc(g.volumes, func(v *Volume) bool { return v.Name == name }) {
			return nil, 5, fmt.Sprintf("Logical Volume %q already exists in volume group %q", name, vg)
		}
		v := &Volume{UUID: d.uuid("LV"), Name: name, Active: !slices.Contains(args, "-an")}
		v.Layout, v.Extents, v.Pool = layoutOf(args)
		v.Tags = every(args, "--addtag")
		if text := v.find(g.old, args); text != "" {
			return nil, 5, text
		}
		if text := g.refusal(v); text != "" {
			return nil, 5, text
		}
		g.volumes = append(g.volumes, v)
		g.seqno++
		return []byte("Logical volume created.\n"), 0, ""
	}
	return nil, 5, fmt.Sprintf("Volume group %q not found\nCannot process volume group %s", vg, vg)
}

func (d *Disk) change(args []string) ([]byte, int, string) {
	path := args[len(args)-1]
	for _, g := range d.groups {
		for _, v := range g.volumes {
			if g.name+"/"+v.Name != path {
				continue
			}
			if a := after(args, "-a"); a != "" {
				if a == "n" && v.Open {
					return nil, 5, fmt.Sprintf("Logical volume %s contains a filesystem in use.", path)
				}
				v.Active = a == "y"
				return nil, 0, ""
			}
			off, on := every(args, "--deltag"), every(args, "--addtag")
			// lvm takes off after it has put on: a tag that is in both is gone.
			v.Tags = append(slices.DeleteFunc(v.Tags, func(t string) bool { return slices.Contains(on, t) }), on...)
			v.Tags = slices.DeleteFunc(v.Tags, func(t string) bool { return slices.Contains(off, t) })
			g.changed()
			return nil, 0, ""
		}
	}
	return nil, 5, fmt.Sprintf("Failed to find logical volume %q", path)
}

func (d *Disk) mkfs(device, fsType, uuid string) ([]byte, int, string) {
	v := d.device(device)
	if v == nil || v.Unreadable {
		return nil, 1, "mkfs: cannot open " + device
	}
	if v.FSType != "" {
		d.violations = append(d.violations, fmt.Sprintf("%s: %s made over %s", v.Name, fsType, v.FSType))
	}
	if v.Data {
		d.violations = append(d.violations, v.Name+": data of a user overwritten")
	}
	v.FSType, v.FSUUID, v.FSExtents, v.Formats = fsType, uuid, v.Extents, v.Formats+1
	return nil, 0, ""
}

// blkid passes over a device that is not there, and stops at one on which it
// recognises nothing (2.38).
func (d *Disk) blkid(devices []string) (out []byte, code int, stderr string) {
	for _, device := range devices {
		v := d.device(device)
		switch {
		case v == nil:
			continue
		case v.Unreadable || v.FSType == "":
			return out, 2, ""
		case v.FSType == "ambiguous":
			return out, 8, ""
		case len(out) > 0:
			out = append(out, '\n')
		}
		out = fmt.Appendf(out, "DEVNAME=%s\nUUID=%s\nTYPE=%s\nUSAGE=filesystem\n", device, v.FSUUID, v.FSType)
	}
	if len(out) == 0 {
		return nil, 2, ""
	}
	return out, 0, ""
}

// superblock is what the first bytes of a volume hold that tells its file system.
func superblock(v *Volume) []byte {
	head := make([]byte, 4096)
	uuid, err := hex.DecodeString(strings.ReplaceAll(v.FSUUID, "-", ""))
	if err != nil {
		return head // of a test that calls it otherwise
	}
	switch v.FSType {
	case "xfs":
		copy(head, "XFSB")
		copy(head[32:48], uuid)
	case "ext4":
		binary.LittleEndian.PutUint16(head[1024+0x38:], 0xEF53)
		copy(head[1024+0x68:1024+0x78], uuid)
	}
	return head
}

// device returns the active volume behind a device-mapper node.
func (d *Disk) device(path string) *Volume {
	for _, g := range d.groups {
		for _, v := range g.volumes {
			if v.Active && devicePath(g, v) == path {
				return v
			}
		}
	}
	return nil
}

func devicePath(g *group, v *Volume) string { return lvm.DevicePath(g.name, v.Name) }

func (d *Disk) report() []byte {
	type row map[string]string
	type section struct {
		VG []row `json:"vg,omitempty"`
		PV []row `json:"pv,omitempty"`
		LV []row `json:"lv,omitempty"`
	}
	sections := []section{}
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	for _, g := range d.groups {
		s := section{VG: []row{{
			"vg_uuid": g.uuid, "vg_name": g.name, "vg_size": number(g.extents * ExtentSize), "vg_free": number(g.free() * ExtentSize),
			"vg_extent_size": number(ExtentSize), "vg_missing_pv_count": strconv.Itoa(g.gone()), "vg_seqno": strconv.Itoa(g.seqno),
			"vg_tags": strings.Join(g.tags, ","), "vg_mda_size": "1044480", "vg_mda_free": number(g.mdaFree), "vg_systemid": g.foreign,
		}}}
		for i, free := range g.freeOf() {
			missing := "" // the last ones go first
			if int64(i) >= g.pvs-int64(g.gone()) {
				missing = "missing"
			}
			s.PV = append(s.PV, row{
				"pv_uuid": fmt.Sprintf("%s-pv%d", g.uuid, i), "pv_name": fmt.Sprintf("/dev/%s%d", g.name, i),
				"pv_size": number(g.extents / g.pvs * ExtentSize), "pv_free": number(free * ExtentSize), "pv_missing": missing,
			})
		}
		for _, v := range g.volumes {
			major := "-1"
			if v.Active {
				major = "253"
			}
			s.LV = append(s.LV, row{
				"lv_uuid": v.UUID, "lv_name": v.Name, "lv_dm_path": devicePath(g, v), "lv_size": number(v.Extents * ExtentSize),
				"lv_tags": strings.Join(v.Tags, ","), "lv_kernel_major": major,
				"lv_attr": attr(v), "lv_health_status": g.health(v), "pool_lv": v.Pool, "data_percent": "", "metadata_percent": "",
			})
		}
		sections = append(sections, s)
	}
	out, err := json.Marshal(map[string]any{"report": sections})
	if err != nil {
		panic(err) // strings in maps always marshal
	}
	return out
}

// attr returns the attribute characters, of which the kind is played, and whether
// the device is open.
func attr(v *Volume) string {
	kind := "-"
	switch {
	case v.ThinPool:
		kind = "t"
	case v.Layout.Type == lvm.Thin:
		kind = "V"
	case v.Layout.Type == lvm.RAID1:
		kind = "r"
	}
	if v.Open {
		return kind + "wi-ao----"
	}
	return kind + "wi-------"
}

// after returns the argument that follows flag.
func after(args []string, flag string) string {
	if i := slices.Index(args, flag); i >= 0 && i+1 < len(args) {
		return args[i+1]
	}
	return ""
}
