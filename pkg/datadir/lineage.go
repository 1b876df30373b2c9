package datadir

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/berth-dev/berth/pkg/gcache"
)

// Epoch is one life of the cluster, from a bootstrap to the next.
type Epoch struct {
	// ID is a uuid made for the grant. Attempt numbers can collide when two halves
	// of a cluster were recovered under two API servers; IDs cannot.
	ID string `json:"id"`
	// Attempt is the number of the bootstrap that began the epoch.
	Attempt int64 `json:"attempt"`
	// Begin is the position at which the epoch began.
	Begin Position `json:"begin"`
}

// Lineage is the volume's own memory: which member of which cluster it belongs
// to, and the epochs in which a server ran on it. It is written before the
// server starts. The API's memory may be lost or restored from an old
// snapshot; attempts go on from the highest on any disk.
type Lineage struct {
	Version   int    `json:"version"`
	Namespace string `json:"namespace"`
	Cluster   string `json:"cluster"`
	Ordinal   int    `json:"ordinal"`
	// Epochs are the last ones, oldest first; each is the parent of the next.
	Epochs []Epoch `json:"epochs"`
	// Members are the ordinals that the cluster had when the server started. A
	// StatefulSet that is made again with fewer replicas does not unmake them.
	Members []int `json:"members,omitempty"`
	// FullTransfer says that the member last started without a usable position, so
	// that it needed a full state transfer. While grastate.dat is of length zero, the
	// data directory holds half a copy.
	FullTransfer bool `json:"fullTransfer,omitempty"`
}

const (
	lineageVersion = 1
	// keptEpochs is how many epochs a volume remembers. Two volumes whose common
	// epoch is further back than that count as siblings, which refuses.
	keptEpochs = 16
)

// Newest gives the epoch in which a server last ran on the volume.
func (l Lineage) Newest() Epoch { return l.Epochs[len(l.Epochs)-1] }

// Descend gives the epochs of a volume that takes part in a new epoch whose
// leader had lived through parents. It forgets the oldest.
func Descend(parents []Epoch, e Epoch) []Epoch {
	parents = slices.Clone(parents)
	if i := slices.IndexFunc(parents, func(p Epoch) bool { return p.ID == e.ID }); i >= 0 {
		parents = parents[:i]
	}
	epochs := append(parents, e)
	return epochs[max(0, len(epochs)-keptEpochs):]
}

// Related says whether one volume's newest epoch lies in the other's past. Two
// volumes of one uuid that are not related were led apart by two bootstraps:
// their positions cannot be compared.
func Related(a, b []Epoch) bool {
	return len(a) == 0 || len(b) == 0 || livedThrough(a, b[len(b)-1]) || livedThrough(b, a[len(a)-1])
}

func livedThrough(epochs []Epoch, e Epoch) bool {
	return slices.ContainsFunc(epochs, func(p Epoch) bool { return p.ID == e.ID })
}

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
	case l.Namespace == "" || l.Cluster == "" || l.Ordinal < 0:
		return Lineage{}, errors.New("lineage: namespace, cluster or ordinal is missing")
	case len(l.Epochs) == 0:
		return Lineage{}, errors.New("lineage: no epoch")
	}
	for i, e := range l.Epochs {
		switch {
		case e.ID == "" || e.Attempt < 1:
			return Lineage{}, fmt.Errorf("lineage: epoch %d without id or attempt", i)
		case !gcache.IsUUID(e.Begin.UUID):
			return Lineage{}, fmt.Errorf("lineage: begin uuid %q is not a uuid", e.Begin.UUID)
		case i > 0 && e.Attempt <= l.Epochs[i-1].Attempt:
			return Lineage{}, fmt.Errorf("lineage: attempt %d after %d", e.Attempt, l.Epochs[i-1].Attempt)
		}
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
	return writeJSON(path, l)
}

func writeJSON(path string, value any) error {
	content, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return WriteFile(path, append(content, '\n'), 0o660)
}
