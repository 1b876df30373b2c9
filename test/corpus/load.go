package corpus

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/go-sql-driver/mysql"
)

// Shape is a kind of load.
type Shape struct {
	Name string
	// Settings are lines of the server's configuration.
	Settings []string
	// SmallPool gives the server the smallest buffer pool that it accepts.
	SmallPool bool
	clients   int
	// step does one thing; statements that meet a conflict or a table that is gone
	// are part of the game.
	step func(ctx context.Context, c *client) error
}

// Shapes lists all kinds of load.
func Shapes() []Shape {
	return []Shape{
		{Name: "oltp", clients: 4, step: oltp},
		{Name: "bulk", clients: 2, step: bulk},
		{Name: "ddl", clients: 3, step: ddl},
		{Name: "purge", clients: 4, step: purge, Settings: []string{"innodb_max_purge_lag=0", "innodb_purge_threads=1"}},
		{Name: "smallpool", clients: 3, step: smallPool, SmallPool: true, Settings: []string{"innodb_max_dirty_pages_pct=1"}},
	}
}

// client is one connection of the load.
type client struct {
	conn   *sql.Conn
	rand   *rand.Rand
	number int
	tables []string
	rows   int
}

func (c *client) table() string { return c.tables[c.rand.IntN(len(c.tables))] }
func (c *client) id() int       { return 1 + c.rand.IntN(c.rows) }

// Load is a load at work.
type Load struct {
	// Done counts the statements and transactions that the server acknowledged.
	Done atomic.Int64

	begun  chan struct{}
	first  sync.Once
	stop   atomic.Bool
	group  sync.WaitGroup
	cancel context.CancelFunc
	mutex  sync.Mutex
	err    error
}

// Load starts a load of the shape on tables of so many rows; the seed makes it
// choose the same things again, though not in the same order across clients.
func (s *Server) Load(ctx context.Context, shape Shape, rows int, seed uint64) *Load {
	ctx, cancel := context.WithCancel(ctx)
	l := &Load{cancel: cancel, begun: make(chan struct{})}
	var tables []string
	for _, t := range s.dir.Format.Tables {
		tables = append(tables, t.Name)
	}
	for number := range shape.clients {
		l.group.Go(func() {
			conn, err := s.DB.Conn(ctx)
			if err != nil {
				l.fail(ctx, err)
				return
			}
			defer conn.Close()
			c := &client{conn: conn, rand: rand.New(rand.NewPCG(seed, uint64(number))), number: number, tables: tables, rows: rows}
			l.fail(ctx, l.run(ctx, c, shape))
		})
	}
	return l
}

// run steps until the server or the load ends.
func (l *Load) run(ctx context.Context, c *client, shape Shape) error {
	if err := execute(ctx, c.conn, "USE "+schema, "SET SESSION lock_wait_timeout=2, innodb_lock_wait_timeout=2"); err != nil {
		return err
	}
	for ctx.Err() == nil && !l.stop.Load() {
		err := shape.step(ctx, c)
		var refused *mysql.MySQLError
		switch {
		case err == nil:
			l.Done.Add(1)
			l.first.Do(func() { close(l.begun) })
		case errors.As(err, &refused) && slices.Contains(conflicts, refused.Number):
		default:
			return err
		}
	}
	return nil
}

// conflicts are errors that a load of several clients meets: deadlock and lock
// wait, duplicate key, table exists, is unknown or was altered, write set
// conflict, interrupted by a DDL statement, database is gone.
var conflicts = []uint16{1213, 1205, 1062, 1050, 1051, 1146, 1412, 1047, 1317, 1020, 1060, 1061, 1091, 1180, 1072, 1049, 1008}

func (l *Load) fail(ctx context.Context, err error) {
	if err == nil || ctx.Err() != nil {
		return
	}
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.err = errors.Join(l.err, err)
}

// Begun is closed when the server has acknowledged something.
func (l *Load) Begun() <-chan struct{} { return l.begun }

// Stop lets the clients end after what they are at.
func (l *Load) Stop() { l.stop.Store(true) }

// Wait waits for the clients of a server that was killed. An error is something
// that the server refused before, which would make the load another than it
// claims to be.
func (l *Load) Wait() error {
	l.group.Wait()
	l.cancel()
	l.mutex.Lock()
	defer l.mutex.Unlock()
	var refused *mysql.MySQLError
	if errors.As(l.err, &refused) && refused.Number != 1053 { // 1053: shutdown in progress
		return fmt.Errorf("load: %w", l.err)
	}
	return nil
}

// oltp is small transactions of reads and writes on all tables.
func oltp(ctx context.Context, c *client) error {
	t := c.table()
	tx, err := c.conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	for range 1 + c.rand.IntN(4) {
		statement := ""
		switch c.rand.IntN(6) {
		case 0:
			statement = fmt.Sprintf("INSERT INTO %s (k, c, pad) VALUES (%d, MD5(%d), 'new')", t, c.id(), c.id())
		case 1:
			statement = fmt.Sprintf("DELETE FROM %s WHERE id=%d", t, c.id())
		case 2:
			statement = fmt.Sprintf("UPDATE %s SET k=k+1, c=SHA1(k) WHERE id=%d", t, c.id())
		case 3:
			statement = fmt.Sprintf("REPLACE INTO %s (id, k, c, pad) VALUES (%d, %d, 'r', REPEAT('z', %d))", t, c.id(), c.id(), c.rand.IntN(200))
		case 4:
			statement = fmt.Sprintf("UPDATE %s SET doc=REPEAT(UUID(), %d) WHERE id=%d", t, c.rand.IntN(900), c.id())
		default:
			statement = fmt.Sprintf("UPDATE %s SET pad=CONCAT('p', k) WHERE id BETWEEN %d AND %d+5", t, c.id(), c.id())
		}
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	if c.rand.IntN(20) == 0 {
		return tx.Rollback()
	}
	return tx.Commit()
}

// bulk is inserts of thousands of rows a transaction.
func bulk(ctx context.Context, c *client) error {
	_, err := c.conn.ExecContext(ctx, fill(c.table(), 500+c.rand.IntN(3000)))
	return err
}

// ddl makes, changes, rebuilds, renames, empties and drops tables.
func ddl(ctx context.Context, c *client) error {
	own := fmt.Sprintf("made%d_%d", c.number, c.rand.IntN(4))
	var statements []string
	switch c.rand.IntN(12) {
	case 0, 1:
		statements = []string{"CREATE TABLE IF NOT EXISTS " + own + " " + columns, fill(own, 200)}
	case 2:
		statements = []string{"DROP TABLE IF EXISTS " + own}
	case 3:
		statements = []string{"ALTER TABLE " + own + " ADD COLUMN extra INT DEFAULT 5, ALGORITHM=INSTANT", "ALTER TABLE " + own + " DROP COLUMN extra"}
	case 4:
		statements = []string{"ALTER TABLE " + own + " ADD INDEX added (pad(20))", "ALTER TABLE " + own + " DROP INDEX added"}
	case 5:
		statements = []string{"ALTER TABLE " + own + " FORCE, ALGORITHM=COPY"}
	case 6:
		statements = []string{"OPTIMIZE TABLE " + own}
	case 7:
		statements = []string{"TRUNCATE TABLE " + own}
	case 8:
		statements = []string{fmt.Sprintf("RENAME TABLE %s TO %s_away, %[2]s TO %[1]s_again, %[1]s_again TO %[1]s", own, own)}
	case 9:
		statements = []string{fmt.Sprintf("CREATE TABLE IF NOT EXISTS words%d_%d (id INT PRIMARY KEY, body TEXT, FULLTEXT KEY (body))", c.number, c.rand.IntN(2)),
			fmt.Sprintf("DROP TABLE IF EXISTS words%d_%d", c.number, c.rand.IntN(2))}
	case 10:
		statements = []string{"CREATE DATABASE IF NOT EXISTS other", "CREATE TABLE IF NOT EXISTS other.t LIKE " + c.table(), "DROP DATABASE IF EXISTS other"}
	default:
		statements = []string{fmt.Sprintf("UPDATE %s SET k=k+1 WHERE id < %d", c.table(), c.id())}
	}
	for _, statement := range statements {
		if _, err := c.conn.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", strings.TrimSpace(statement), err)
		}
	}
	return nil
}

// purge deletes and rewrites many rows at a time and fills the holes again, so
// that undo grows and purge, page merges and freeing are at work.
func purge(ctx context.Context, c *client) error {
	t, from := c.table(), c.id()
	statement := fmt.Sprintf("DELETE FROM %s WHERE id BETWEEN %d AND %d", t, from, from+c.rows/10)
	switch c.rand.IntN(3) {
	case 0:
		statement = fmt.Sprintf("UPDATE %s SET k=k+%d, pad=SHA1(k), doc=NULL WHERE id BETWEEN %d AND %d", t, c.rand.IntN(100), from, from+c.rows/5)
	case 1:
		statement = fill(t, 300)
	}
	_, err := c.conn.ExecContext(ctx, statement)
	return err
}

// smallPool touches rows everywhere, so that a small buffer pool evicts and
// flushes all the time.
func smallPool(ctx context.Context, c *client) error {
	if c.rand.IntN(4) == 0 {
		return bulk(ctx, c)
	}
	_, err := c.conn.ExecContext(ctx, fmt.Sprintf("UPDATE %s SET k=k+1, pad=MD5(k), doc=REPEAT(SHA1(k), %d) WHERE id IN (%d,%d,%d,%d,%d,%d)",
		c.table(), c.rand.IntN(500), c.id(), c.id(), c.id(), c.id(), c.id(), c.id()))
	return err
}
