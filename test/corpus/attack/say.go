package attack

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/berth-dev/berth/pkg/innodb"
	"github.com/berth-dev/berth/test/corpus"
	"github.com/berth-dev/berth/test/corpus/damage"
)

// Sayings is what everybody says of one damaged directory.
type Sayings struct {
	damage.Case
	Native       string
	Missed       string // what Native lacks
	Innochecksum string
	Recover      string
	Start        string
	Use          string
}

// Ask damages a directory and asks Berth, innochecksum, the server's recovery,
// and a server that starts on it and reads all tables.
func (s *Stage) Ask(ctx context.Context, c damage.Case, seed uint64) (Sayings, error) {
	say := Sayings{Case: c}
	d, err := s.Damage(ctx, c, c.ID+"-recover", seed)
	if err != nil {
		return say, err
	}
	j, err := Judge(ctx, d, false)
	if err != nil {
		return say, err
	}
	say.Native, say.Missed = native(j.Report), Missed(c, j.Report)
	if say.Innochecksum, err = innochecksum(ctx, d); err != nil {
		return say, err
	}
	if say.Recover, err = s.recovery(ctx, c, d); err != nil {
		return say, err
	}
	if d, err = s.Damage(ctx, c, c.ID+"-start", seed); err != nil {
		return say, err
	}
	say.Start, say.Use = s.start(ctx, d)
	return say, nil
}

// native is the verdict and the kinds of findings that lead to it.
func native(r innodb.Report) string {
	var codes []string
	for _, f := range r.Findings {
		if f.Verdict == r.Verdict && !slices.Contains(codes, string(f.Code)) {
			codes = append(codes, string(f.Code))
		}
	}
	if len(codes) == 0 {
		return string(r.Verdict)
	}
	return fmt.Sprintf("%s: %s", r.Verdict, strings.Join(codes, ", "))
}

// innochecksum runs the tool on every tablespace, a process each: one command for
// files of several formats fails on sound ones.
func innochecksum(ctx context.Context, d corpus.Directory) (string, error) {
	var failed []string
	err := filepath.WalkDir(d.Data(), func(path string, entry fs.DirEntry, err error) error {
		name := filepath.Base(path)
		isTable := strings.HasSuffix(name, ".ibd") || strings.HasPrefix(name, "undo0") || name == "ibdata1"
		if err != nil || entry.IsDir() || !isTable {
			return err
		}
		args := []string{path}
		if name == "ibdata1" { // without -S the doublewrite buffer fails on every directory
			args = []string{"-S", path}
		}
		var exit *exec.ExitError
		if err := exec.CommandContext(ctx, "innochecksum", args...).Run(); errors.As(err, &exit) {
			failed = append(failed, name)
		} else if err != nil {
			return fmt.Errorf("innochecksum %s: %w", path, err)
		}
		return nil
	})
	if len(failed) > 0 {
		return "FAIL", err
	}
	return "ok", err
}

// recovery is the exit code of the server's recovery, and its position when it is
// not the one that the directory had.
func (s *Stage) recovery(ctx context.Context, c damage.Case, d corpus.Directory) (string, error) {
	r, err := d.Recover(ctx)
	if err != nil {
		return "", err
	}
	if r.Exit != 0 {
		return fmt.Sprintf("rc %d: %s", r.Exit, firstError(r.Log)), nil
	}
	if !r.Found {
		return "rc 0, no position", nil
	}
	if want, known := s.positions[c.On]; known && r.Position != want {
		return fmt.Sprintf("rc 0, position %d of %d", r.Position.Seqno, want.Seqno), nil
	}
	if c.On == damage.Transfer {
		return fmt.Sprintf("rc 0, position %d", r.Position.Seqno), nil
	}
	return "rc 0, position", nil
}

// firstError is the first error of a log that says something of the cause.
func firstError(log string) string {
	for _, text := range corpus.Errors(log) {
		if !strings.HasPrefix(text, "mariadbd: Got error") {
			text = strings.TrimPrefix(text, "InnoDB: ")
			if len(text) > 60 {
				return text[:60] + "…"
			}
			return text
		}
	}
	return "no error line"
}

// start starts a server and, when it comes up, reads every table of the load.
func (s *Stage) start(ctx context.Context, d corpus.Directory) (started, used string) {
	limited, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	server, err := d.Start(limited, "")
	var refused *mysql.MySQLError
	switch {
	case errors.As(err, &refused):
		return "up", fmt.Sprintf("nobody can log in (%d)", refused.Number)
	case errors.Is(err, context.DeadlineExceeded):
		return "does not come up in 30 s: " + firstError(d.Log()), ""
	case err != nil:
		return "dies: " + firstError(d.Log()), ""
	}
	defer server.Kill()
	return "up", s.readAll(limited, server)
}

// readAll reads all tables that were there before the damage, and names the
// errors.
func (s *Stage) readAll(ctx context.Context, server *corpus.Server) string {
	names, err := filepath.Glob(filepath.Join(s.material.Older, "cargo", "*.frm"))
	if err != nil {
		return err.Error()
	}
	var found []string
	for _, name := range names {
		name = strings.TrimSuffix(filepath.Base(name), ".frm")
		if strings.Contains(name, "@") { // encoded; the others are enough
			continue
		}
		_, err := server.DB.ExecContext(ctx, fmt.Sprintf("CREATE TEMPORARY TABLE cargo.copy ENGINE=Aria SELECT * FROM cargo.`%s`; DROP TEMPORARY TABLE cargo.copy", name))
		var refused *mysql.MySQLError
		switch {
		case errors.As(err, &refused):
			found = append(found, fmt.Sprintf("%s: error %d", name, refused.Number))
		case err != nil:
			return strings.Join(append(found, name+": the server dies"), ", ")
		}
	}
	if len(found) > 3 {
		return fmt.Sprintf("%s, and of %d more tables", strings.Join(found[:3], ", "), len(found)-3)
	}
	if len(found) > 0 {
		return strings.Join(found, ", ")
	}
	return "nothing is noticed"
}
