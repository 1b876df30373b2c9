package datadir

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Finding is one thing that is not as it should be.
type Finding struct {
	File     string `json:"file"`
	Expected string `json:"expected"`
	Found    string `json:"found"`
	Do       string `json:"do"`
	// Fatal findings make the member CORRUPT.
	Fatal bool `json:"fatal,omitempty"`
}

// String is the finding in a sentence.
func (f Finding) String() string {
	return fmt.Sprintf("%s: expected %s, found %s; %s", f.File, f.Expected, f.Found, f.Do)
}

func anyFatal(findings []Finding) bool {
	for _, f := range findings {
		if f.Fatal {
			return true
		}
	}
	return false
}

const rebuildFromPeer = "keep the volume, and rebuild this member from another one"

// Files without which MariaDB 10.4 and later does not come up, or comes up with
// an empty system tablespace in place of the lost one.
var mandatoryFiles = []string{
	"ibdata1", "ib_logfile0",
	"mysql/global_priv.frm", "mysql/global_priv.MAI", "mysql/global_priv.MAD",
}

// CheckFiles looks for the mandatory files. It runs before the server's
// recovery, which answers with success and a new database when both system
// tablespace and redo are missing. An error means that the directory could not
// be read, which says nothing about the data.
func CheckFiles(dir string) ([]Finding, error) {
	var findings []Finding
	for _, name := range mandatoryFiles {
		info, err := os.Stat(filepath.Join(dir, name))
		found := ""
		switch {
		case errors.Is(err, fs.ErrNotExist):
			found = "no such file"
		case err != nil:
			return nil, fmt.Errorf("check %s: %w", name, err)
		case !info.Mode().IsRegular():
			found = "not a regular file"
		case info.Size() == 0:
			found = "an empty file"
		}
		if found != "" {
			findings = append(findings, Finding{File: name, Expected: "a file with content", Found: found, Do: rebuildFromPeer, Fatal: true})
		}
	}
	return findings, nil
}

// CheckTablespaces looks at the size and the first page of every InnoDB
// tablespace. It costs one read a file; what it cannot see (a bad page further
// in) needs the checksum scan. It is for directories that were stopped in order
// or recovered: before recovery, a page that was never flushed is still zero.
func CheckTablespaces(dir string) ([]Finding, error) {
	var findings []Finding
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if entry.IsDir() || !isTablespace(name) {
			return nil
		}
		finding, err := checkTablespace(path, name)
		if err != nil {
			return err
		}
		if finding != nil {
			findings = append(findings, *finding)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("check tablespaces: %w", err)
	}
	return findings, nil
}

// isTablespace leaves out temporary tablespaces, which every start makes anew,
// and leftovers of an interrupted ALTER, which recovery removes.
func isTablespace(name string) bool {
	base := filepath.Base(name)
	switch {
	case strings.HasPrefix(base, "#sql"):
		return false
	case name == "ibdata1":
		return true
	case filepath.Dir(name) == "." && strings.HasPrefix(base, "undo"):
		return true
	}
	return strings.HasSuffix(base, ".ibd")
}

func checkTablespace(path, name string) (*Finding, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	header := make([]byte, fspHeaderEnd)
	n, err := io.ReadFull(f, header)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	expected, found := checkFirstPage(header[:n], info.Size())
	if expected == "" {
		return nil, nil
	}
	return &Finding{File: name, Expected: expected, Found: found, Do: rebuildFromPeer, Fatal: true}, nil
}
