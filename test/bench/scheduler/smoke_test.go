package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/test/figures"
)

// TestSmoke runs the benchmark on a small cluster, so that it is known to work
// when its figures are wanted. Speed is not judged; that all pods are placed,
// that they are with their volumes, and that foreign pods are batched, is.
func TestSmoke(t *testing.T) {
	o := options{manifests: "../../../manifests", plan: plan{rounds: 2, length: time.Millisecond, most: 6, every: 2}, neutralRounds: 4, neutralPods: 6, neutralStarts: 2}
	var report figures.Report
	if err := o.size(&report, 12); err != nil {
		t.Fatal(err)
	}
	signed := 0
	for _, row := range report.Rows {
		if !strings.Contains(row.Case, "no volume, signed") || strings.HasSuffix(row.Case, "extender") {
			continue
		}
		signed++
		i := slices.IndexFunc(row.Figures, func(f figures.Figure) bool { return f.Name == "batched_share" })
		if share := row.Figures[i].Value.(float64); share == 0 {
			t.Errorf("%s: no pod was batched: signatures are dead", row.Case)
		}
	}
	if signed != 2 {
		t.Errorf("%d rows of signed pods, want stock's and ours", signed)
	}
}

// TestControls runs what takes the place of ours, on new volumes.
func TestControls(t *testing.T) {
	for _, control := range []string{controlStock, controlNamed} {
		o := options{manifests: "../../../manifests", only: "new volume", control: control, plan: plan{rounds: 1, length: time.Millisecond, most: 6}, neutralStarts: 1}
		var report figures.Report
		if err := o.size(&report, 12); err != nil {
			t.Errorf("%s: %v", control, err)
		}
		if len(report.Rows) != 6 {
			t.Errorf("%s: %d rows, want three lanes in two worlds", control, len(report.Rows))
		}
	}
	o := options{manifests: "../../../manifests", control: "other", neutralStarts: 1}
	if err := o.size(&figures.Report{}, 12); err == nil || !strings.Contains(err.Error(), controlNamed) {
		t.Errorf("an unknown control: %v", err)
	}
}
