package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/pkg/datadir"
	"github.com/berth-dev/berth/pkg/member"
)

// Inspect says what a data directory is worth, without Kubernetes.
type Inspect struct {
	Volume, Namespace, Cluster, Output string
	Ordinal                            int

	dir string
}

func newInspectCommand() *cobra.Command {
	var i Inspect
	cmd := &cobra.Command{
		Use:   "inspect DIR",
		Short: "Say what a data directory is: evidence, position and class, without Kubernetes",
		Long: `inspect reads a member's data directory as prepare does before it changes anything: grastate.dat,
gvwstate.dat, marks of a state transfer and of a running server, galera.cache, Berth's files beside
the directory, rollback segments and redo log for the position, and the structure of all files. It
starts no server, writes nothing and needs no API server.

For a directory whose server was not stopped in order the class is a forecast: the server's own
recovery, which writes, has the last word. Its position is at least the one that is shown.
To read every page as well: galera-init validate DIR.

Exit codes: 0 a cluster can be started from it, 1 it cannot, 2 it could not be read, 64 wrong usage.`,
		Example: `  galera-init inspect /var/lib/galera/data
  galera-init inspect /mnt/rescued/data --output json
  galera-init inspect /var/lib/mysql --volume /var/lib/mysql   # not laid out by Berth`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{fmt.Errorf("inspect takes one data directory, not %d; see `%s --help`", len(args), cmd.CommandPath())}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			i.dir = args[0]
			if err := checkOutput(i.Output); err != nil {
				return usageError{err}
			}
			return i.Run(cmd.Context(), os.Stdout)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&i.Volume, "volume", "", "the volume's mount point, with Berth's files in its directory berth (default: the directory above DIR)")
	flags.StringVarP(&i.Namespace, "namespace", "n", "", "namespace of the member to whom the volume should belong")
	flags.StringVar(&i.Cluster, "cluster", "", "its cluster; empty believes the lineage on the volume")
	flags.IntVar(&i.Ordinal, "ordinal", 0, "its ordinal")
	outputFlag(flags, &i.Output)
	return cmd
}

var errCannotLead = errors.New("no cluster can be started from this directory")

// inspection is what inspect prints as JSON.
type inspection struct {
	Dir      string            `json:"dir"`
	Class    datadir.Class     `json:"class"`
	Certain  bool              `json:"certain"`
	Position datadir.Position  `json:"position"`
	Source   string            `json:"source"`
	Findings []datadir.Finding `json:"findings,omitempty"`
	Native   datadir.Position  `json:"native"`
	Reason   string            `json:"reason,omitempty"`
	Grastate datadir.Grastate  `json:"grastate"`
	View     *datadir.View     `json:"view,omitempty"`
	Markers  []string          `json:"markers,omitempty"`
	Traces   []string          `json:"traces,omitempty"`
	Cache    datadir.Cache     `json:"cache,omitzero"`
	Lineage  *datadir.Lineage  `json:"lineage,omitempty"`
	Saw      *datadir.Position `json:"committed,omitempty"`
	Notes    []string          `json:"notes,omitempty"`
}

// Run looks and prints. The error says how it ended, for the exit code.
func (i *Inspect) Run(ctx context.Context, out io.Writer) error {
	root := i.Volume
	if root == "" {
		root = filepath.Dir(filepath.Clean(i.dir))
	}
	volume := datadir.Volume{Root: root, Data: i.dir}
	owner := datadir.Owner{Namespace: i.Namespace, Cluster: i.Cluster, Ordinal: i.Ordinal}
	if _, err := os.Stat(i.dir); err != nil {
		return fmt.Errorf("%w: %w", errUndecided, err)
	}
	if i.Cluster == "" {
		lineage, err := datadir.ReadLineage(volume.Lineage())
		if err != nil {
			return fmt.Errorf("%w: %w", errUndecided, err)
		}
		if lineage != nil {
			owner = datadir.Owner{Namespace: lineage.Namespace, Cluster: lineage.Cluster, Ordinal: lineage.Ordinal}
		}
	}
	look, err := member.Examiner{Volume: volume, Owner: owner}.Look(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", errUndecided, err)
	}
	a, certain := look.Preview(owner)
	e := look.Evidence
	result := inspection{Dir: i.dir, Class: a.Class, Certain: certain, Position: a.Position, Source: a.Source, Findings: a.Findings,
		Native: look.Native, Reason: look.Reason, Grastate: e.Grastate, View: e.View, Markers: e.Markers, Traces: e.Traces,
		Cache: e.Cache, Lineage: e.Lineage, Saw: e.Committed, Notes: e.Notes}
	if i.Output == "json" {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(result); err != nil {
			return err
		}
	} else {
		result.print(out)
	}
	if !a.Class.MayLead() {
		return fmt.Errorf("%w: it is %s", errCannotLead, a.Class)
	}
	return nil
}

func (r inspection) print(out io.Writer) {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.AppendHeader(table.Row{"Evidence", "Found"})
	t.SetColumnConfigs([]table.ColumnConfig{{Number: 2, WidthMax: 100}})
	flag := "safe_to_bootstrap 0"
	if r.Grastate.SafeToBootstrap {
		flag = "safe_to_bootstrap 1"
	}
	t.AppendRow(table.Row{"grastate.dat", fmt.Sprintf("%s, %s, %s", r.Grastate.State, r.Grastate.Position, flag)})
	view := "none"
	if r.View != nil {
		view = fmt.Sprintf("view %s of %d members", r.View.ID, len(r.View.Members))
	}
	t.AppendRow(table.Row{"last Primary view", view})
	t.AppendRow(table.Row{"marks of a state transfer", orNone(r.Markers)})
	t.AppendRow(table.Row{"traces of a running server", orNone(r.Traces)})
	native := r.Native.String()
	if r.Reason != "" {
		native += " (" + r.Reason + ")"
	}
	t.AppendRow(table.Row{"position in files and log", native})
	cache := "nothing that can be sent"
	if r.Cache.First > 0 {
		cache = fmt.Sprintf("%d to %d of %s", r.Cache.First, r.Cache.Last, r.Cache.UUID)
	}
	t.AppendRow(table.Row{"galera.cache", cache})
	lineage := "none"
	if l := r.Lineage; l != nil {
		lineage = fmt.Sprintf("member %d of %s/%s, attempt %d from %s", l.Ordinal, l.Namespace, l.Cluster, l.Newest().Attempt, l.Newest().Begin)
	}
	t.AppendRow(table.Row{"lineage", lineage})
	if r.Saw != nil {
		t.AppendRow(table.Row{"last seen committed", r.Saw})
	}
	for _, note := range r.Notes {
		t.AppendRow(table.Row{"note", note})
	}
	fmt.Fprintln(out, t.Render())
	for _, f := range r.Findings {
		fmt.Fprintln(out, f)
	}
	switch {
	case r.Certain:
		fmt.Fprintf(out, "Class: %s at %s (from %s)\n", r.Class, r.Position, r.Source)
	default:
		fmt.Fprintf(out, "Class: %s at %s or more, if the server's own recovery says so too (from %s)\n", r.Class, r.Position, r.Source)
	}
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}
