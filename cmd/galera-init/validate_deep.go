package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/berth-dev/berth/pkg/innodb"
	"github.com/berth-dev/berth/pkg/offline"
	"github.com/berth-dev/berth/pkg/wsrep"
)

// deep lets a server check its tables on a copy of the directory. It is not done
// where pages are known to be bad: the server would die of them and tell less.
func (v *Validate) deep(ctx context.Context, report *innodb.Report, progress io.Writer) (err error) {
	skip := func(why string) {
		report.Add(innodb.Finding{Verdict: innodb.NotVerified, Code: innodb.TableCheck, File: ".", Page: -1, Expected: "a check of the tables by a server",
			Found: "none: " + why, Do: "run level deep again when that is no more so"})
	}
	switch {
	case report.InUse:
		skip("a server runs on the directory")
		return nil
	case report.Damaged():
		skip("the directory is damaged")
		return nil
	case v.UndoDir != "":
		skip("undo tablespaces lie outside of it, where a server on a copy would change them")
		return nil
	case report.Plugins && len(v.command) == 0:
		skip("tables are compressed or encrypted, and a server takes them for damaged without its plugins: give its command with its configuration after --")
		return nil
	}
	scratch := v.Scratch
	if scratch == "" {
		scratch = filepath.Dir(filepath.Clean(v.dir))
	}
	parent, err := os.MkdirTemp(scratch, ".validate-")
	if err != nil {
		return fmt.Errorf("make a place for a copy: %w; choose another with --scratch", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(parent)) }()
	copied := filepath.Join(parent, "data")
	switch err := offline.Copy(ctx, v.dir, copied); {
	case errors.Is(err, offline.ErrOutside):
		skip(err.Error())
		return nil
	case err != nil:
		return fmt.Errorf("%w; choose another place with --scratch", err)
	}
	return v.checkTables(ctx, report, copied, progress)
}

// serverCommand is the server that reads the directory: given, or with what the
// directory tells of its configuration.
func (v *Validate) serverCommand(report *innodb.Report) []string {
	if len(v.command) > 0 {
		return v.command
	}
	return []string{"mariadbd", "--no-defaults", fmt.Sprintf("--innodb-page-size=%d", report.PageSize)}
}

func (v *Validate) checkTables(ctx context.Context, report *innodb.Report, dir string, progress io.Writer) (err error) {
	server, err := offline.Start(ctx, v.serverCommand(report), dir, answers)
	if err != nil {
		return fmt.Errorf("%w; give the server's command with its configuration after --", err)
	}
	defer func() { err = errors.Join(err, server.Stop()) }()
	checker, err := wsrep.NewChecker(server.Socket)
	if err != nil {
		return err
	}
	defer checker.Close() // before the server is ended
	faults, err := checker.CheckTables(ctx, progressOn(progress, "check tables"))
	for _, f := range faults {
		report.Add(innodb.Finding{Verdict: innodb.Fatal, Code: innodb.TableCheck, File: f.Table, Page: -1, Expected: "OK from CHECK TABLE", Found: f.Text, Do: rebuildMember})
	}
	select {
	case <-server.Ended():
		report.Add(innodb.Finding{Verdict: innodb.Fatal, Code: innodb.TableCheck, File: ".", Page: -1, Expected: "a server that checks its tables",
			Found: fmt.Sprintf("one that died of it: %v", err), Do: rebuildMember})
		return nil
	default:
		return err
	}
}

const rebuildMember = "keep the volume as it is, and rebuild this member from another one"

// answers says whether the server behind the socket takes queries.
func answers(ctx context.Context, socket string) error {
	checker, err := wsrep.NewChecker(socket)
	if err != nil {
		return err
	}
	defer checker.Close()
	return checker.Ping(ctx)
}
