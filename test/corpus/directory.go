package corpus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

// Directory is a data directory with what belongs to it: the server's
// configuration, undo tablespaces and tables outside, and keys.
type Directory struct {
	Root   string
	Format Format
	// Settings are further lines of the configuration, for this directory only.
	Settings []string
	// RecoveryPool is the buffer pool of Recover, 128M when it is empty.
	RecoveryPool string
}

// Data is the server's data directory.
func (d Directory) Data() string { return filepath.Join(d.Root, "data") }

// UndoDir is innodb_undo_directory; empty when it is the data directory.
func (d Directory) UndoDir() string {
	if d.Format.Outside {
		return filepath.Join(d.Root, "undo")
	}
	return ""
}

// SystemFiles are the names of innodb_data_file_path.
func (d Directory) SystemFiles() []string {
	if d.Format.System == "" {
		return []string{"ibdata1"}
	}
	var names []string
	for _, file := range strings.Split(d.Format.System, ";") {
		name, _, _ := strings.Cut(file, ":")
		names = append(names, name)
	}
	return names
}

func (d Directory) outside() string { return filepath.Join(d.Root, "outside") }
func (d Directory) config() string  { return filepath.Join(d.Root, "my.cnf") }

// keyFile has two keys for file_key_management. They guard nothing.
const keyFile = "1;a7addd9adea9978fda19f21e6be987880e68ac92632ca052e5bb42b1a506939a\n" +
	"2;49c16acc2dffe616710c9ba9a10b94944a737de1beccb52dc1560abfdd67388b\n"

// prepare makes the directories and writes the configuration. Everything but the
// root belongs to the server's user.
func (d Directory) prepare() error {
	account, err := serverAccount()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(d.Root, 0o755); err != nil {
		return err
	}
	for _, dir := range []string{d.Data(), d.outside(), filepath.Join(d.Root, "undo"), filepath.Join(d.Root, "tmp")} {
		if err := errors.Join(os.MkdirAll(dir, 0o755), os.Chown(dir, int(account.Uid), int(account.Gid))); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(d.Root, "keys"), []byte(keyFile), 0o644); err != nil {
		return err
	}
	return os.WriteFile(d.config(), d.configuration(), 0o644)
}

// configuration is the server's. Small buffers and logs keep a directory small
// and let the redo log wrap around.
func (d Directory) configuration() []byte {
	var b bytes.Buffer
	b.WriteString("[mysqld]\n")
	// Servers that start remove the temporary tables of others, if they share a place.
	fmt.Fprintf(&b, "tmpdir=%s\n", filepath.Join(d.Root, "tmp"))
	fmt.Fprintf(&b, "datadir=%s\ninnodb_page_size=%d\ninnodb_checksum_algorithm=%s\n", d.Data(), d.Format.PageSize, d.Format.Checksum)
	fmt.Fprintf(&b, "innodb_undo_tablespaces=%d\n", d.Format.Undo)
	if d.Format.System != "" {
		fmt.Fprintf(&b, "innodb_data_file_path=%s\n", d.Format.System)
	}
	if dir := d.UndoDir(); dir != "" {
		fmt.Fprintf(&b, "innodb_undo_directory=%s\n", dir)
	}
	b.WriteString(`innodb_log_file_size=8M
innodb_buffer_pool_size=24M
innodb_use_native_aio=OFF
innodb_autoinc_lock_mode=2
innodb_stats_persistent=ON
aria_pagecache_buffer_size=8M
key_buffer_size=1M
performance_schema=OFF
skip_name_resolve=ON
skip_networking
binlog_format=ROW
wsrep_on=ON
wsrep_provider=/usr/lib/galera/libgalera_smm.so
wsrep_cluster_name=corpus
wsrep_cluster_address=gcomm://
wsrep_node_address=127.0.0.1
wsrep_provider_options="gmcast.listen_addr=tcp://0.0.0.0:4567;gcache.size=16M;gcache.recover=yes"
`)
	for _, option := range append(d.Format.Options, d.Settings...) {
		fmt.Fprintln(&b, strings.ReplaceAll(option, "%s", d.Root))
	}
	return b.Bytes()
}

// Copy copies the directory to root. A directory with files outside cannot be
// copied: dictionary and redo name them by their paths.
func (d Directory) Copy(ctx context.Context, root string) (Directory, error) {
	if d.Format.Outside {
		return Directory{}, fmt.Errorf("copy %s: files outside the data directory are known by their paths", d.Root)
	}
	to := Directory{Root: root, Format: d.Format, Settings: d.Settings, RecoveryPool: d.RecoveryPool}
	if err := to.prepare(); err != nil {
		return to, err
	}
	out, err := exec.CommandContext(ctx, "cp", "-a", "--reflink=auto", "--sparse=auto", d.Data()+"/.", to.Data()).CombinedOutput()
	if err != nil {
		return to, fmt.Errorf("copy %s: %w: %s", d.Root, err, out)
	}
	return to, nil
}

// Install makes the system tables.
func (d Directory) Install(ctx context.Context) error {
	if err := d.prepare(); err != nil {
		return fmt.Errorf("install %s: %w", d.Root, err)
	}
	cmd, err := asServer(exec.CommandContext(ctx, "mariadb-install-db", "--defaults-file="+d.config(), "--wsrep-on=OFF",
		"--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"))
	if err != nil {
		return err
	}
	runtime.LockOSThread() // the command lives no longer than its thread
	defer runtime.UnlockOSThread()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("install %s: %w: %s", d.Root, err, out)
	}
	return nil
}

// serverAccount is the user as whom the server runs.
func serverAccount() (*syscall.Credential, error) {
	account, err := user.Lookup("mysql")
	if err != nil {
		return nil, err
	}
	uid, err := strconv.ParseUint(account.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(account.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, err
}

// asServer lets a command run as the server's user, in a network of its own, and
// no longer than the thread that starts it.
func asServer(cmd *exec.Cmd) (*exec.Cmd, error) {
	account, err := serverAccount()
	if err != nil {
		return nil, err
	}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: account, Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	return cmd, nil
}
