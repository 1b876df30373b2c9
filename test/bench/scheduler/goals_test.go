package main

import (
	"strings"
	"testing"

	"github.com/berth-dev/berth/test/figures"
)

// TestGoals has rows that reach their goals, that miss one of two, and that lack
// the figure: only the first is no fault.
func TestGoals(t *testing.T) {
	var report figures.Report
	report.Add("good", judged([]figures.Figure{figures.F("a", 60.0), figures.F("b", 1.01)}, atLeast("a", 60), atMost("b", 1.01))...)
	if err := missed(report); err != nil {
		t.Error(err)
	}
	report.Add("slow", judged([]figures.Figure{figures.F("a", 59.9), figures.F("b", 1.0)}, atLeast("a", 60), atMost("b", 1.01))...)
	report.Add("high", judged([]figures.Figure{figures.F("b", 1.02)}, atMost("b", 1.01))...)
	report.Add("empty", judged(nil, atLeast("a", 60))...)
	report.Add("no goal", figures.F("a", 1.0))
	err := missed(report)
	for _, name := range []string{"slow", "high", "empty"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("row %s is no fault: %v", name, err)
		}
	}
	if err != nil && (strings.Contains(err.Error(), "good") || strings.Contains(err.Error(), "no goal")) {
		t.Error(err)
	}
}
