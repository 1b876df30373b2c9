package wsrep

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
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
	db.SetMaxOpenConns(1)
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
	State   string // wsrep_local_state: 4 is Synced
	Cluster string // wsrep_cluster_status: Primary, or the server must not be used
	Ready   string // wsrep_ready: ON when it takes queries
	Rejects string // wsrep_reject_queries: NONE unless somebody took it out of service
}

// Status asks the server.
func (s *Server) Status(ctx context.Context) (Status, error) {
	const query = "SELECT VARIABLE_NAME, VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS" +
		" WHERE VARIABLE_NAME IN ('WSREP_LOCAL_STATE', 'WSREP_CLUSTER_STATUS', 'WSREP_READY')" +
		" UNION SELECT 'WSREP_REJECT_QUERIES', @@GLOBAL.wsrep_reject_queries"
	rows, err := s.db.QueryContext(ctx, query)
	if err != nil {
		return Status{}, fmt.Errorf("ask the server for its state: %w", err)
	}
	defer rows.Close()
	var status Status
	for rows.Next() {
		var name, value string
		if err := rows.Scan(&name, &value); err != nil {
			return Status{}, fmt.Errorf("ask the server for its state: %w", err)
		}
		switch strings.ToUpper(name) {
		case "WSREP_LOCAL_STATE":
			status.State = value
		case "WSREP_CLUSTER_STATUS":
			status.Cluster = value
		case "WSREP_READY":
			status.Ready = value
		case "WSREP_REJECT_QUERIES":
			status.Rejects = value
		}
	}
	if err := rows.Err(); err != nil {
		return Status{}, fmt.Errorf("ask the server for its state: %w", err)
	}
	return status, nil
}

// Unfit says why a server must not serve clients; it is empty for one that may.
func (s Status) Unfit() string {
	switch {
	case s.Cluster != "Primary":
		return fmt.Sprintf("the server is not in a Primary component (wsrep_cluster_status is %q)", s.Cluster)
	case s.State != "4":
		return fmt.Sprintf("the server is not Synced (wsrep_local_state is %q, not 4)", s.State)
	case s.Ready != "ON":
		return fmt.Sprintf("the server takes no queries (wsrep_ready is %q)", s.Ready)
	case s.Rejects != "NONE":
		return fmt.Sprintf("the server was told to reject queries (wsrep_reject_queries is %q)", s.Rejects)
	}
	return ""
}
