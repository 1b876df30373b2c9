package main

import (
	"testing"
	"time"

	"github.com/berth-dev/berth/test/figures"
)

// TestStorm blows for a second: all unrelated pods are bound, and a member whose
// node returns in the storm comes home. How long that takes is not judged here.
func TestStorm(t *testing.T) {
	o := options{manifests: "../../../manifests", stormNodes: 120,
		weather: weather{events: 10_000, calm: time.Second, storm: time.Second, probe: 20 * time.Millisecond}}
	var report figures.Report
	if err := o.storms(&report); err != nil {
		t.Fatal(err)
	}
	for _, row := range report.Rows {
		t.Log(row)
	}
	if len(report.Rows) != 6 {
		t.Errorf("%d rows, want a calm, a wind and a storm over two schedulers", len(report.Rows))
	}
}
