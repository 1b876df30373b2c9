package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/berth-dev/berth/pkg/datadir"
	"github.com/berth-dev/berth/pkg/innodb"
)

// Validate checks a data directory for people.
type Validate struct {
	Level, Rate, Output string
	UndoDir, Scratch    string
	SystemFiles         []string
	Workers             int
	Seed                uint64

	dir     string
	command []string // the server's, for level deep
	rate    int64
}

// gcPercent has a run that keeps little do without the collector until it has
// allocated some 20 MB: a short one never pays for it.
const gcPercent = 400

func newValidateCommand() *cobra.Command {
	var v Validate
	cmd := &cobra.Command{
		Use:   "validate DIR [-- SERVER ARGUMENTS...]",
		Short: "Check a data directory: every page, the log, the dictionary, the position",
		Long: `validate says whether a data directory is what its server wrote. It writes nothing there and takes no lock, so that it can look at a directory in use; it then says so and does
not judge what the server may be writing.

Levels, each with all that the one before does:

  quick     headers, sizes, redo log, position, dictionary against files, control files: milliseconds,
            and about a second for 400 MB of redo
  sample    all system pages, and a part of the others: seconds, for large volumes
  checksum  every page: as fast as the disk reads (the default)
  deep      a server checks its tables (CHECK TABLE), one connection a core: some minutes for 100 GB. It
            runs on a copy, without network and cluster; the copy takes no room on XFS, which shares
            blocks, and else as much as DIR. The server's command may follow after --; it is needed
            where tables are encrypted, or the system tablespace has several files

Verdicts, from the best to the worst:

  fine          sound
  not verified  nothing on it can be checked here: no checksum, no key, a server at work
  repairable    can be mended in place; the finding says how, or that the next start does it
  environment   something outside the data kept validate from judging: permission, I/O error
  fatal         only another copy of the data mends it

Exit codes: 0 sound, 1 damaged, 2 could not tell, 64 wrong usage.`,
		Example: `  galera-init validate /var/lib/mysql
  galera-init validate --level quick --output json /var/lib/mysql
  galera-init validate --rate 50M /var/lib/mysql   # beside a server on the same disk
  galera-init validate --level deep /var/lib/mysql -- mariadbd --defaults-file=/etc/mysql/my.cnf`,
		Args: func(cmd *cobra.Command, args []string) error {
			dirs := len(args)
			if dash := cmd.ArgsLenAtDash(); dash >= 0 {
				dirs = dash
			}
			if dirs != 1 {
				return usageError{fmt.Errorf("validate takes one data directory, not %d; see `%s --help`", dirs, cmd.CommandPath())}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			debug.SetGCPercent(gcPercent)
			v.dir, v.command = args[0], args[1:]
			if err := v.Validate(); err != nil {
				return usageError{err}
			}
			return v.Run(cmd.Context(), os.Stdout, os.Stderr)
		},
	}
	v.Flags(cmd.Flags())
	return cmd
}

// Flags declares the flags.
func (v *Validate) Flags(fs *pflag.FlagSet) {
	fs.StringVar(&v.Level, "level", string(innodb.Checksum), "how much to look at: quick, sample, checksum or deep")
	fs.StringVar(&v.Rate, "rate", "", "read at most so many bytes a second, as 100M or 1Gi; empty is no limit")
	fs.StringVarP(&v.Output, "output", "o", "table", "table, or json for programs")
	fs.StringVar(&v.UndoDir, "undo-directory", "", "innodb_undo_directory, when it is not DIR")
	fs.StringVar(&v.Scratch, "scratch", "", "where level deep makes its copy; empty is beside DIR, where file systems can share blocks")
	fs.StringSliceVar(&v.SystemFiles, "system-files", nil, "names of innodb_data_file_path in their order (default ibdata1, ibdata2 and so on)")
	fs.IntVar(&v.Workers, "workers", 0, "how many readers; 0 is one a core")
	fs.Uint64Var(&v.Seed, "seed", 0, "which pages level sample reads")
}

// Validate checks the flags.
func (v *Validate) Validate() error {
	var problems []error
	switch innodb.Level(v.Level) {
	case innodb.Quick, innodb.Sample, innodb.Checksum:
		if len(v.command) > 0 {
			problems = append(problems, errors.New("a server's command is for --level deep only"))
		}
	case innodb.Deep:
	default:
		problems = append(problems, fmt.Errorf("--level %q: expected quick, sample, checksum or deep", v.Level))
	}
	if v.Output != "table" && v.Output != "json" {
		problems = append(problems, fmt.Errorf("--output %q: expected table or json", v.Output))
	}
	if v.Rate != "" {
		rate, err := resource.ParseQuantity(v.Rate)
		if v.rate = rate.Value(); err != nil || v.rate <= 0 {
			problems = append(problems, fmt.Errorf("--rate %q: expected a number of bytes a second, as 100M or 1Gi", v.Rate))
		}
	}
	if v.Workers < 0 {
		problems = append(problems, fmt.Errorf("--workers %d: expected 0 or more", v.Workers))
	}
	return errors.Join(problems...)
}

// Errors that say how a check ended; the report has the details.
var (
	errDamaged   = errors.New("the directory is damaged")
	errUndecided = errors.New("could not tell whether the directory is sound")
)

// Run verifies and prints. The error says how it ended, for the exit code.
func (v *Validate) Run(ctx context.Context, out, progress io.Writer) error {
	report, err := innodb.Verify(ctx, v.dir, innodb.Options{
		Level: innodb.Level(v.Level), Rate: v.rate, Workers: v.Workers, Seed: v.Seed,
		UndoDir: v.UndoDir, SystemFiles: v.SystemFiles, Progress: progressOn(progress, "verify"),
	})
	if err != nil {
		return fmt.Errorf("%w: %w", errUndecided, err)
	}
	// Berth's own files lie beside the data directory, if there are any.
	evidence, err := datadir.Look(datadir.Volume{Root: filepath.Dir(filepath.Clean(v.dir)), Data: v.dir})
	if err != nil {
		return fmt.Errorf("%w: %w", errUndecided, err)
	}
	report.Add(evidence.Findings(report)...)
	if report.Level == innodb.Deep {
		if err := v.deep(ctx, &report, progress); err != nil {
			return fmt.Errorf("%w: %w", errUndecided, err)
		}
	}
	if v.Output == "json" {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(report); err != nil {
			return err
		}
	} else {
		printReport(out, report)
	}
	switch {
	case report.Damaged():
		return fmt.Errorf("%w: %s", errDamaged, report.Summary())
	case !report.Sound():
		return fmt.Errorf("%w: %s", errUndecided, report.Summary())
	}
	return nil
}
