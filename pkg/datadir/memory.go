package datadir

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/berth-dev/berth/pkg/gcache"
)

// What a volume remembers beside its lineage. Unlike the lineage, these files
// help and prove nothing: one that cannot be understood counts as absent.

// ReadCommitted gives the last position that the server was seen to have
// committed; nil when nobody has written one. After recovery a lower position
// than this means that the end of the redo log is gone, of which the server
// itself says nothing.
func ReadCommitted(path string) (*Position, error) {
	var p Position
	found, err := readJSON(path, &p)
	if err != nil || !found || !gcache.IsUUID(p.UUID) || !p.IsReal() {
		return nil, err
	}
	return &p, nil
}

// WriteCommitted replaces the last committed position.
func WriteCommitted(path string, p Position) error { return writeJSON(path, p) }

// ReadPeers gives the addresses of the cluster's members as this member last
// knew them, for a start without an API server.
func ReadPeers(path string) ([]string, error) {
	var addresses []string
	if _, err := readJSON(path, &addresses); err != nil {
		return nil, err
	}
	return addresses, nil
}

// WritePeers replaces the members' addresses.
func WritePeers(path string, addresses []string) error { return writeJSON(path, addresses) }

func readJSON(path string, value any) (found bool, err error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read what the volume remembers: %w", err)
	}
	return json.Unmarshal(content, value) == nil, nil
}
