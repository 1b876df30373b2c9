package drill

import (
	"context"
	"database/sql"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/go-sql-driver/mysql"
)

const (
	database = "berth"
	user     = "berth"
	// password is that of manifests/galera/secret.yaml, made for demonstrations.
	password = "demo-only-not-a-secret"
)

// openServer prepares a connection to the server at an address of the cluster's
// networks. Nothing is dialled yet.
func openServer(c Dialer, address string) (*sql.DB, error) {
	config := mysql.NewConfig()
	config.User, config.Passwd = user, password
	config.Net, config.Addr = "tcp", net.JoinHostPort(address, "3306")
	config.DialFunc = c.DialContext
	config.Timeout, config.ReadTimeout, config.WriteTimeout = 3*time.Second, 10*time.Second, 10*time.Second
	config.Logger = silent{}
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return nil, fmt.Errorf("prepare connection to %s: %w", address, err)
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(1)
	return db, nil
}

// silent drops the driver's own messages: every error reaches the caller too.
type silent struct{}

func (silent) Print(...any) {}

// Ledger writes rows as fast as the cluster acknowledges them and remembers the
// keys of those whose commit returned. A key is used once: a row whose commit did
// not return may or may not be there, and nobody was promised it.
type Ledger struct {
	dialer    Dialer
	addresses func(context.Context) ([]string, error) // of members that may answer

	mu           sync.Mutex
	next         int64
	acknowledged []int64
	last         time.Time // when the last commit returned
}

// NewLedger makes a ledger that finds its servers by addresses.
func NewLedger(d Dialer, addresses func(context.Context) ([]string, error)) *Ledger {
	return &Ledger{dialer: d, addresses: addresses}
}

const createLedger = `CREATE TABLE IF NOT EXISTS ` + database + `.ledger (
	k BIGINT PRIMARY KEY, writer INT NOT NULL, note CHAR(64) NOT NULL) ENGINE=InnoDB`

// Write writes with some writers at once until ctx ends.
func (l *Ledger) Write(ctx context.Context, writers int) {
	var wait sync.WaitGroup
	for writer := range writers {
		wait.Go(func() {
			for ctx.Err() == nil {
				l.session(ctx, writer)
				select {
				case <-ctx.Done():
				case <-time.After(200 * time.Millisecond):
				}
			}
		})
	}
	wait.Wait()
}

// session writes through one server until something goes wrong.
func (l *Ledger) session(ctx context.Context, writer int) {
	addresses, err := l.addresses(ctx)
	if err != nil || len(addresses) == 0 {
		return
	}
	// Each writer has a favourite, and another one each time it fails.
	address := addresses[(writer+int(time.Now().UnixNano()/1e6))%len(addresses)]
	db, err := openServer(l.dialer, address)
	if err != nil {
		return
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, createLedger); err != nil {
		return
	}
	for ctx.Err() == nil {
		key := l.key()
		if _, err := db.ExecContext(ctx, "INSERT INTO "+database+".ledger VALUES (?, ?, REPEAT('x', 64))", key, writer); err != nil {
			return
		}
		l.acknowledge(key)
		select {
		case <-ctx.Done():
		case <-time.After(pace):
		}
	}
}

// pace is the pause of a client between two commits: it leaves the two cores of
// a small machine to the members that come back.
const pace = 20 * time.Millisecond

func (l *Ledger) key() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next++
	return l.next
}

func (l *Ledger) acknowledge(key int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acknowledged = append(l.acknowledged, key)
	l.last = time.Now()
}

// Acknowledged is the number of rows whose commit returned.
func (l *Ledger) Acknowledged() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acknowledged)
}

// Check counts how many of the acknowledged rows a server has and lacks. A
// member may acknowledge a row before another one has applied it, so the read
// waits for what was committed anywhere before it (wsrep_sync_wait).
func (l *Ledger) Check(ctx context.Context, address string) (found, lost int, err error) {
	l.mu.Lock()
	acknowledged := l.acknowledged
	l.mu.Unlock()
	db, err := openServer(l.dialer, address)
	if err != nil {
		return 0, 0, err
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, "SET SESSION wsrep_sync_wait = 1"); err != nil { // there is one connection
		return 0, 0, fmt.Errorf("read ledger from %s: %w", address, err)
	}
	rows, err := db.QueryContext(ctx, "SELECT k FROM "+database+".ledger")
	if err != nil {
		return 0, 0, fmt.Errorf("read ledger from %s: %w", address, err)
	}
	defer rows.Close()
	present := map[int64]bool{}
	for rows.Next() {
		var key int64
		if err := rows.Scan(&key); err != nil {
			return 0, 0, fmt.Errorf("read ledger from %s: %w", address, err)
		}
		present[key] = true
	}
	if err := rows.Err(); err != nil {
		return 0, 0, fmt.Errorf("read ledger from %s: %w", address, err)
	}
	for _, key := range acknowledged {
		if present[key] {
			found++
		} else {
			lost++
		}
	}
	return found, lost, nil
}
