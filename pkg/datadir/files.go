package datadir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

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
