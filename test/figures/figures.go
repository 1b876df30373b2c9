// Package figures prints what a make target measured and keeps the same as JSON.
package figures

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/jedib0t/go-pretty/v6/table"
)

// Ratio names the figure that compares a row's case with what it was measured
// beside, in the same run.
const Ratio = "ratio"

// Figure is one measured value. Its name ends in the unit: "open_seconds_p50".
type Figure struct {
	Name  string
	Value any
}

// F makes a Figure.
func F(name string, value any) Figure { return Figure{Name: name, Value: value} }

// Row is what was measured in one case, in the order of its columns.
type Row struct {
	Case    string
	Figures []Figure
}

// MarshalJSON writes a row as one object, the case first.
func (r Row) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, f := range append([]Figure{F("case", r.Case)}, r.Figures...) {
		name, err := json.Marshal(f.Name)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(f.Value)
		if err != nil {
			return nil, fmt.Errorf("figure %s of %s: %w", f.Name, r.Case, err)
		}
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(name)
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// Report is what one make target measured.
type Report struct {
	Target string `json:"target"`
	Rows   []Row  `json:"rows"`
}

// Add appends a row.
func (r *Report) Add(what string, figures ...Figure) {
	r.Rows = append(r.Rows, Row{Case: what, Figures: figures})
}

// Emit prints the report as a table and saves it as dir/target.json.
func (r Report) Emit(w io.Writer, dir string) error {
	r.Print(w)
	return r.Save(dir)
}

// Print writes the report as a table. Columns stand in the order in which rows
// name them first; a row without a figure has an empty cell.
func (r Report) Print(w io.Writer) {
	t := table.NewWriter()
	t.SetOutputMirror(w)
	t.SetStyle(table.StyleLight)
	columns := r.columns()
	header := table.Row{"case"}
	for _, name := range columns {
		header = append(header, name)
	}
	t.AppendHeader(header)
	for _, row := range r.Rows {
		cells := table.Row{row.Case}
		for _, name := range columns {
			cells = append(cells, row.cell(name))
		}
		t.AppendRow(cells)
	}
	t.Render()
}

func (r Report) columns() []string {
	var columns []string
	seen := map[string]bool{}
	for _, row := range r.Rows {
		for _, f := range row.Figures {
			if !seen[f.Name] {
				seen[f.Name] = true
				columns = append(columns, f.Name)
			}
		}
	}
	return columns
}

func (r Row) cell(name string) string {
	for _, f := range r.Figures {
		if f.Name != name {
			continue
		}
		if v, is := f.Value.(float64); is {
			return fmt.Sprintf("%.4g", v)
		}
		return fmt.Sprint(f.Value)
	}
	return ""
}

// Save writes the report as JSON to dir/target.json.
func (r Report) Save(dir string) error {
	raw, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("save figures of %s: %w", r.Target, err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("save figures of %s: %w", r.Target, err)
	}
	return os.WriteFile(filepath.Join(dir, r.Target+".json"), append(raw, '\n'), 0o644)
}
