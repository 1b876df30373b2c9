package lvm

import (
	"fmt"
	"strings"
)

// Values of LV.Health that volumes of Berth and their thin pools can have: _lvhealthstatus_disp
// in lib/report/report.c of lvm2 2.03.16. What they mean is told by lvs(8), of the ninth
// character of lv_attr, and lvmraid(7). Others exist, and newer releases have more
// (2.03.39: "repair needed", "refresh or repair needed").
const (
	// HealthPartial: it lies on a physical volume that is missing; before all others.
	HealthPartial = "partial"
	// HealthRefresh: the kernel has given up a copy of a raid volume, after an error or
	// while its disk was away.
	HealthRefresh = "refresh needed"
	// HealthMismatches: somebody has had the copies compared, and they differ.
	HealthMismatches = "mismatches exist"
	// HealthUnknown: of a raid volume, where lvm has no device-mapper to ask.
	HealthUnknown = "unknown"
	// HealthFailed: a thin pool does no I/O any more.
	HealthFailed = "failed"
	// HealthOutOfData: a thin pool is full.
	HealthOutOfData = "out_of_data"
	// HealthReadOnly: a thin pool's metadata is full or damaged.
	HealthReadOnly = "metadata_read_only"
)

// Health returns what lvm says is wrong with a volume of this group, else with the thin
// pool that it lives in, and the name of the one that is meant, as VG/LV. "" is nothing.
func (vg VG) Health(lv LV) (health, name string) {
	if lv.Health != "" || lv.Pool == "" {
		return lv.Health, vg.Name + "/" + lv.Name
	}
	for _, pool := range vg.LVs {
		if pool.Name == lv.Pool {
			return pool.Health, vg.Name + "/" + pool.Name
		}
	}
	return "", ""
}

// Remedy says what it means that lvm calls the volume VG/LV something other than healthy,
// and what a person does about it.
func Remedy(health, name string) (meaning, fix string) {
	vg, _, _ := strings.Cut(name, "/") // with a volume's name, lvs leaves out the copies
	switch health {
	case HealthPartial:
		return "a part of it lies on a disk that is missing", "bring the disk back (pvs)"
	case HealthRefresh:
		return "a copy of it failed or was away and is not written to any more, so that only the other is up to date",
			fmt.Sprintf("look at the disks (lvs -a -o lv_name,lv_health_status,devices %s; the kernel's log); when they are well: lvchange --refresh %s; "+
				"when one is not: lvconvert --replace DISK %s", vg, name, name)
	case HealthMismatches:
		return "a check found that its copies differ, and lvm cannot tell which one is right",
			fmt.Sprintf("when one disk is known to be bad: lvchange --rebuild DISK %s; else lvchange --syncaction repair %s, which makes them the same "+
				"without knowing better; then count again: lvchange --syncaction check %s", name, name, name)
	case HealthUnknown:
		return "lvm cannot ask the kernel about its copies", "see why lvm has no device-mapper (dmsetup version)"
	case HealthOutOfData:
		return "the thin pool is full, and writes to the volumes in it fail", "lvextend -L +SIZE " + name
	case HealthFailed, HealthReadOnly:
		return "the thin pool's metadata is full or damaged", "stop what uses the pool, then lvmthin(7), \"Metadata check and repair\""
	default:
		return "lvm has no further word on it", fmt.Sprintf("lvs -a -o lv_name,lv_attr,lv_health_status,devices %s, and lvs(8)", vg)
	}
}
