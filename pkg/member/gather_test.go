package member

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/berth-dev/berth/pkg/datadir"
	"github.com/berth-dev/berth/pkg/rebuild"
)

const historyUUID = "11111111-2222-3333-4444-555555555555"

// directories made once by a real server: the same one, stopped in order and
// killed.
type directories struct{ config, clean, killed string }

// makeDirectories installs a database, runs it as a cluster of one, and keeps a
// copy of its directory after a stop in order and after a kill.
func makeDirectories(t *testing.T) directories {
	t.Helper()
	base, err := os.MkdirTemp("", "berth") // short: a socket lies in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(base) })
	d := directories{config: filepath.Join(base, "my.cnf"), clean: filepath.Join(base, "clean"), killed: filepath.Join(base, "killed")}
	data := filepath.Join(base, "data")
	config := fmt.Sprintf(`[mysqld]
user = root
datadir = %[1]s
socket = %[2]s/s
pid_file = %[2]s/pid
skip_networking = ON
binlog_format = ROW
innodb_autoinc_lock_mode = 2
innodb_buffer_pool_size = 32M
innodb_log_file_size = 16M
innodb_use_native_aio = OFF
wsrep_on = ON
wsrep_provider = /usr/lib/galera/libgalera_smm.so
wsrep_provider_options = "gmcast.listen_addr=tcp://127.73.0.1:4567;gcache.size=16M"
wsrep_node_address = 127.73.0.1
[mariadb-install-db]
auth-root-authentication-method = normal
skip-test-db
`, data, base)
	if err := os.WriteFile(d.config, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	server := realServer(d)
	if err := server.Install(t.Context(), data); err != nil {
		t.Fatal(err)
	}
	if err := datadir.WriteGrastate(data, datadir.Position{UUID: historyUUID, Seqno: 0}, true); err != nil {
		t.Fatal(err)
	}
	for _, end := range []struct {
		signal syscall.Signal
		copy   string
	}{{syscall.SIGTERM, d.clean}, {syscall.SIGKILL, d.killed}} {
		runServer(t, d, filepath.Join(base, "s"), end.signal)
		if out, err := exec.Command("cp", "-a", data, end.copy).CombinedOutput(); err != nil {
			t.Fatalf("copy: %v: %s", err, out)
		}
	}
	return d
}

// runServer starts the server, writes a row, and ends it.
func runServer(t *testing.T, d directories, socket string, signal syscall.Signal) {
	t.Helper()
	var log bytes.Buffer
	cmd := exec.Command("mariadbd", "--defaults-file="+d.config, "--wsrep-new-cluster", "--wsrep-cluster-address=gcomm://")
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		out, err := exec.CommandContext(ctx, "mariadb", "--no-defaults", "--user=root", "--socket="+socket,
			"--execute=CREATE DATABASE IF NOT EXISTS d; CREATE TABLE IF NOT EXISTS d.t (a INT) ENGINE=InnoDB; INSERT INTO d.t VALUES (1)").CombinedOutput()
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			t.Fatalf("the server takes no statement: %s\n%s", out, log.String())
		}
		time.Sleep(100 * time.Millisecond)
	}
	if err := cmd.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
}

func realServer(d directories) Server {
	return Server{Command: []string{"mariadbd", "--defaults-file=" + d.config}, Installer: "mariadb-install-db", RecoveryPool: "32M", Log: io.Discard}
}

// TestClassesOfRealDirectories classifies what real servers left.
func TestClassesOfRealDirectories(t *testing.T) {
	d := makeDirectories(t)
	remove := func(name string) func(*testing.T, string) {
		return func(t *testing.T, data string) {
			if err := os.RemoveAll(filepath.Join(data, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	truncate := func(name string, size int64) func(*testing.T, string) {
		return func(t *testing.T, data string) {
			if err := os.Truncate(filepath.Join(data, name), size); err != nil {
				t.Fatal(err)
			}
		}
	}
	create := func(name string) func(*testing.T, string) {
		return func(t *testing.T, data string) {
			if err := os.WriteFile(filepath.Join(data, name), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, test := range []struct {
		name   string
		from   string
		spoil  func(t *testing.T, data string)
		class  datadir.Class
		source string
		file   string // of the finding
	}{
		{"stopped in order", d.clean, nil, datadir.Clean, datadir.FromGrastate, ""},
		{"killed", d.killed, nil, datadir.Crashed, datadir.FromRecovery, ""},
		{"killed, grastate.dat gone", d.killed, remove("grastate.dat"), datadir.UnsafeDDL, datadir.FromRecovery, ""},
		{"emptied", d.killed, remove(""), datadir.Empty, datadir.FromNowhere, ""},
		{"rsync SST interrupted", d.killed, create("sst_in_progress"), datadir.SSTVictim, datadir.FromNowhere, ""},
		{"system tablespace gone", d.killed, remove("ibdata1"), datadir.Corrupt, datadir.FromGrastate, "ibdata1"},
		{"grants gone", d.clean, remove("mysql"), datadir.Corrupt, datadir.FromGrastate, "mysql/global_priv.frm"},
		{"table emptied", d.clean, truncate("d/t.ibd", 0), datadir.Corrupt, datadir.FromGrastate, "d/t.ibd"},
		{"table cut at a page", d.clean, truncate("d/t.ibd", 2<<14), datadir.Corrupt, datadir.FromGrastate, "d/t.ibd"},
		{"table cut in a page", d.clean, truncate("d/t.ibd", 3<<14+100), datadir.Corrupt, datadir.FromGrastate, "d/t.ibd"},
		{"Aria control file gone", d.clean, remove("aria_log_control"), datadir.Clean, datadir.FromGrastate, "aria_log_control"},
		{"Aria control file cut", d.clean, truncate("aria_log_control", 20), datadir.Corrupt, datadir.FromGrastate, "aria_log_control"},
	} {
		t.Run(test.name, func(t *testing.T) {
			store := &memoryStore{}
			m, _ := newMember(t, store, 0)
			m.Server = realServer(d)
			m.Server.Command = append(m.Server.Command, "--datadir="+m.Volume.Data)
			if out, err := exec.Command("cp", "-a", test.from, m.Volume.Data).CombinedOutput(); err != nil {
				t.Fatalf("copy: %v: %s", err, out)
			}
			if test.spoil != nil {
				test.spoil(t, m.Volume.Data)
			}
			report, err := m.gather(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if report.Class != test.class || report.Source != test.source {
				t.Errorf("%s from %s, expected %s from %s: %v", report.Class, report.Source, test.class, test.source, report.Findings)
			}
			if sound := test.class == datadir.Clean || test.class == datadir.Crashed || test.class == datadir.UnsafeDDL; sound && (report.Position.UUID != historyUUID || report.Position.Seqno < 3) {
				t.Errorf("position %s", report.Position)
			}
			if test.file != "" && (len(report.Findings) == 0 || report.Findings[0].File != test.file) {
				t.Errorf("findings %v, expected the first about %s", report.Findings, test.file)
			}
			if len(store.reports) != 2 || store.reports[0].State != rebuild.Recovering || store.reports[1].State != rebuild.Waiting {
				t.Errorf("reports %+v, expected the evidence before anything was changed and then the class", store.reports)
			}
		})
	}
}

func TestDisturbedRecoveryDecidesNothing(t *testing.T) {
	for _, test := range []struct{ name, script, want string }{
		{"another process has the files", `echo "[ERROR] InnoDB: Unable to lock ./ibdata1 error: 11" >&2; exit 1`, "Unable to lock"},
		{"killed for its memory", `kill -9 $$`, "memory"},
		{"no such program", "", "no such file"},
	} {
		t.Run(test.name, func(t *testing.T) {
			program := filepath.Join(t.TempDir(), "server")
			if test.script != "" {
				if err := os.WriteFile(program, []byte("#!/bin/sh\n"+test.script+"\n"), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			_, err := Server{Command: []string{program}, Log: io.Discard}.Recover(t.Context(), t.TempDir())
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, expected one about %q", err, test.want)
			}
		})
	}
}
