package loopback

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/go-sql-driver/mysql"
)

// backOff is how long the kubelet of this package waits before it starts a
// container again.
const backOff = 500 * time.Millisecond

// Member is one member: its volume, its pod and its processes.
type Member struct {
	Ordinal int
	Journal *Journal
	Volume  string

	cluster *Cluster
	dir     string // holds all the rest
	config  string
	podUID  string
	run     string // the pod's shared emptyDir

	mutex sync.Mutex
	pod   *pod // the one that runs, or ran last
}

func newMember(c *Cluster, dir, program string, kubeconfig []byte, ordinal int) (*Member, error) {
	m := &Member{
		Ordinal: ordinal, cluster: c, dir: dir, Volume: filepath.Join(dir, "volume"),
		config: filepath.Join(dir, "my.cnf"), run: filepath.Join(dir, "run"),
		Journal: &Journal{changed: make(chan struct{})},
	}
	err := errors.Join(directory(dir), directory(m.Volume))
	for path, content := range map[string]string{
		m.config: fmt.Sprintf(config, m.Volume, m.run, m.Address()), m.initSQL(): initSQL, filepath.Join(dir, "kubeconfig"): string(kubeconfig),
	} {
		err = errors.Join(err, os.WriteFile(path, []byte(content), 0o644))
	}
	if err != nil {
		return nil, fmt.Errorf("make member %d: %w", ordinal, err)
	}
	if err := m.Install(program); err != nil {
		return nil, fmt.Errorf("make member %d: %w", ordinal, err)
	}
	return m, nil
}

// Install puts a galera-init in the place of the member's: the next container
// that starts runs it.
func (m *Member) Install(program string) error {
	if out, err := exec.Command(program, "install", m.dir).CombinedOutput(); err != nil {
		return fmt.Errorf("install %s: %w: %s", program, err, out)
	}
	return nil
}

// config is that of manifests/galera but for places, sizes, and how soon a silent
// member is given up.
const config = `[mysqld]
datadir = %[1]s/data
socket = %[2]s/mysqld.sock
pid_file = %[2]s/mysqld.pid
bind_address = %[3]s
skip_name_resolve = ON
default_storage_engine = InnoDB
binlog_format = ROW
innodb_autoinc_lock_mode = 2
innodb_flush_log_at_trx_commit = 1
innodb_buffer_pool_size = 24M
innodb_buffer_pool_size_max = 256M
innodb_log_file_size = 8M
innodb_use_native_aio = OFF
performance_schema = OFF
max_connections = 32
wsrep_on = ON
wsrep_provider = /usr/lib/galera/libgalera_smm.so
wsrep_cluster_name = loopback
wsrep_sst_method = rsync
wsrep_sst_receive_address = %[3]s:4444
wsrep_slave_threads = 2
wsrep_provider_options = "gmcast.listen_addr=tcp://%[3]s:4567;ist.recv_addr=%[3]s:4568;gcache.size=16M;gcache.recover=yes;evs.keepalive_period=PT0.5S;evs.suspect_timeout=PT3S;evs.inactive_timeout=PT6S;evs.install_timeout=PT6S;pc.wait_prim_timeout=PT10S"
[mariadb-install-db]
auth-root-authentication-method = normal
skip-test-db
skip-name-resolve
`

// initSQL is that of manifests/galera/secret.yaml.
const initSQL = `FLUSH PRIVILEGES;
CREATE DATABASE berth;
CREATE USER 'berth'@'%' IDENTIFIED BY 'demo-only-not-a-secret';
GRANT ALL PRIVILEGES ON berth.* TO 'berth'@'%';
`

func (m *Member) initSQL() string { return filepath.Join(m.dir, "init.sql") }

// Program is the member's galera-init.
func (m *Member) Program() string { return filepath.Join(m.dir, "galera-init") }

// Address is where the member listens, with Galera's and MariaDB's usual ports.
func (m *Member) Address() string { return fmt.Sprintf("127.71.%d.%d", m.cluster.lane, m.Ordinal+1) }

// Name is the name of the member's pod.
func (m *Member) Name() string { return fmt.Sprintf("%s-%d", statefulSet, m.Ordinal) }

// PodUID is the UID of the pod that was started last.
func (m *Member) PodUID() string { return m.podUID }

// directory makes a directory of the server's user, as which everything in the
// pod runs.
func directory(path string) error {
	account, err := user.Lookup("mysql")
	if err != nil {
		return err
	}
	uid, _ := strconv.Atoi(account.Uid)
	gid, _ := strconv.Atoi(account.Gid)
	return errors.Join(os.MkdirAll(path, 0o755), os.Chmod(path, 0o755), os.Chown(path, uid, gid))
}

// NewPod starts another pod: prepare, and after it exec.
func (m *Member) NewPod() error {
	if err := errors.Join(os.RemoveAll(m.run), directory(m.run)); err != nil {
		return fmt.Errorf("start %s: %w", m.Name(), err)
	}
	m.podUID = fmt.Sprintf("pod-%d-%d", m.Ordinal, time.Now().UnixNano())
	m.follow("prepare", "exec")
	return nil
}

// Reboot starts the same pod again on a machine that was switched off: init
// containers run again.
func (m *Member) Reboot() { m.follow("prepare", "exec") }

// Restart starts the pod's main container again, as the kubelet does when it
// ended: no init container runs.
func (m *Member) Restart() { m.follow("exec") }

// follow starts a pod's containers.
func (m *Member) follow(steps ...string) {
	p := &pod{member: m, uid: m.podUID, done: make(chan struct{})}
	m.mutex.Lock()
	m.pod = p
	m.mutex.Unlock()
	go p.follow(steps...)
}

// Kill ends the pod's processes at once, and the kubelet's care for them. It
// returns when they are gone.
func (m *Member) Kill() {
	if p := m.abandon(); p != nil {
		p.kill(syscall.SIGKILL)
		<-p.done
	}
}

// Terminate stops the pod in order, as the kubelet does when it is deleted.
func (m *Member) Terminate() {
	if p := m.abandon(); p != nil {
		p.kill(syscall.SIGTERM)
		<-p.done
	}
}

// Usurp starts another pod of the same name while the old one's processes live
// on: a forced deletion from a node that does not answer. The old ones end when
// the returned function is called.
func (m *Member) Usurp() (end func()) {
	old := m.abandon()
	m.podUID = fmt.Sprintf("pod-%d-%d", m.Ordinal, time.Now().UnixNano())
	m.follow("prepare", "exec")
	return func() {
		if old != nil {
			old.kill(syscall.SIGKILL)
			<-old.done
		}
	}
}

// abandon ends the kubelet's care for the pod and returns it.
func (m *Member) abandon() *pod {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if m.pod != nil {
		m.pod.stop()
	}
	return m.pod
}

// Blank puts an empty volume in the place of the member's, as somebody does who
// replaces a disk. No pod may run.
func (m *Member) Blank() error {
	if err := errors.Join(os.RemoveAll(m.Volume), directory(m.Volume)); err != nil {
		return fmt.Errorf("empty the volume of %s: %w", m.Name(), err)
	}
	return nil
}

// DB opens the member's server as its administrator.
func (m *Member) DB() (*sql.DB, error) {
	config := mysql.NewConfig()
	config.User, config.Net, config.Addr = "root", "unix", filepath.Join(m.run, "mysqld.sock")
	config.Timeout, config.ReadTimeout = time.Second, 15*time.Second
	config.Logger = &mysql.NopLogger{}
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", m.Name(), err)
	}
	return sql.OpenDB(connector), nil
}

// Status reads a wsrep status variable; empty when the server does not answer.
func (m *Member) Status(ctx context.Context, name string) string {
	db, err := m.DB()
	if err != nil {
		return ""
	}
	defer db.Close()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	var variable, value string
	if db.QueryRowContext(ctx, "SHOW GLOBAL STATUS LIKE '"+name+"'").Scan(&variable, &value) != nil {
		return ""
	}
	return value
}

// IsSynced says whether the member is Synced in a Primary component now.
func (m *Member) IsSynced(ctx context.Context) bool {
	return m.Status(ctx, "wsrep_local_state") == "4" && m.Status(ctx, "wsrep_cluster_status") == "Primary"
}

// Synced waits until the member is Synced in a Primary component.
func (m *Member) Synced(ctx context.Context, limit time.Duration) error {
	return eventually(ctx, limit, m.Name()+" is Synced", func() bool { return m.IsSynced(ctx) })
}
