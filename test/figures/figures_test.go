package figures

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReport(t *testing.T) {
	r := Report{Target: "bench-x"}
	r.Add("stock", F("seconds", 2.0), F("pods", 10))
	r.Add("ours", F("seconds", 0.5), F("pods", 10), F(Ratio, 4.0))
	dir := t.TempDir()
	var printed bytes.Buffer
	if err := r.Emit(&printed, dir); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"CASE", "SECONDS", "RATIO", "stock", "0.5"} {
		if !strings.Contains(printed.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, &printed)
		}
	}
	raw, err := os.ReadFile(filepath.Join(dir, "bench-x.json"))
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"target": "bench-x", "rows": []any{
		map[string]any{"case": "stock", "seconds": 2.0, "pods": 10.0},
		map[string]any{"case": "ours", "seconds": 0.5, "pods": 10.0, "ratio": 4.0},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
