package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/berth-dev/berth/test/corpus"
)

const (
	tables = 4
	// rowBytes is about what a row takes in its table.
	rowBytes = 520
	mb       = 1 << 20
)

// settings keep changes in the log, and the log out of the way of making data.
var settings = []string{"innodb_buffer_pool_size=1G", "innodb_log_file_size=1G", "innodb_flush_log_at_trx_commit=2",
	"innodb_adaptive_flushing=OFF", "innodb_max_dirty_pages_pct=99", "innodb_doublewrite=OFF"}

// directories are the data directories to measure on.
type directories struct {
	large, crashed corpus.Directory
	tables         []string // of the large one
	bytes          int64    // of these
}

// prepare makes the directories, or finds those of an earlier run.
func (o options) prepare(ctx context.Context) (directories, error) {
	formats, err := corpus.Named("full_crc32-16k")
	if err != nil {
		return directories{}, err
	}
	root, err := filepath.Abs(o.corpus)
	if err != nil {
		return directories{}, err
	}
	d := directories{}
	d.large, err = o.make(ctx, formats[0], filepath.Join(root, fmt.Sprintf("large-%d", o.size)), o.fill)
	if err != nil {
		return d, err
	}
	d.crashed, err = o.make(ctx, formats[0], filepath.Join(root, fmt.Sprintf("crashed-%d", o.redo)), o.crash)
	if err != nil {
		return d, err
	}
	if d.tables, err = filepath.Glob(filepath.Join(d.large.Data(), "bench", "*.ibd")); err != nil {
		return d, err
	}
	for _, name := range d.tables {
		info, err := os.Stat(name)
		if err != nil {
			return d, err
		}
		d.bytes += info.Size()
	}
	return d, nil
}

// make makes a directory unless it is there; it is complete when its mark is.
func (o options) make(ctx context.Context, format corpus.Format, root string, fill func(context.Context, *corpus.Server) error) (corpus.Directory, error) {
	d := corpus.Directory{Root: root, Format: format, Settings: settings}
	mark := filepath.Join(root, "complete")
	if _, err := os.Stat(mark); err == nil {
		return d, nil
	}
	fmt.Fprintln(os.Stderr, "making", root)
	if err := os.RemoveAll(root); err != nil {
		return d, err
	}
	if err := d.Install(ctx); err != nil {
		return d, err
	}
	server, err := d.Start(ctx, "")
	if err != nil {
		return d, err
	}
	if err := fill(ctx, server); err != nil {
		server.Kill()
		return d, fmt.Errorf("fill %s: %w", root, err)
	}
	return d, os.WriteFile(mark, nil, 0o644)
}

const createTable = "CREATE TABLE bench.t%d (a INT PRIMARY KEY AUTO_INCREMENT, b CHAR(200) NOT NULL, c CHAR(250) NOT NULL) ENGINE=InnoDB CHARSET=latin1"

// fill makes tables of the asked-for size and shuts the server down.
func (o options) fill(ctx context.Context, server *corpus.Server) error {
	const batch = 50000
	rows := o.size * mb / rowBytes / tables
	statements := []string{"CREATE DATABASE bench"}
	for t := range tables {
		statements = append(statements, fmt.Sprintf(createTable, t))
		for done := int64(0); done < rows; done += batch {
			statements = append(statements, fmt.Sprintf(
				"INSERT INTO bench.t%d (b, c) SELECT REPEAT(UUID(), 5), REPEAT(MD5(RAND()), 7) FROM bench.seq_1_to_%d", t, min(batch, rows-done)))
		}
	}
	for _, statement := range statements {
		if _, err := server.DB.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return server.Stop()
}

// crash writes until so much of the log is not applied, and kills the server.
func (o options) crash(ctx context.Context, server *corpus.Server) error {
	statements := []string{"CREATE DATABASE bench", fmt.Sprintf(createTable, 0),
		"INSERT INTO bench.t0 (b, c) SELECT UUID(), MD5(RAND()) FROM bench.seq_1_to_100000"}
	for _, statement := range statements {
		if _, err := server.DB.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	for from := 0; ; from = (from + 1000) % 100000 {
		if _, err := server.DB.ExecContext(ctx, "UPDATE bench.t0 SET b = REPEAT(UUID(), 5), c = REPEAT(MD5(RAND()), 7) WHERE a BETWEEN ? AND ?", from, from+999); err != nil {
			return err
		}
		current, err := status(ctx, server, "Innodb_lsn_current")
		if err != nil {
			return err
		}
		checkpoint, err := status(ctx, server, "Innodb_lsn_last_checkpoint")
		if err != nil {
			return err
		}
		if current-checkpoint >= o.redo*mb {
			server.Kill()
			return nil
		}
	}
}

func status(ctx context.Context, server *corpus.Server, name string) (int64, error) {
	var value string
	if err := server.DB.QueryRowContext(ctx, "SHOW GLOBAL STATUS LIKE '"+name+"'").Scan(&name, &value); err != nil {
		return 0, err
	}
	return strconv.ParseInt(value, 10, 64)
}
