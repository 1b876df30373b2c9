package drill

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
)

// Print writes a record as tables: a line a member of each act, then a line an act.
func (r Record) Print(w io.Writer) {
	members := table.NewWriter()
	members.SetOutputMirror(w)
	members.SetStyle(table.StyleLight)
	members.AppendHeader(table.Row{"act", "member", "node", "logical volume", "class", "seqno", "came back by", "rows", "lost"})
	acts := table.NewWriter()
	acts.SetOutputMirror(w)
	acts.SetStyle(table.StyleLight)
	acts.AppendHeader(table.Row{"act", "bootstrapped", "why", "first Synced", "all Synced", "acknowledged", "lost", "verdict"})
	for i, act := range r.Acts {
		for _, m := range act.Members {
			members.AppendRow(table.Row{
				fmt.Sprintf("%d %s", i, act.Name), m.Member,
				change(m.Before.Node, m.After.Node), change(short(m.Before.LVUUID), short(m.After.LVUUID)),
				m.Class, m.Seqno, m.Transfer, m.Rows, m.RowsLost,
			})
		}
		members.AppendSeparator()
		verdict := "as it must be"
		if faults := act.Judge(); len(faults) > 0 {
			verdict = fmt.Sprintf("%d faults", len(faults))
		}
		granted := act.Granted
		if granted == "" {
			granted = "nobody"
		}
		acts.AppendRow(table.Row{
			fmt.Sprintf("%d %s", i, act.Name), granted, act.Why,
			fmt.Sprintf("%.1f s", act.FirstSyncedAfter), fmt.Sprintf("%.1f s", act.AllSyncedAfter),
			act.RowsAcknowledged, act.Lost(), verdict,
		})
	}
	members.Render()
	acts.Render()
}

func short(uuid string) string {
	first, _, _ := strings.Cut(uuid, "-")
	return first
}

func change(before, after string) string {
	switch before {
	case after:
		return after + " = " + after
	case "":
		return after
	}
	return before + " → " + after
}

// Faults lists what must not have happened, over all acts.
func (r Record) Faults() []string {
	var faults []string
	for _, act := range r.Acts {
		faults = append(faults, act.Judge()...)
	}
	return faults
}

// row is a line of a target's figures, in the form that all make targets share.
type row struct {
	Case string `json:"case"`
	Act
	RowsLost int      `json:"rowsLost"`
	Faults   []string `json:"faults"`
	// Ratio is first Synced by all Synced: how much of the time to full strength
	// the cluster was without service.
	Ratio float64 `json:"ratio"`
}

// Save writes a record as JSON to dir/target.json.
func (r Record) Save(dir, target string) error {
	document := struct {
		Target string `json:"target"`
		Rows   []row  `json:"rows"`
	}{Target: target}
	for i, act := range r.Acts {
		line := row{Case: fmt.Sprintf("%d %s", i, act.Name), Act: act, RowsLost: act.Lost(), Faults: act.Judge()}
		if act.AllSyncedAfter > 0 {
			line.Ratio = act.FirstSyncedAfter / act.AllSyncedAfter
		}
		document.Rows = append(document.Rows, line)
	}
	raw, err := json.MarshalIndent(document, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("save figures: %w", err)
	}
	return os.WriteFile(filepath.Join(dir, target+".json"), append(raw, '\n'), 0o644)
}
