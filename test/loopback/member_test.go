package loopback

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
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
	dir     string // holds all the rest
	volume  string
	run     string
	config  string
	podUID  string

	log     *os.File // what the containers print
	mutex   sync.Mutex
	running *exec.Cmd
	stopped bool
	done    chan struct{}
}

func newNode(t *testing.T, c *control, program string, ordinal int) *node {
	t.Helper()
	// Not t.TempDir: the socket's path has to fit into 107 bytes.
	dir, err := os.MkdirTemp("", "berth")
	if err != nil {
		t.Fatal(err)
	}
	n := &node{t: t, ordinal: ordinal, dir: dir,
		volume: filepath.Join(dir, "volume"), run: filepath.Join(dir, "run"), config: filepath.Join(dir, "my.cnf")}
	if n.log, err = os.OpenFile(filepath.Join(dir, "log"), os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		n.kill()
		if t.Failed() {
			log := n.logSince(0)
			t.Logf("member %d:\n%s", ordinal, log[max(0, len(log)-30000):])
		}
		n.log.Close()
		os.RemoveAll(dir)
	})
	n.directory(dir)
	n.directory(n.volume)
	config := fmt.Sprintf(`[mysqld]
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
	for path, content := range map[string]string{n.config: config, n.initSQL(): initSQL, filepath.Join(dir, "kubeconfig"): string(c.pod)} {
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command(program, "install", dir).CombinedOutput(); err != nil {
		t.Fatalf("install: %v: %s", err, out)
	}
	return n
}

const initSQL = `FLUSH PRIVILEGES;
CREATE DATABASE berth;
CREATE USER 'berth'@'%' IDENTIFIED BY 'loopback';
GRANT ALL PRIVILEGES ON berth.* TO 'berth'@'%';
`

func (n *node) initSQL() string { return filepath.Join(n.dir, "init.sql") }

// directory makes a directory of the server's user, as which everything in the
// pod runs.
func (n *node) directory(path string) {
	n.t.Helper()
	account, err := user.Lookup("mysql")
	if err != nil {
		n.t.Fatal(err)
	}
	uid, _ := strconv.Atoi(account.Uid)
	gid, _ := strconv.Atoi(account.Gid)
	if err := errors.Join(os.MkdirAll(path, 0o755), os.Chmod(path, 0o755), os.Chown(path, uid, gid)); err != nil {
		n.t.Fatal(err)
	}
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
	n.directory(n.run)
	n.containers("prepare", "exec")
}

// restart starts the pod's main container again, as the kubelet does.
func (n *node) restart() {
	n.t.Helper()
	n.containers("exec")
}

// containers runs galera-init's sub-commands one after the other, each again
// when it fails, and the last for ever.
func (n *node) containers(steps ...string) {
	n.mutex.Lock()
	n.stopped, n.done = false, make(chan struct{})
	n.mutex.Unlock()
	go func() {
		defer close(n.done)
		for i := 0; i < len(steps); {
			ok, stopped := n.container(steps[i])
			if stopped {
				return
			}
			if ok && i < len(steps)-1 {
				i++
			} else {
				time.Sleep(time.Second) // the kubelet's back-off
			}
		}
	}()
}

// container runs one container and says whether it ended well, and whether it
// was ended by the test.
func (n *node) container(step string) (ok, stopped bool) {
	n.mutex.Lock()
	if n.stopped {
		n.mutex.Unlock()
		return false, true
	}
	// The shell becomes galera-init and later the server, process 1 of its
	// namespace: when it ends, the kernel ends all others in it.
	args := []string{"-c", `mount -t proc proc /proc && exec setpriv --reuid=mysql --regid=mysql --clear-groups "$@"`, "sh", filepath.Join(n.dir, "galera-init"), step,
		"--kubeconfig=" + filepath.Join(n.dir, "kubeconfig"), "--namespace=galera", "--pod-name=" + n.pod(), "--pod-uid=" + n.podUID,
		"--pod-ip=" + n.address(), "--node-name=loopback", "--claim=data-" + n.pod(), "--volume=" + n.volume,
		"--datadir=" + filepath.Join(n.volume, "data"), "--run-dir=" + n.run,
		"--init-sql=" + n.initSQL(),
		"--", "mariadbd", "--defaults-file=" + n.config}
	cmd := exec.Command("sh", args...)
	cmd.Stdout, cmd.Stderr = n.log, n.log
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Pdeathsig: syscall.SIGKILL, Cloneflags: syscall.CLONE_NEWPID, Unshareflags: syscall.CLONE_NEWNS,
	}
	err := cmd.Start()
	n.running = cmd
	n.mutex.Unlock()
	if err != nil {
		n.t.Error(err)
		return false, true
	}
	err = cmd.Wait()
	n.mutex.Lock()
	defer n.mutex.Unlock()
	if err != nil && !n.stopped {
		fmt.Fprintf(n.log, "== %s ended: %v\n", step, err)
	}
	return err == nil, n.stopped
}

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

// synced waits until the member is Synced in a Primary component.
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
func (n *node) logSince(mark int) string {
	n.t.Helper()
	content, err := os.ReadFile(n.log.Name())
	if err != nil {
		n.t.Fatal(err)
	}
	return string(content[mark:])
}

func (n *node) mark() int { return len(n.logSince(0)) }

func (n *node) has(since int, text string) bool { return strings.Contains(n.logSince(since), text) }
