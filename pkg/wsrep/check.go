package wsrep

import (
	"context"
	"database/sql"
	"fmt"
	"runtime"
	"strings"
	"sync"

	"github.com/go-sql-driver/mysql"
)

// TableFault is what CHECK TABLE says against a table.
type TableFault struct{ Table, Text string }

// Checker lets a server check its tables.
type Checker struct {
	db          *sql.DB
	connections int
}

// NewChecker connects through a Unix socket, with one connection a core. Checks
// of large tables take long: there is no time limit but the context's.
func NewChecker(socket string) (*Checker, error) {
	config := mysql.NewConfig()
	config.User, config.Net, config.Addr = "root", "unix", socket
	config.InterpolateParams = true
	config.Logger = silent{}
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return nil, fmt.Errorf("prepare connection to %s: %w", socket, err)
	}
	c := &Checker{db: sql.OpenDB(connector), connections: runtime.GOMAXPROCS(0)}
	c.db.SetMaxOpenConns(c.connections)
	return c, nil
}

// Close ends the connections.
func (c *Checker) Close() error { return c.db.Close() }

// Ping says whether the server takes queries.
func (c *Checker) Ping(ctx context.Context) error { return c.db.PingContext(ctx) }

// table is one table with its size in bytes, as the server guesses it.
type table struct {
	name string
	size int64
}

// CheckTables runs CHECK TABLE on all tables, large ones first. It tells the
// faults; the error is that the server could not be asked, or died. Progress is
// told bytes of tables, and may be nil.
func (c *Checker) CheckTables(ctx context.Context, progress func(done, total int64)) ([]TableFault, error) {
	tables, total, err := c.tables(ctx)
	if err != nil {
		return nil, fmt.Errorf("list tables: %w", err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var (
		group  sync.WaitGroup
		mu     sync.Mutex
		faults []TableFault
		done   int64
		queue  = make(chan table)
	)
	for range c.connections {
		group.Go(func() {
			for t := range queue {
				text, err := c.check(ctx, t.name)
				if err != nil {
					cancel(fmt.Errorf("check table %s: %w", t.name, err))
				}
				mu.Lock()
				if text != "" {
					faults = append(faults, TableFault{t.name, text})
				}
				if done += t.size; progress != nil {
					progress(done, total)
				}
				mu.Unlock()
			}
		})
	}
	for _, t := range tables {
		if ctx.Err() != nil {
			break
		}
		queue <- t
	}
	close(queue)
	group.Wait()
	return faults, context.Cause(ctx)
}

func (c *Checker) tables(ctx context.Context) (tables []table, total int64, err error) {
	rows, err := c.db.QueryContext(ctx, "SELECT TABLE_SCHEMA, TABLE_NAME, COALESCE(DATA_LENGTH, 0) + COALESCE(INDEX_LENGTH, 0) FROM information_schema.TABLES"+
		" WHERE TABLE_TYPE = 'BASE TABLE' AND TABLE_SCHEMA NOT IN ('information_schema', 'performance_schema') ORDER BY 3 DESC")
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	for rows.Next() {
		var schema, name string
		var size int64
		if err := rows.Scan(&schema, &name, &size); err != nil {
			return nil, 0, err
		}
		tables = append(tables, table{quote(schema) + "." + quote(name), size})
		total += size
	}
	return tables, total, rows.Err()
}

func quote(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

// check gives what the server says against a table; empty when nothing.
func (c *Checker) check(ctx context.Context, name string) (string, error) {
	rows, err := c.db.QueryContext(ctx, "CHECK TABLE "+name)
	if err != nil {
		return "", err
	}
	defer rows.Close()
	var faults []string
	for rows.Next() {
		var table, op, kind, text string
		if err := rows.Scan(&table, &op, &kind, &text); err != nil {
			return "", err
		}
		if strings.EqualFold(kind, "error") || (kind == "status" && text != "OK" && text != "Table is already up to date") {
			faults = append(faults, text)
		}
	}
	return strings.Join(faults, "; "), rows.Err()
}
