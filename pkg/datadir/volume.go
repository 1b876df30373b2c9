package datadir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Volume is the layout of a member's volume. Berth's files lie beside the data
// directory because a state transfer wipes data directories.
type Volume struct {
	Root string // mount point of the volume
	Data string // the server's data directory, below Root
}

// Berth is the directory of Berth's own files.
func (v Volume) Berth() string { return filepath.Join(v.Root, "berth") }

// Lock is the file whose lock belongs to the one process that may touch the volume.
func (v Volume) Lock() string { return filepath.Join(v.Berth(), "lock") }

// Lineage is the file that says whose volume this is and which epochs it saw.
func (v Volume) Lineage() string { return filepath.Join(v.Berth(), "lineage.json") }

// Committed is the file of the last position that the server was seen to have
// committed.
func (v Volume) Committed() string { return filepath.Join(v.Berth(), "committed.json") }

// Peers is the file of the members' addresses as they were last known.
func (v Volume) Peers() string { return filepath.Join(v.Berth(), "peers.json") }

// Evidence is the directory into which evidence is moved once it was reported.
func (v Volume) Evidence() string { return filepath.Join(v.Berth(), "evidence") }

// Install is where a first installation is built before it becomes the data
// directory. While it exists and there is no lineage, no server has ever run on
// what the data directory holds.
func (v Volume) Install() string { return filepath.Join(v.Berth(), "install") }

// Markers that a state transfer leaves in a data directory while it runs; a
// member that was stopped then holds a mixture of two copies. rsync_sst_complete
// and its like stay when the joiner dies between transfer and start. From the
// wsrep_sst_* scripts of MariaDB 10.4 to 12 and Percona XtraDB Cluster 8, and
// from MySQL's clone plugin. Not among them: xtrabackup_galera_info and
// mariadb_backup_galera_info, which stay after a transfer that went well.
var transferMarkers = []string{
	"sst_in_progress", "wsrep_sst.pid", // any method
	"rsync_sst.pid", "rsync_sst.conf", "rsync_sst_complete",
	".sst", "backup_sst_complete", // mariabackup
	"sst-xb-tmpdir", // xtrabackup-v2
	"clone_sst.pid", "clone_sst.sql", "recover_clone.sock", "XST_FILE.txt",
	"#clone/#status_in_progress", "#clone/#status_error", "#clone/#replace_files",
}

// Of these a donor makes as well, in its own sound data. They tell of a victim
// only where grastate.dat does not know its history any more: a joiner forgets it
// before its copy begins.
var donorMarkers = []string{"wsrep_sst.pid", "rsync_sst_complete"}

// ProcessFiles name processes of a state transfer. They have been reported when
// a server starts, and must not be there: in the next container the same number
// belongs to another process, and the transfer would wait for its end.
var ProcessFiles = []string{"wsrep_sst.pid", "rsync_sst.pid", "clone_sst.pid"}

// Files that a server has while it runs and takes away when it is stopped in
// order. They are needed because grastate.dat alone does not tell: a paused
// provider (FLUSH TABLES WITH READ LOCK, a backup, a donor) writes its seqno
// there, so that a server killed then looks as if it had been stopped.
var runningTraces = []string{"gvwstate.dat", "ibtmp1", "tc.log"}

// present lists which of some names there are in a directory.
func present(dir string, names []string) ([]string, error) {
	var found []string
	for _, name := range names {
		_, err := os.Lstat(filepath.Join(dir, name))
		switch {
		case err == nil:
			found = append(found, name)
		case !errors.Is(err, fs.ErrNotExist):
			return nil, fmt.Errorf("look for %s: %w", name, err)
		}
	}
	return found, nil
}

// Evidence is what a volume says before anything on it is changed.
type Evidence struct {
	Entries    int // names in the data directory, lost+found not counted
	Grastate   Grastate
	View       *View
	Markers    []string // of an interrupted state transfer
	Traces     []string // of a server that was not stopped in order
	Lineage    *Lineage
	Committed  *Position // what the sidecar last saw committed
	Promised   int64     // highest attempt to which a process on this volume has agreed
	Cache      Cache
	Installing bool // Install() exists
	// Notes say in words which of these files are there and make no sense.
	Notes []string
}

// Look reads the evidence. An error means that it could not be read, never
// that there is none.
func Look(v Volume) (Evidence, error) {
	var e Evidence
	entries, err := os.ReadDir(v.Data)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return e, fmt.Errorf("read data directory: %w", err)
	}
	for _, entry := range entries {
		if entry.Name() != "lost+found" {
			e.Entries++
		}
	}
	if err := e.readServerFiles(v.Data); err != nil {
		return e, err
	}
	return e, e.readBerthFiles(v)
}

// readServerFiles reads what the server and its scripts left.
func (e *Evidence) readServerFiles(dir string) error {
	note := func(malformed error) {
		if malformed != nil {
			e.Notes = append(e.Notes, malformed.Error())
		}
	}
	var malformed, err error
	if e.Grastate, malformed, err = ReadGrastate(dir); err != nil {
		return err
	}
	note(malformed)
	if e.View, malformed, err = ReadGvwstate(dir); err != nil {
		return err
	}
	note(malformed)
	if e.Markers, err = present(dir, transferMarkers); err != nil {
		return err
	}
	if e.Traces, err = present(dir, runningTraces); err != nil {
		return err
	}
	e.Cache, err = ReadCache(dir)
	return err
}

// readBerthFiles reads what Berth wrote beside the data directory.
func (e *Evidence) readBerthFiles(v Volume) error {
	var err error
	if e.Lineage, err = ReadLineage(v.Lineage()); err != nil {
		return err
	}
	if e.Committed, err = ReadCommitted(v.Committed()); err != nil {
		return err
	}
	if e.Promised, err = ReadPromise(v.Promise()); err != nil {
		return err
	}
	_, err = os.Stat(v.Install())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look for an unfinished installation: %w", err)
	}
	e.Installing = err == nil
	return nil
}
