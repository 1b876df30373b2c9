package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/test/corpus/attack"
	"github.com/berth-dev/berth/test/corpus/damage"
	"github.com/berth-dev/berth/test/figures"
)

func corruptionCommand(o *options) *cobra.Command {
	var docs string
	cmd := &cobra.Command{
		Use:   "corruption-table",
		Short: "Damage directories in every way: who notices",
		Long: `corruption-table damages copies of directories in every way of damage.Cases and asks Berth, innochecksum,
the server's recovery (mariadbd --wsrep-recover), and a server that starts on the directory and reads all tables.
It fails when Berth does not see what it must.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runCorruption(cmd.Context(), o, docs) },
	}
	cmd.Flags().StringVar(&docs, "docs", "", "a Markdown file whose table is replaced, from its first line that starts with | to its last")
	return cmd
}

func runCorruption(ctx context.Context, o *options, docs string) error {
	m, err := o.maker()
	if err != nil {
		return err
	}
	stage, err := attack.NewStage(ctx, m, o.seed)
	if err != nil {
		return err
	}
	cases := damage.Cases()
	said := make([]attack.Sayings, len(cases))
	bar := progress(len(cases), "damage")
	err = o.each(ctx, len(cases), func(ctx context.Context, i int) error {
		var err error
		said[i], err = stage.Ask(ctx, cases[i], o.seed)
		bar.Add(1)
		return err
	})
	if err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(m.Root, "damage")); err != nil {
		return err
	}
	render(os.Stdout, said, false)
	if err := saveCorruption(said, o.out); err != nil {
		return err
	}
	if docs != "" {
		if err := replaceTable(docs, said); err != nil {
			return err
		}
	}
	missed := 0
	for _, s := range said {
		if s.Missed != "" {
			missed++
			fmt.Fprintf(os.Stderr, "%s %s: %s\n", s.ID, s.What, s.Missed)
		}
	}
	if missed > 0 {
		return fmt.Errorf("%d of %d kinds of damage were not judged as they must be", missed, len(said))
	}
	return nil
}

func render(w io.Writer, said []attack.Sayings, markdown bool) {
	t := table.NewWriter()
	t.SetOutputMirror(w)
	t.SetStyle(table.StyleLight)
	t.AppendHeader(table.Row{"#", "damage", "galera-init validate", "innochecksum", "--wsrep-recover", "server start", "on use"})
	for _, s := range said {
		native := s.Native
		if s.Unseen() {
			native += " (cannot be seen)"
		}
		t.AppendRow(table.Row{s.ID, s.What, native, s.Innochecksum, s.Recover, s.Start, s.Use})
	}
	if markdown {
		t.RenderMarkdown()
	} else {
		t.Render()
	}
}

func saveCorruption(said []attack.Sayings, out string) error {
	report := figures.Report{Target: "corruption-table"}
	for _, s := range said {
		report.Add(s.ID+" "+s.What, figures.F("validate", s.Native), figures.F("missed", s.Missed), figures.F("innochecksum", s.Innochecksum),
			figures.F("wsrep_recover", s.Recover), figures.F("server_start", s.Start), figures.F("on_use", s.Use))
	}
	return report.Save(out)
}

// replaceTable puts the table into a Markdown file, in place of the one there.
func replaceTable(path string, said []attack.Sayings) error {
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	written := false
	for line := range bytes.Lines(old) {
		if !bytes.HasPrefix(line, []byte("|")) {
			b.Write(line)
		} else if !written {
			render(&b, said, true)
			written = true
		}
	}
	if !written {
		return fmt.Errorf("%s has no table to replace", path)
	}
	return os.WriteFile(path, b.Bytes(), 0o644)
}
