package member

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestRecoverThatCrashes: a crash behind the position is damage when it comes
// each time, and one before the position at once.
func TestRecoverThatCrashes(t *testing.T) {
	const line = `echo "0 [Note] WSREP: Recovered position: 87f07dea-f877-43e1-9f3f-4097ac753773:623" >&2`
	const crash = `echo "0 [ERROR] mariadbd got signal 11 ;" >&2`
	for name, c := range map[string]struct {
		script string
		runs   int
	}{
		"behind the position": {line + "; " + crash, crashTries},
		"before":              {crash, 1},
		"after damage":        {line + `; echo "0 [ERROR] InnoDB: page is bad" >&2; ` + crash, 1},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			program, runs := filepath.Join(dir, "server"), filepath.Join(dir, "runs")
			script := "#!/bin/sh\necho run >>" + runs + "; " + c.script + "; exit 1\n"
			if err := os.WriteFile(program, []byte(script), 0o755); err != nil {
				t.Fatal(err)
			}
			r, err := Server{Command: []string{program}, RecoveryPool: "64M", Log: io.Discard}.Recover(t.Context(), dir)
			if err != nil || r.Found || len(r.Errors) == 0 {
				t.Errorf("%+v, error %v", r, err)
			}
			raw, err := os.ReadFile(runs)
			if n := strings.Count(string(raw), "run"); err != nil || n != c.runs {
				t.Errorf("%d runs, want %d (%v)", n, c.runs, err)
			}
		})
	}
}

// A server that tells the position and does not end is killed and asked again;
// one that never ends is a disturbed run and no verdict about the data.
func TestRecoverThatDoesNotEnd(t *testing.T) {
	const line = `echo "0 [Note] WSREP: Recovered position: 87f07dea-f877-43e1-9f3f-4097ac753773:623" >&2`
	for name, c := range map[string]struct {
		script string
		runs   int
		want   string // part of the error; empty: the position is found
	}{
		"once":   {line + `; test $(wc -l <"$runs") -gt 1 || exec sleep 60`, 2, ""},
		"purge":  {line + `; case "$*" in *--innodb-force-recovery=2*) ;; *) exec sleep 60 ;; esac`, withPurge + 1, ""},
		"always": {line + `; exec sleep 60`, recoveryTries, "did not end"},
		"never":  {line, 1, ""},
		"crash":  {line + `; test $(wc -l <"$runs") -gt 1 || { echo "0 [ERROR] mariadbd got signal 11 ;" >&2; exit 1; }`, 2, ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			program, runs := filepath.Join(dir, "server"), filepath.Join(dir, "runs")
			script := "#!/bin/sh\nruns=" + runs + `; echo run >>"$runs"; ` + c.script + "\n"
			if err := os.WriteFile(program, []byte(script), 0o755); err != nil {
				t.Fatal(err)
			}
			s := Server{Command: []string{program}, RecoveryPool: "64M", EndPatience: 100 * time.Millisecond, Log: io.Discard}
			r, err := s.Recover(t.Context(), dir)
			switch {
			case c.want == "" && (err != nil || !r.Found || r.Position.Seqno != 623):
				t.Errorf("%+v, error %v", r, err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("error %v, want %q", err, c.want)
			}
			raw, err := os.ReadFile(runs)
			if n := strings.Count(string(raw), "run"); err != nil || n != c.runs {
				t.Errorf("%d runs, want %d (%v)", n, c.runs, err)
			}
		})
	}
}
