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
