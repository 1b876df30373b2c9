package wreck

import (
	"bytes"
	"database/sql"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/berth-dev/berth/pkg/datadir"
	"github.com/berth-dev/berth/pkg/member"
)

const (
	historyUUID = "11111111-2222-3333-4444-555555555555"
	patience    = 40 * time.Second
)

// yard is where ships are built, run and wrecked: one installation, copied for
// each server.
type yard struct {
	t    *testing.T
	dir  string
	keel string // an installed data directory that no server has run on
	sst  string // state transfer method
}

func newYard(t *testing.T) *yard {
	t.Helper()
	dir, err := os.MkdirTemp("", "wreck") // short: sockets lie in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	y := &yard{t: t, dir: dir, keel: filepath.Join(dir, "keel"), sst: "rsync"}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("mariadb-install-db", "--no-defaults", "--user=mysql", "--auth-root-authentication-method=normal",
		"--skip-test-db", "--skip-name-resolve", "--innodb-log-file-size=16M", "--datadir="+y.keel).CombinedOutput()
	if err != nil {
		t.Fatalf("install: %v: %s", err, out)
	}
	if err := datadir.WriteGrastate(y.keel, datadir.Position{UUID: historyUUID, Seqno: 0}, true); err != nil {
		t.Fatal(err)
	}
	return y
}

// ship is one server and its volume.
type ship struct {
	yard   *yard
	name   string
	number int
	volume datadir.Volume
	config string
	log    bytes.Buffer
	cmd    *exec.Cmd
	ended  chan struct{}
}

// ship makes a server with an empty volume.
func (y *yard) ship(name string, number int, options ...string) *ship {
	y.t.Helper()
	root := filepath.Join(y.dir, name)
	s := &ship{yard: y, name: name, number: number, volume: datadir.Volume{Root: root, Data: filepath.Join(root, "data")}, config: filepath.Join(root, "my.cnf")}
	if err := os.MkdirAll(s.volume.Berth(), 0o755); err != nil {
		y.t.Fatal(err)
	}
	config := fmt.Sprintf(`[mysqld]
user = mysql
datadir = %[1]s/data
socket = %[1]s/s
pid_file = %[1]s/pid
bind_address = %[2]s
port = 3306
skip_name_resolve = ON
binlog_format = ROW
innodb_autoinc_lock_mode = 2
innodb_flush_log_at_trx_commit = 1
innodb_buffer_pool_size = 32M
innodb_log_file_size = 16M
innodb_use_native_aio = OFF
performance_schema = OFF
wsrep_on = ON
wsrep_provider = /usr/lib/galera/libgalera_smm.so
wsrep_cluster_name = wreck
wsrep_sst_method = %[3]s
wsrep_sst_auth = root:
wsrep_sst_receive_address = %[2]s:4444
wsrep_node_address = %[2]s
wsrep_node_name = %[4]s
wsrep_slave_threads = 2
wsrep_provider_options = "gmcast.listen_addr=tcp://%[2]s:4567;ist.recv_addr=%[2]s:4568;gcache.size=16M;pc.ignore_quorum=true;pc.ignore_sb=true"
%[5]s
`, root, s.address(), y.sst, name, strings.Join(options, "\n"))
	if err := os.WriteFile(s.config, []byte(config), 0o644); err != nil {
		y.t.Fatal(err)
	}
	t := y.t
	t.Cleanup(func() {
		s.kill()
		if t.Failed() {
			log := s.log.Bytes()
			t.Logf("%s:\n%s", name, log[max(0, len(log)-6000):])
		}
	})
	return s
}

// address is one that servers of other test processes do not have.
func (s *ship) address() string {
	return fmt.Sprintf("127.%d.%d.%d", 80+os.Getpid()>>8&0x3f, os.Getpid()&0xff, s.number)
}

// launch puts the installation on the volume and starts a cluster with it.
func (s *ship) launch() *sql.DB {
	s.yard.t.Helper()
	copyTree(s.yard.t, s.yard.keel, s.volume.Data)
	s.start("--wsrep-new-cluster", "--wsrep-cluster-address=gcomm://", "--wsrep-start-position="+historyUUID+":0")
	return s.db()
}

func (s *ship) start(args ...string) {
	s.yard.t.Helper()
	// As the database's user: rsync as root would receive as nobody.
	if out, err := exec.Command("chown", "-R", "mysql:mysql", s.volume.Root).CombinedOutput(); err != nil {
		s.yard.t.Fatalf("%v: %s", err, out)
	}
	s.cmd = exec.Command("mariadbd", append([]string{"--defaults-file=" + s.config}, args...)...)
	s.cmd.Stdout, s.cmd.Stderr = &s.log, &s.log
	// A group of its own: the scripts of a state transfer are its children, and die with it.
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, Credential: credential(s.yard.t)}
	if err := s.cmd.Start(); err != nil {
		s.yard.t.Fatal(err)
	}
	s.ended = make(chan struct{})
	go func() { s.cmd.Wait(); close(s.ended) }()
}

// join starts the server as a joiner of another one's cluster.
func (s *ship) join(other *ship, args ...string) {
	s.yard.t.Helper()
	if err := os.MkdirAll(s.volume.Data, 0o755); err != nil {
		s.yard.t.Fatal(err)
	}
	s.start(append(args, "--wsrep-cluster-address=gcomm://"+other.address())...)
}

// kill ends the server and its scripts at once, as a power cut does.
func (s *ship) kill() { s.end(syscall.SIGKILL) }

// stop ends the server in order.
func (s *ship) stop() { s.end(syscall.SIGTERM) }

func (s *ship) end(signal syscall.Signal) {
	if s.cmd == nil || s.cmd.Process == nil {
		return
	}
	pid := s.cmd.Process.Pid
	if signal == syscall.SIGKILL {
		syscall.Kill(-pid, signal) // the group
	} else {
		s.cmd.Process.Signal(signal)
	}
	<-s.ended
	s.cmd = nil
}

// db waits until the server takes statements.
func (s *ship) db() *sql.DB {
	s.yard.t.Helper()
	config := mysql.NewConfig()
	config.User, config.Net, config.Addr = "root", "unix", filepath.Join(s.volume.Root, "s")
	config.Logger = &mysql.NopLogger{}
	connector, err := mysql.NewConnector(config)
	if err != nil {
		s.yard.t.Fatal(err)
	}
	db := sql.OpenDB(connector)
	s.yard.t.Cleanup(func() { db.Close() })
	s.yard.eventually(s.name+" is Synced", func() bool {
		select {
		case <-s.ended:
			s.yard.t.Fatalf("%s ended", s.name)
		default:
		}
		var name, state string
		return db.QueryRow("SHOW STATUS LIKE 'wsrep_local_state'").Scan(&name, &state) == nil && state == "4"
	})
	return db
}

// run is a part of the test whose failures are its own.
func (y *yard) run(name string, part func(t *testing.T)) {
	outer := y.t
	defer func() { y.t = outer }()
	outer.Run(name, func(t *testing.T) {
		y.t = t
		part(t)
	})
}

func (y *yard) eventually(what string, holds func() bool) {
	y.t.Helper()
	for begin := time.Now(); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Since(begin) > patience {
			y.t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

// exists says whether a file is in the data directory.
func (s *ship) exists(name string) bool {
	_, err := os.Stat(filepath.Join(s.volume.Data, name))
	return err == nil
}

// lineage writes the memory of a volume that lived through one epoch.
func (s *ship) lineage(l datadir.Lineage) {
	s.yard.t.Helper()
	if l.Cluster == "" {
		l.Namespace, l.Cluster, l.Ordinal = "n", "galera", s.number
	}
	if l.Epochs == nil {
		l.Epochs = []datadir.Epoch{{ID: "1", Attempt: 1, Begin: datadir.Position{UUID: historyUUID, Seqno: 0}}}
	}
	if err := datadir.WriteLineage(s.volume.Lineage(), l); err != nil {
		s.yard.t.Fatal(err)
	}
}

// assess classifies the volume as prepare does.
func (s *ship) assess() datadir.Assessment {
	s.yard.t.Helper()
	log := &bytes.Buffer{}
	examiner := member.Examiner{
		Volume: s.volume, Owner: datadir.Owner{Namespace: "n", Cluster: "galera", Ordinal: s.number}, RunDir: s.volume.Root,
		Server: member.Server{Command: []string{"mariadbd", "--defaults-file=" + s.config, "--user=root"}, RecoveryPool: "32M", Log: io.MultiWriter(log, &s.log)},
	}
	look, err := examiner.Look(s.yard.t.Context())
	if err != nil {
		s.yard.t.Fatal(err)
	}
	preview, certain := look.Preview(examiner.Owner)
	assessment, err := examiner.Assess(s.yard.t.Context(), look)
	if err != nil {
		s.yard.t.Fatalf("%v\n%s", err, log)
	}
	s.yard.t.Logf("%s: %s at %s from %s; before recovery %s at %s (certain: %v); grastate %s, markers %v, traces %v, notes %v, findings %v",
		s.name, assessment.Class, assessment.Position, assessment.Source, preview.Class, preview.Position, certain,
		look.Evidence.Grastate, look.Evidence.Markers, look.Evidence.Traces, look.Evidence.Notes, assessment.Findings)
	if certain && (preview.Class != assessment.Class || preview.Position.Seqno > assessment.Position.Seqno) {
		s.yard.t.Errorf("%s: %s at %s was said before recovery, and %s at %s after it", s.name, preview.Class, preview.Position, assessment.Class, assessment.Position)
	}
	return assessment
}

func credential(t *testing.T) *syscall.Credential {
	t.Helper()
	account, err := user.Lookup("mysql")
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.ParseUint(account.Uid, 10, 32)
	gid, _ := strconv.ParseUint(account.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

func copyTree(t *testing.T, from, to string) {
	t.Helper()
	if out, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
		t.Fatalf("copy: %v: %s", err, out)
	}
}
