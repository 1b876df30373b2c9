package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/berth-dev/berth/pkg/lvm"
	"github.com/berth-dev/berth/pkg/provisioner"
	"github.com/berth-dev/berth/pkg/volume"
)

// inventoryCommand shows what is on this machine's disks. It needs no API server.
type inventoryCommand struct{ disks }

func (c *inventoryCommand) command() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "inventory",
		Short: "Show the volume groups and the volumes of Berth on this machine",
		Long: `Show the volume groups and the volumes of Berth on this machine, read from the
disks alone: it works without an API server and changes nothing.`,
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

// Run prints the inventory.
func (c *inventoryCommand) Run(ctx context.Context, w io.Writer) error {
	report, err := c.System().Report(ctx)
	if err != nil {
		return err
	}
	inv := newInventory(report)
	return c.Print(w, inv, inv.table)
}

// inventory is the JSON form, which programs may rely on.
type inventory struct {
	VolumeGroups []groupLine  `json:"volumeGroups"`
	Volumes      []volumeLine `json:"volumes"`
}

type groupLine struct {
	Name       string `json:"name"`
	UUID       string `json:"uuid"`
	Size       int64  `json:"size"`
	Free       int64  `json:"free"`
	MissingPVs int    `json:"missingPVs"`
	// Homes are the volumes in other groups that the tags of this one remember.
	Homes []homeLine `json:"homes,omitempty"`
}

type homeLine struct {
	Namespace   string `json:"namespace"`
	Claim       string `json:"claim"`
	Generation  int    `json:"generation"`
	VolumeGroup string `json:"volumeGroupUUID"`
}

type volumeLine struct {
	VolumeGroup string      `json:"volumeGroup"`
	Name        string      `json:"name"`
	UUID        string      `json:"uuid"`
	Size        int64       `json:"size"`
	State       string      `json:"state"`
	Active      bool        `json:"active"`
	Namespace   string      `json:"namespace,omitempty"`
	Claim       string      `json:"claim,omitempty"`
	Member      *memberLine `json:"member,omitempty"`
	Class       string      `json:"class,omitempty"`
	FSType      string      `json:"fsType,omitempty"`
	FSUUID      string      `json:"fsUUID,omitempty"`
	Generation  int         `json:"generation,omitempty"`
	APIServer   string      `json:"apiServer,omitempty"`
	TrashUntil  *time.Time  `json:"trashUntil,omitempty"`
	// Health is what lvm says is wrong with the volume, or with the thin pool it lives in.
	Health  string `json:"health,omitempty"`
	Problem string `json:"problem,omitempty"`
}

type memberLine struct {
	StatefulSet string `json:"statefulSet"`
	Ordinal     int    `json:"ordinal"`
	Replicas    int    `json:"replicas"`
}

func newInventory(report *lvm.Report) inventory {
	inv := inventory{VolumeGroups: []groupLine{}, Volumes: []volumeLine{}}
	for _, vg := range report.VGs {
		group := groupLine{Name: vg.Name, UUID: vg.UUID, Size: vg.Size, Free: vg.Free, MissingPVs: vg.MissingPVs}
		for _, h := range provisioner.Homes(vg) {
			group.Homes = append(group.Homes, homeLine{h.Namespace, h.Claim, h.Generation, h.VGUUID})
		}
		inv.VolumeGroups = append(inv.VolumeGroups, group)
	}
	for _, v := range provisioner.Survey(report) {
		t := v.Tags
		line := volumeLine{
			VolumeGroup: v.VG.Name, Name: v.LV.Name, UUID: v.LV.UUID, Size: v.LV.Size, State: v.State(), Active: v.LV.Active,
			Namespace: t.Namespace, Claim: t.Claim, Class: t.Class, FSType: t.FSType, FSUUID: t.FSUUID, Generation: t.Generation, APIServer: t.APIServer,
		}
		line.Health, _ = v.VG.Health(v.LV)
		if m := t.Member; !m.IsZero() {
			line.Member = &memberLine{m.StatefulSet, m.Ordinal, m.Replicas}
		}
		if t.State == volume.Trash {
			until := time.Unix(t.Retirement.Deadline, 0).UTC()
			line.TrashUntil = &until
		}
		if err := cmp.Or(v.Err, v.LV.Err); err != nil {
			line.Problem = err.Error()
		}
		inv.Volumes = append(inv.Volumes, line)
	}
	return inv
}

func (inv inventory) table(w io.Writer) {
	if len(inv.VolumeGroups) == 0 {
		fmt.Fprintln(w, "No volume groups. Make one with: vgcreate NAME DEVICE…")
		return
	}
	groups := newTable(w, "VOLUME GROUP", "UUID", "SIZE", "FREE", "MISSING PVS", "REMEMBERS")
	for _, g := range inv.VolumeGroups {
		groups.AppendRow(table.Row{g.Name, g.UUID, size(g.Size), size(g.Free), g.MissingPVs, fmt.Sprintf("%d volumes elsewhere", len(g.Homes))})
	}
	groups.Render()
	fmt.Fprintln(w)
	volumes := newTable(w, "CLAIM", "MEMBER", "STATE", "ACTIVE", "SIZE", "VOLUME", "LV UUID", "IN TRASH UNTIL", "HEALTH", "PROBLEM")
	for _, v := range inv.Volumes {
		member := "-"
		if m := v.Member; m != nil {
			member = fmt.Sprintf("%s %d of %d", m.StatefulSet, m.Ordinal, m.Replicas)
		}
		until := ""
		if v.TrashUntil != nil {
			until = v.TrashUntil.Format(time.RFC3339)
		}
		volumes.AppendRow(table.Row{v.Namespace + "/" + v.Claim, member, v.State, v.Active, size(v.Size), v.VolumeGroup + "/" + v.Name, v.UUID, until, v.Health, v.Problem})
	}
	volumes.SuppressEmptyColumns()
	volumes.Render()
}

func newTable(w io.Writer, header ...any) table.Writer {
	t := table.NewWriter()
	t.SetOutputMirror(w)
	style := table.StyleLight
	style.Options = table.OptionsNoBordersAndSeparators
	style.Format.Header = text.FormatDefault
	t.SetStyle(style)
	t.AppendHeader(header)
	return t
}

func size(bytes int64) string { return resource.NewQuantity(bytes, resource.BinarySI).String() }
