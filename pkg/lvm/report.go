package lvm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Report is what lvm knows about this machine's volume groups at one moment.
type Report struct {
	VGs []VG
}

// VG is a volume group. Sizes are in bytes.
type VG struct {
	UUID       string
	Name       string
	Size       int64
	Free       int64
	ExtentSize int64
	// MissingPVs is the number of physical volumes that cannot be seen; nothing
	// is written to a volume group unless it is 0.
	MissingPVs int
	// Seqno grows by one with every change of the metadata.
	Seqno int
	Tags  []string
	// MetadataFree is the room for metadata, of MetadataSize, in the fullest of the
	// areas. lvm keeps the present and the next version, so half is all there is.
	MetadataSize, MetadataFree int64
	// SystemID is the machine that owns the volume group; "" is any.
	SystemID string
	PVs      []PV
	LVs      []LV
	// Dir is the base directory of a Group whose volumes are directories; "" says
	// that this is a volume group of lvm.
	Dir string
}

// PV is a physical volume.
type PV struct {
	UUID    string
	Name    string
	Size    int64
	Free    int64
	Missing bool
}

// LV is a logical volume. Size is in bytes.
type LV struct {
	UUID string
	Name string
	// Path is the device-mapper node, which is there while the volume is active.
	Path   string
	Size   int64
	Tags   []string
	Active bool
	// Attr are lvm's attribute characters; the first is the kind of volume.
	Attr string
	// Pool is the name of the thin pool that a thin volume lives in.
	Pool string
	// Health is what lvm says is wrong with the volume (lv_health_status), "" that it knows
	// of nothing. Of one that is not active it knows only whether a disk is missing. The
	// values are beside HealthPartial.
	Health string
	// DataPercent and MetadataPercent are the fill of an active thin pool, else 0.
	DataPercent, MetadataPercent float64
	// Err says, of a directory, why it is not what was made; without Tags its record
	// cannot be read.
	Err error
}

// IsThinPool reports that the volume is a thin pool.
func (lv LV) IsThinPool() bool { return strings.HasPrefix(lv.Attr, "t") }

// IsOpen reports that somebody has the volume's device open.
func (lv LV) IsOpen() bool { return len(lv.Attr) > 5 && lv.Attr[5] == 'o' }

// VG returns the volume groups of this name. lvm refuses to act on an
// ambiguous name, so callers need exactly one.
func (r *Report) VG(name string) []VG {
	var found []VG
	for _, vg := range r.VGs {
		if vg.Name == name {
			found = append(found, vg)
		}
	}
	return found
}

// Tagged returns the volume groups that carry this tag.
func (r *Report) Tagged(tag string) []VG {
	var found []VG
	for _, vg := range r.VGs {
		if slices.Contains(vg.Tags, tag) {
			found = append(found, vg)
		}
	}
	return found
}

// Directories returns the group whose volumes are directories, if there is one.
func (r *Report) Directories() []VG {
	var found []VG
	for _, vg := range r.VGs {
		if vg.Dir != "" {
			found = append(found, vg)
		}
	}
	return found
}

// reportArgs asks for all tables in one call, which costs about as much as one
// lvs. Each table names its columns: a column of another table changes the type
// of the report and is an error. The two segment tables cannot be left out.
var reportArgs = []string{
	"fullreport", "--reportformat", "json", "--units", "b", "--nosuffix",
	"--configreport", "vg", "-o", "vg_uuid,vg_name,vg_size,vg_free,vg_extent_size,vg_missing_pv_count,vg_seqno,vg_tags,vg_mda_size,vg_mda_free,vg_systemid",
	"--configreport", "pv", "-o", "pv_uuid,pv_name,pv_size,pv_free,pv_missing",
	"--configreport", "lv", "-o", "lv_uuid,lv_name,lv_dm_path,lv_size,lv_tags,lv_kernel_major,lv_attr,lv_health_status,pool_lv,data_percent,metadata_percent",
	"--configreport", "pvseg", "-o", "pvseg_start",
	"--configreport", "seg", "-o", "seg_start",
}

// Report reads everything in one command. An error means that nothing is known,
// not that nothing is there.
func (s *System) Report(ctx context.Context) (*Report, error) {
	report := &Report{}
	if !s.without {
		out, err := s.lvm(ctx, "report", reportArgs...)
		if err != nil {
			return nil, err
		}
		if report, err = ParseReport(out); err != nil {
			return nil, fmt.Errorf("report: %w", err)
		}
	}
	if s.group == nil {
		return report, nil
	}
	vg, err := s.group.Read()
	switch {
	case errors.Is(err, ErrNotFound): // as with a group of lvm whose disks are away
	case err != nil:
		return nil, fmt.Errorf("report: %w", err)
	default:
		report.VGs = append(report.VGs, vg)
	}
	return report, nil
}

// ParseReport reads the output of lvm fullreport. In the plain json format all
// values are strings (json_std needs lvm 2.03.17), and an inactive logical
// volume has kernel major -1.
func ParseReport(out []byte) (*Report, error) {
	var doc struct {
		Report []struct {
			VG, PV, LV []row
		}
	}
	if err := json.Unmarshal(out, &doc); err != nil {
		return nil, fmt.Errorf("parse: %w", err)
	}
	if doc.Report == nil {
		return nil, fmt.Errorf("parse: no report in the output of lvm")
	}
	var r Report
	for _, section := range doc.Report {
		if len(section.VG) == 0 {
			// Physical volumes of no volume group come in a section of their own.
			if len(section.LV) > 0 {
				return nil, fmt.Errorf("parse: %d logical volumes without a volume group", len(section.LV))
			}
			continue
		}
		if len(section.VG) != 1 {
			return nil, fmt.Errorf("parse: %d volume groups in one section", len(section.VG))
		}
		vg, err := parseVG(section.VG[0], section.PV, section.LV)
		if err != nil {
			return nil, fmt.Errorf("parse volume group %s: %w", section.VG[0]["vg_name"], err)
		}
		r.VGs = append(r.VGs, vg)
	}
	return &r, nil
}

func parseVG(head row, pvs, lvs []row) (VG, error) {
	c := columns{row: head}
	vg := VG{
		UUID: c.text("vg_uuid"), Name: c.text("vg_name"),
		Size: c.number("vg_size"), Free: c.number("vg_free"), ExtentSize: c.number("vg_extent_size"),
		MissingPVs: int(c.number("vg_missing_pv_count")), Seqno: int(c.number("vg_seqno")),
		Tags: list(head["vg_tags"]), MetadataSize: c.number("vg_mda_size"), MetadataFree: c.number("vg_mda_free"), SystemID: head["vg_systemid"],
	}
	if c.err == nil && vg.ExtentSize <= 0 {
		c.err = fmt.Errorf("extent size is %d", vg.ExtentSize)
	}
	for _, row := range pvs {
		c.row = row
		vg.PVs = append(vg.PVs, PV{
			UUID: c.text("pv_uuid"), Name: c.text("pv_name"), Size: c.number("pv_size"), Free: c.number("pv_free"), Missing: row["pv_missing"] != "",
		})
	}
	for _, row := range lvs {
		c.row = row
		lv := LV{
			UUID: c.text("lv_uuid"), Name: c.text("lv_name"), Path: c.text("lv_dm_path"),
			Size: c.number("lv_size"), Active: c.number("lv_kernel_major") >= 0,
			Tags: list(row["lv_tags"]), Attr: c.text("lv_attr"), Pool: row["pool_lv"], Health: row["lv_health_status"],
			DataPercent: c.percent("data_percent"), MetadataPercent: c.percent("metadata_percent"),
		}
		vg.LVs = append(vg.LVs, lv)
	}
	return vg, c.err
}

// list reads tags, which lvm joins with commas.
func list(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, ",")
}

type row map[string]string

// columns reads values out of a row and keeps the first error.
type columns struct {
	row row
	err error
}

func (c *columns) text(key string) string {
	if c.row[key] == "" && c.err == nil {
		c.err = fmt.Errorf("column %s is missing", key)
	}
	return c.row[key]
}

func (c *columns) number(key string) int64 {
	n, err := strconv.ParseInt(c.row[key], 10, 64)
	if err != nil && c.err == nil {
		c.err = fmt.Errorf("column %s: %w", key, err)
	}
	return n
}

// percent reads a fill, which is empty for all but active pools.
func (c *columns) percent(key string) float64 {
	if c.row[key] == "" {
		return 0
	}
	p, err := strconv.ParseFloat(c.row[key], 64)
	if err != nil && c.err == nil {
		c.err = fmt.Errorf("column %s: %w", key, err)
	}
	return p
}
