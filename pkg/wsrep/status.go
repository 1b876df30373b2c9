package wsrep

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/berth-dev/berth/pkg/datadir"
)

// Server is a connection to one server; it dials when it is used.
type Server struct{ db *sql.DB }

// Local connects through a Unix socket as the given account, which the server
// has to let in without a password (unix_socket).
func Local(socket, account string) (*Server, error) {
	config := mysql.NewConfig()
	config.User = account
	config.Net, config.Addr = "unix", socket
	config.Timeout, config.ReadTimeout = 2*time.Second, 5*time.Second
	config.Logger = silent{}
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return nil, fmt.Errorf("prepare connection to %s: %w", socket, err)
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(2) // a flush must not hold a probe up
	return &Server{db}, nil
}

// silent drops the driver's own messages: every error reaches the caller too.
type silent struct{}

func (silent) Print(...any) {}

// Close ends the connection.
func (s *Server) Close() error { return s.db.Close() }

// Shutdown stops the server in order, also one that is in no Primary component:
// there it takes statements only from sessions that have left Galera's care.
func (s *Server) Shutdown(ctx context.Context) error {
	session, err := s.db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("shut the server down: %w", err)
	}
	defer session.Close()
	for _, statement := range []string{"SET SESSION wsrep_on = OFF", "SHUTDOWN"} {
		if _, err := session.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("shut the server down: %s: %w", statement, err)
		}
	}
	return nil
}

// Status is what a server says of its place in the cluster.
type Status struct {
	State     string   // wsrep_local_state: 4 is Synced, 2 Donor or Desynced
	Cluster   string   // wsrep_cluster_status: Primary, or the server must not be used
	Ready     string   // wsrep_ready: ON when it takes queries
	Rejects   string   // wsrep_reject_queries: NONE unless somebody took it out of service
	UUID      string   // wsrep_cluster_state_uuid: the history that the component runs
	Committed int64    // wsrep_last_committed
	View      []string // IP addresses in wsrep_incoming_addresses: the component's members
	Queued    int64    // wsrep_local_recv_queue: write sets that wait to be applied
	// Appliers are the threads that apply write sets (wsrep_applier_thread_count), Wanted
	// how many there should be (wsrep_slave_threads). Servers of MySQL do not tell:
	// Appliers is -1 then.
	Appliers, Wanted int
}

// Status asks the server.
func (s *Server) Status(ctx context.Context) (Status, error) {
	// SHOW is understood by MariaDB and by MySQL, which keep the table behind it in
	// different places.
	const query = "SHOW GLOBAL STATUS WHERE Variable_name IN ('wsrep_local_state', 'wsrep_cluster_status', 'wsrep_ready'," +
		" 'wsrep_cluster_state_uuid', 'wsrep_last_committed', 'wsrep_incoming_addresses', 'wsrep_local_recv_queue', 'wsrep_applier_thread_count')"
	status := Status{Appliers: -1}
	if err := s.show(ctx, query, &status); err != nil {
		return Status{}, fmt.Errorf("ask the server for its state: %w", err)
	}
	// What a server does not have is no error here.
	const settings = "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('wsrep_reject_queries', 'wsrep_slave_threads')"
	if err := s.show(ctx, settings, &status); err != nil {
		return Status{}, fmt.Errorf("ask the server for its settings: %w", err)
	}
	if status.Rejects == "" {
		return Status{}, errors.New("the server does not tell whether it rejects queries (wsrep_reject_queries)")
	}
	return status, nil
}

// show reads rows of a name and its value.
func (s *Server) show(ctx context.Context, query string, into *Status) error {
	rows, err := s.db.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var name, value string
		if err := rows.Scan(&name, &value); err != nil {
			return err
		}
		into.set(strings.ToLower(name), value)
	}
	return rows.Err()
}

func (s *Status) set(name, value string) {
	switch name {
	case "wsrep_local_state":
		s.State = value
	case "wsrep_cluster_status":
		s.Cluster = value
	case "wsrep_ready":
		s.Ready = value
	case "wsrep_cluster_state_uuid":
		s.UUID = value
	case "wsrep_last_committed":
		s.Committed = -1
		if seqno, err := strconv.ParseInt(value, 10, 64); err == nil { // else ULLONG_MAX: none yet
			s.Committed = seqno
		}
	case "wsrep_incoming_addresses":
		s.View = addresses(value)
	case "wsrep_reject_queries":
		s.Rejects = value
	case "wsrep_local_recv_queue":
		s.Queued, _ = strconv.ParseInt(value, 10, 64)
	case "wsrep_applier_thread_count":
		if n, err := strconv.Atoi(value); err == nil { // else nothing is known
			s.Appliers = n
		}
	case "wsrep_slave_threads":
		s.Wanted, _ = strconv.Atoi(value)
	}
}

// addresses takes the IP addresses out of "ADDRESS:PORT,…"; a member that is
// only joining may be there as "AUTO" or empty.
func addresses(incoming string) []string {
	var view []string
	for _, one := range strings.Split(incoming, ",") {
		if both, err := netip.ParseAddrPort(strings.TrimSpace(one)); err == nil {
			view = append(view, both.Addr().String())
		} else if alone, err := netip.ParseAddr(strings.TrimSpace(one)); err == nil {
			view = append(view, alone.String())
		}
	}
	return view
}

// FlushLogs returns when all that was committed before is in the storage
// engine's log on disk, also where innodb_flush_log_at_trx_commit is not 1. The
// statement is not replicated.
func (s *Server) FlushLogs(ctx context.Context) error {
	if _, err := s.db.ExecContext(ctx, "FLUSH NO_WRITE_TO_BINLOG ENGINE LOGS"); err != nil {
		return fmt.Errorf("flush the server's logs: %w", err)
	}
	return nil
}

// InPrimary says whether the server is a part of a Primary component.
func (s Status) InPrimary() bool { return s.Cluster == "Primary" }

// LostApplier says that a thread that applies write sets has ended by itself while some
// wait. All are applied in order, so the rest may wait for what it had in hand for ever.
// Galera ends it, and not the server, when it cannot read a write set ("Failed to process
// action WRITESET": GcsActionSource::process of galera/src/gcs_action_source.cpp). It is
// said of Joined and Synced servers only: a joiner may not have all threads yet, and a
// donor is not to be disturbed.
func (s Status) LostApplier() bool {
	return s.InPrimary() && (s.State == "3" || s.State == "4") && s.Appliers >= 0 && s.Appliers < s.Wanted && s.Queued > 0
}

// Position is how far the server has come; Undefined while it has no data of the
// component's history yet.
func (s Status) Position() datadir.Position {
	if !s.InPrimary() || s.State != "4" && s.State != "2" && s.State != "3" {
		return datadir.Undefined
	}
	p, err := datadir.ParsePosition(s.UUID + ":" + strconv.FormatInt(s.Committed, 10))
	if err != nil {
		return datadir.Undefined
	}
	return p
}

// Unfit says why a server must not serve clients; it is empty for one that may.
func (s Status) Unfit() string {
	switch {
	case !s.InPrimary():
		return fmt.Sprintf("the server is not in a Primary component (wsrep_cluster_status is %q)", s.Cluster)
	case s.State == "2":
		return "the server is Donor or Desynced (wsrep_local_state is 2)"
	case s.State != "4":
		return fmt.Sprintf("the server is not Synced (wsrep_local_state is %q, not 4)", s.State)
	case s.Ready != "ON":
		return fmt.Sprintf("the server takes no queries (wsrep_ready is %q)", s.Ready)
	case s.Rejects != "NONE":
		return fmt.Sprintf("the server was told to reject queries (wsrep_reject_queries is %q)", s.Rejects)
	}
	return ""
}
