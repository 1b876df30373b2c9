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

// Evidence is the directory into which evidence is moved once it was reported.
func (v Volume) Evidence() string { return filepath.Join(v.Berth(), "evidence") }

// Install is where a first installation is built before it becomes the data
// directory. While it exists and there is no lineage, no server has ever run on
// what the data directory holds.
func (v Volume) Install() string { return filepath.Join(v.Berth(), "install") }

// Markers that a state transfer leaves in a data directory while it runs; a
// member that was stopped then holds a mixture of two copies. rsync_sst_complete
// and its like stay when the joiner dies between transfer and start.
var transferMarkers = []string{
	"sst_in_progress", ".sst", "rsync_sst.pid", "rsync_sst.conf", "wsrep_sst.pid",
	"rsync_sst_complete",
}

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
	Cache      Cache
	Installing bool // Install() exists
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
	if e.Grastate, err = ReadGrastate(v.Data); err != nil {
		return e, err
	}
	if e.View, err = ReadGvwstate(v.Data); err != nil {
		return e, err
	}
	if e.Markers, err = present(v.Data, transferMarkers); err != nil {
		return e, err
	}
	if e.Traces, err = present(v.Data, runningTraces); err != nil {
		return e, err
	}
	if e.Cache, err = ReadCache(v.Data); err != nil {
		return e, err
	}
	if e.Lineage, err = ReadLineage(v.Lineage()); err != nil {
		return e, err
	}
	_, err = os.Stat(v.Install())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return e, fmt.Errorf("look for an unfinished installation: %w", err)
	}
	e.Installing = err == nil
	return e, nil
}
