package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/pkg/lvm"
)

// doctorCommand looks for what makes lvm unsafe or soon unusable here.
type doctorCommand struct{ disks }

func (c *doctorCommand) command() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look for what makes lvm unsafe, or soon unusable, on this machine",
		Long: `Look for what makes lvm unsafe, or soon unusable, on this machine: a lock
directory, archive or configuration that only this container sees (the agent looks
for these too, and writes nothing meanwhile), missing disks, volumes that lvm does
not call healthy, as one of raid1 that lost a copy, names or UUIDs that are there
twice, volume groups of another system ID, metadata areas and thin pools that fill up.
It changes nothing. Ends with code 1 when it found something, and with 2 when it could
not look.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.Validate(); err != nil {
				return err
			}
			return c.Run(cmd.Context(), cmd.OutOrStdout())
		},
	}
	c.Flags(cmd.Flags())
	return cmd
}

var (
	errFindings = errors.New("doctor found something to mend")
	errUnseen   = errors.New("doctor could not look")
)

// Run prints what it found.
func (c *doctorCommand) Run(ctx context.Context, w io.Writer) error {
	report, err := c.System().Report(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", errUnseen, err)
	}
	found := append(c.SelfTest().Private(ctx), examine(report)...)
	if err := c.Print(w, map[string]any{"findings": found}, func(w io.Writer) {
		if len(found) == 0 {
			fmt.Fprintf(w, "Nothing to mend: %d volume groups and the mounts of this process were looked at.\n", len(report.VGs))
			return
		}
		t := newTable(w, "SUBJECT", "PROBLEM", "FIX")
		for _, f := range found {
			t.AppendRow(table.Row{f.Subject, f.Problem, f.Fix})
		}
		t.Render()
	}); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	if len(found) > 0 {
		return errFindings
	}
	return nil
}

// examine finds what the report tells.
func examine(report *lvm.Report) []lvm.Finding {
	found := []lvm.Finding{}
	add := func(subject, fix, format string, args ...any) {
		found = append(found, lvm.Finding{Subject: subject, Problem: fmt.Sprintf(format, args...), Fix: fix})
	}
	uuids := map[string]string{}
	for _, vg := range report.VGs {
		if n := len(report.VG(vg.Name)); n > 1 {
			add(vg.Name, "vgrename UUID NAME", "%d volume groups have this name, one has UUID %s", n, vg.UUID)
		}
		if vg.MissingPVs > 0 {
			add(vg.Name, "bring the disks back (pvs, lvmdevices); one that is back and still called missing: vgextend --restoremissing "+vg.Name+" DISK", "%d physical volumes are missing, nothing is written", vg.MissingPVs)
		}
		if vg.SystemID != "" {
			add(vg.Name, "vgchange --systemid '' when the disks move between machines", "belongs to system ID %s: after a new installation lvm takes it for another machine's", vg.SystemID)
		}
		if vg.MetadataFree < 4*lvm.MetadataReserve {
			add(vg.Name, "remove volumes, or make the next group with a larger area (vgcreate --metadatasize)", "%d of %d bytes of metadata room are left", vg.MetadataFree, vg.MetadataSize)
		}
		for _, pv := range vg.PVs {
			if other, twice := uuids[pv.UUID]; twice {
				add(pv.Name, "vgimportclone the copy, or hide it from lvm", "has UUID %s, as has %s", pv.UUID, other)
			}
			uuids[pv.UUID] = pv.Name
		}
		for _, lv := range vg.LVs {
			if lv.Err != nil {
				add(vg.Name+"/"+lv.Name, "put back what was there; while it is away the volume is not served", "%v", lv.Err)
			}
			if lv.Health != "" && (lv.Health != lvm.HealthPartial || vg.MissingPVs == 0) {
				meaning, fix := lvm.Remedy(lv.Health, vg.Name+"/"+lv.Name)
				add(vg.Name+"/"+lv.Name, fix, "lvm calls it %q: %s", lv.Health, meaning)
			}
			if lv.IsThinPool() && max(lv.DataPercent, lv.MetadataPercent) >= 80 {
				add(vg.Name+"/"+lv.Name, "lvextend the pool before it is full: full, it damages the file systems in it", "data %.0f%%, metadata %.0f%% full", lv.DataPercent, lv.MetadataPercent)
			}
		}
	}
	return found
}
