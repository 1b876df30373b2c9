package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-dev/berth/pkg/datadir"
)

// TestDecideReplaysASavedObject sees that the table says what a person needs at
// night: who is away, what would unblock it, and how sound the data is.
func TestDecideReplaysASavedObject(t *testing.T) {
	var out bytes.Buffer
	err := (&Decide{File: "testdata/away.yaml", Output: "table"}).Run(nil, &out)
	if exitCode(err) != exitWaits {
		t.Errorf("exit code %d (%v), expected %d", exitCode(err), err, exitWaits)
	}
	for _, want := range []string{"galera-2", "not reported", "CRASHED", "495", "490", "fine (checksum, 8123 pages)", "CORRUPT", "fatal",
		"berth/t.ibd, page 20", "gvwstate.dat: cut or empty", "(MissingMembers)", "What unblocks it:", "ago"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in:\n%s", want, out.String())
		}
	}

	var as struct {
		Verdict struct {
			Action string
			Reason struct{ Code, Unblock string }
		}
		Status struct{ Members []struct{ Class string } }
	}
	out.Reset()
	_ = (&Decide{File: "testdata/away.yaml", Output: "json"}).Run(nil, &out)
	if err := json.Unmarshal(out.Bytes(), &as); err != nil || as.Verdict.Action != "wait" || as.Verdict.Reason.Code != "MissingMembers" || len(as.Status.Members) != 2 {
		t.Errorf("%v: %s", err, out.String())
	}
}

func TestDecideRefusesOtherFiles(t *testing.T) {
	for name, content := range map[string]string{"empty": "", "another kind": "{apiVersion: v1, kind: Pod}", "no YAML": "\t{"} {
		err := (&Decide{File: "-", Output: "table"}).Run(strings.NewReader(content), &bytes.Buffer{})
		if exitCode(err) != 1 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestInspect(t *testing.T) {
	root := t.TempDir()
	data := filepath.Join(root, "data")
	inspect := func() (string, error) {
		var out bytes.Buffer
		err := (&Inspect{Output: "table", dir: data}).Run(t.Context(), &out)
		return out.String(), err
	}
	if _, err := inspect(); exitCode(err) != exitUndecided {
		t.Errorf("no directory: %v", err)
	}
	if err := os.Mkdir(data, 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := inspect(); exitCode(err) != 1 || !strings.Contains(out, "Class: EMPTY") {
		t.Errorf("empty: %v\n%s", err, out)
	}
	if err := datadir.WriteGrastate(data, datadir.Position{UUID: "11111111-2222-3333-4444-555555555555", Seqno: 9}, false); err != nil {
		t.Fatal(err)
	}
	if out, err := inspect(); exitCode(err) != 1 || !strings.Contains(out, "Class: CORRUPT") || !strings.Contains(out, "ibdata1") {
		t.Errorf("grastate.dat alone: %v\n%s", err, out)
	}
	if entries, _ := os.ReadDir(root); len(entries) != 1 {
		t.Errorf("%v: inspect wrote something", entries)
	}
}
