package loopback

import (
	"bytes"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
)

// node is one member: its volume, its pod and its processes.
type node struct {
	t       *testing.T
	ordinal int
	program string // galera-init
	control *control
	volume  string
	run     string
	config  string
	podUID  string

	log     *output
	mutex   sync.Mutex
	running *exec.Cmd
	stopped bool
	done    chan struct{}
}

// output collects what a member's containers print.
type output struct {
	mutex sync.Mutex
	bytes bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	return o.bytes.Write(p)
}

func (o *output) String() string {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	return o.bytes.String()
}

func newNode(t *testing.T, c *control, program string, ordinal int) *node {
	t.Helper()
	// Not t.TempDir: the socket's path has to fit into 107 bytes.
	dir, err := os.MkdirTemp("", "berth")
	if err != nil {
		t.Fatal(err)
	}
	n := &node{t: t, ordinal: ordinal, program: program, control: c,
		volume: filepath.Join(dir, "volume"), run: filepath.Join(dir, "run"), config: filepath.Join(dir, "my.cnf"), log: &output{}}
	t.Cleanup(func() {
		n.kill()
		if t.Failed() {
			log := n.log.String()
			t.Logf("member %d:\n%s", ordinal, log[max(0, len(log)-20000):])
		}
		os.RemoveAll(dir)
	})
	if err := os.MkdirAll(n.volume, 0o755); err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf(`[mysqld]
user = root
datadir = %[1]s/data
socket = %[2]s/mysqld.sock
pid_file = %[2]s/mysqld.pid
port = 14171
bind_address = %[3]s
skip_name_resolve = ON
default_storage_engine = InnoDB
binlog_format = ROW
innodb_autoinc_lock_mode = 2
innodb_flush_log_at_trx_commit = 1
innodb_buffer_pool_size = 64M
innodb_buffer_pool_size_max = 256M
innodb_log_file_size = 48M
innodb_use_native_aio = OFF
performance_schema = OFF
wsrep_on = ON
wsrep_provider = /usr/lib/galera/libgalera_smm.so
wsrep_cluster_name = loopback
wsrep_sst_method = rsync
wsrep_sst_receive_address = %[3]s:4444
wsrep_slave_threads = 2
wsrep_provider_options = "gmcast.listen_addr=tcp://%[3]s:4567;ist.recv_addr=%[3]s:4568;gcache.size=64M;gcache.recover=yes"
[mariadb-install-db]
auth-root-authentication-method = normal
skip-test-db
skip-name-resolve
`, n.volume, n.run, n.address())
	if err := os.WriteFile(n.config, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return n
}

func (n *node) address() string { return fmt.Sprintf("127.71.0.%d", n.ordinal+1) }
func (n *node) pod() string     { return fmt.Sprintf("galera-%d", n.ordinal) }

// start makes a new pod: prepare, and after it exec.
func (n *node) start() {
	n.t.Helper()
	n.podUID = fmt.Sprintf("pod-%d-%d", n.ordinal, time.Now().UnixNano())
	if err := os.RemoveAll(n.run); err != nil {
		n.t.Fatal(err)
	}
	if err := os.MkdirAll(n.run, 0o755); err != nil {
		n.t.Fatal(err)
	}
	n.containers("prepare", "exec")
}

// restart starts the pod's main container again, as the kubelet does.
func (n *node) restart() {
	n.t.Helper()
	n.containers("exec")
}

// containers runs galera-init's sub-commands one after the other, each until it
// succeeds.
func (n *node) containers(steps ...string) {
	n.mutex.Lock()
	n.stopped, n.done = false, make(chan struct{})
	n.mutex.Unlock()
	go func() {
		defer close(n.done)
		for _, step := range steps {
			if !n.container(step) {
				return
			}
		}
	}()
}

// container runs one container and says whether it ended well.
func (n *node) container(step string) bool {
	n.mutex.Lock()
	if n.stopped {
		n.mutex.Unlock()
		return false
	}
	args := []string{"--pid", "--fork", "--mount-proc", "--kill-child=SIGKILL", n.program, step,
		"--kubeconfig=" + n.control.pod, "--namespace=galera", "--pod-name=" + n.pod(), "--pod-uid=" + n.podUID,
		"--pod-ip=" + n.address(), "--node-name=loopback", "--claim=data-" + n.pod(), "--volume=" + n.volume,
		"--datadir=" + filepath.Join(n.volume, "data"), "--run-dir=" + n.run,
		"--init-sql=" + filepath.Join(filepath.Dir(n.config), "init.sql"),
		"--", "mariadbd", "--defaults-file=" + n.config}
	if err := os.WriteFile(filepath.Join(filepath.Dir(n.config), "init.sql"), []byte(initSQL), 0o600); err != nil {
		n.t.Error(err)
	}
	cmd := exec.Command("unshare", args...)
	cmd.Stdout, cmd.Stderr = n.log, n.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	err := cmd.Start()
	n.running = cmd
	n.mutex.Unlock()
	if err != nil {
		n.t.Error(err)
		return false
	}
	err = cmd.Wait()
	n.mutex.Lock()
	defer n.mutex.Unlock()
	if err != nil && !n.stopped {
		fmt.Fprintf(n.log, "== %s ended: %v\n", step, err)
	}
	return err == nil
}

const initSQL = `FLUSH PRIVILEGES;
CREATE DATABASE berth;
CREATE USER 'berth'@'%' IDENTIFIED BY 'loopback';
GRANT ALL PRIVILEGES ON berth.* TO 'berth'@'%';
`

// kill ends the pod's processes at once, as a power cut does.
func (n *node) kill() {
	n.mutex.Lock()
	n.stopped = true
	if n.running != nil {
		n.running.Process.Kill()
	}
	done := n.done
	n.mutex.Unlock()
	if done != nil {
		<-done
	}
}

// db opens the member's server as its administrator.
func (n *node) db() *sql.DB {
	n.t.Helper()
	config := mysql.NewConfig()
	config.User, config.Net, config.Addr = "root", "unix", filepath.Join(n.run, "mysqld.sock")
	config.Timeout, config.ReadTimeout = time.Second, 15*time.Second
	config.Logger = &mysql.NopLogger{}
	connector, err := mysql.NewConnector(config)
	if err != nil {
		n.t.Fatal(err)
	}
	db := sql.OpenDB(connector)
	n.t.Cleanup(func() { db.Close() })
	return db
}

// status reads a wsrep status variable; empty when the server does not answer.
func (n *node) status(db *sql.DB, name string) string {
	var variable, value string
	if db.QueryRow("SHOW STATUS LIKE '"+name+"'").Scan(&variable, &value) != nil {
		return ""
	}
	return value
}

// synced waits until the member is Synced and answers the number of the log's
// bytes then.
func (n *node) synced() {
	n.t.Helper()
	db := n.db()
	defer db.Close()
	eventually(n.t, 90*time.Second, n.pod()+" is Synced", func() bool {
		return n.status(db, "wsrep_local_state") == "4" && n.status(db, "wsrep_cluster_status") == "Primary"
	})
}

func (n *node) exec(db *sql.DB, statement string, args ...any) {
	n.t.Helper()
	if _, err := db.Exec(statement, args...); err != nil {
		n.t.Fatalf("%s: %s: %v", n.pod(), statement, err)
	}
}

// logSince gives what the containers printed after a mark.
func (n *node) logSince(mark int) string { return n.log.String()[mark:] }

func (n *node) mark() int { return len(n.log.String()) }

func (n *node) has(since int, text string) bool { return strings.Contains(n.logSince(since), text) }
