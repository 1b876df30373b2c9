package datadir

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// Lineage is the volume's own memory: which member of which cluster it belongs
// to, and the last epoch in which a server ran on it. It is written before
// the server starts. The API's memory may be lost or restored from an old
// snapshot; attempts go on from the highest on any disk.
type Lineage struct {
	Version   int    `json:"version"`
	Namespace string `json:"namespace"`
	Cluster   string `json:"cluster"`
	Ordinal   int    `json:"ordinal"`
	// Attempt is the number of the bootstrap that began the epoch.
	Attempt int64 `json:"attempt"`
	// Begin is the position at which the epoch began.
	Begin Position `json:"begin"`
	// FullTransfer says that the member last started without a usable position, so
	// that it needed a full state transfer. While grastate.dat is of length zero, the
	// data directory holds half a copy.
	FullTransfer bool `json:"fullTransfer,omitempty"`
}

const lineageVersion = 1

// ParseLineage reads a lineage file. Unknown fields are errors: a volume of a
// newer Berth is not for this one to judge.
func ParseLineage(content []byte) (Lineage, error) {
	var l Lineage
	d := json.NewDecoder(bytes.NewReader(content))
	d.DisallowUnknownFields()
	if err := d.Decode(&l); err != nil {
		return Lineage{}, fmt.Errorf("lineage: %w", err)
	}
	if d.More() {
		return Lineage{}, errors.New("lineage: content after the end")
	}
	switch {
	case l.Version != lineageVersion:
		return Lineage{}, fmt.Errorf("lineage: version %d, expected %d", l.Version, lineageVersion)
	case l.Namespace == "" || l.Cluster == "" || l.Ordinal < 0 || l.Attempt < 1:
		return Lineage{}, errors.New("lineage: namespace, cluster, ordinal or attempt is missing")
	case !uuidPattern.MatchString(l.Begin.UUID):
		return Lineage{}, fmt.Errorf("lineage: begin uuid %q is not a uuid", l.Begin.UUID)
	}
	return l, nil
}

// ReadLineage reads a lineage file; nil when there is none. A lineage that
// cannot be understood is an error, never an absent one: it may be the only
// proof that this volume had data.
func ReadLineage(path string) (*Lineage, error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read lineage: %w", err)
	}
	l, err := ParseLineage(content)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &l, nil
}

// WriteLineage replaces the lineage file durably.
func WriteLineage(path string, l Lineage) error {
	l.Version = lineageVersion
	content, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return fmt.Errorf("write lineage: %w", err)
	}
	return WriteFile(path, append(content, '\n'), 0o660)
}
