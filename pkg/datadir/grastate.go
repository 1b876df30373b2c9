package datadir

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/berth-dev/berth/pkg/gcache"
)

// grastateLimit is far above what Galera writes (256 bytes) and far below what
// would hurt to read.
const grastateLimit = 64 << 10

// GrastateState says in what state the file was found.
type GrastateState string

// States of grastate.dat. Galera opens the file in a mode that creates it, so
// a file of length zero is ordinary: the first seconds of a member's life, or
// what a failed state transfer leaves.
const (
	GrastatePresent   GrastateState = "present"
	GrastateMissing   GrastateState = "missing"
	GrastateEmpty     GrastateState = "empty"
	GrastateMalformed GrastateState = "malformed"
)

// Grastate is Galera's saved state as the server would read it (format:
// galera/src/saved_state.cpp).
type Grastate struct {
	State GrastateState `json:"state"`
	Position
	// SafeToBootstrap is true when the key is missing, as in Galera. It means
	// nothing without a real uuid.
	SafeToBootstrap bool `json:"safeToBootstrap"`
}

// ParseGrastate reads the content of grastate.dat by Galera's own rules: keys
// in any order, unknown keys ignored, padding trimmed, a last line without
// newline not counted, a missing flag true. Content that is not this format
// is an error and the state malformed.
func ParseGrastate(content []byte) (Grastate, error) {
	g := Grastate{State: GrastatePresent, Position: Undefined, SafeToBootstrap: true}
	if len(content) == 0 {
		g.State = GrastateEmpty
		return g, nil
	}
	malformed := func(format string, args ...any) (Grastate, error) {
		return Grastate{State: GrastateMalformed, Position: Undefined, SafeToBootstrap: false},
			fmt.Errorf("grastate.dat: "+format, args...)
	}
	if len(content) > grastateLimit {
		return malformed("%d bytes long, expected at most %d", len(content), grastateLimit)
	}
	if i := bytes.IndexFunc(content, func(r rune) bool { return r < ' ' && r != '\n' && r != '\r' && r != '\t' }); i >= 0 {
		return malformed("binary content at byte %d", i)
	}
	recognised := false
	lines := strings.Split(string(content), "\n")
	for _, line := range lines[:len(lines)-1] { // what follows the last newline does not count
		key, value, found := strings.Cut(line, ":")
		if !found || strings.HasPrefix(strings.TrimSpace(line), "#") {
			continue
		}
		value = strings.TrimSpace(value)
		switch strings.TrimSpace(key) {
		case "version":
			recognised = true
		case "uuid":
			value = strings.ToLower(value)
			if !gcache.IsUUID(value) {
				return malformed("uuid %q is not a uuid", value)
			}
			g.UUID, recognised = value, true
		case "seqno":
			seqno, err := strconv.ParseInt(value, 10, 64)
			if err != nil || seqno < -1 {
				return malformed("seqno %q is not a seqno", value)
			}
			g.Seqno, recognised = seqno, true
		case "safe_to_bootstrap":
			flag, err := strconv.Atoi(value)
			if err != nil {
				return malformed("safe_to_bootstrap %q is not 0 or 1", value)
			}
			g.SafeToBootstrap = flag != 0
		}
	}
	if !recognised {
		return malformed("no version, uuid or seqno in %d bytes", len(content))
	}
	return g, nil
}

// ReadGrastate reads DIR/grastate.dat. Strange content is a Grastate in state
// malformed and says why; only a file that cannot be read is an error.
func ReadGrastate(dir string) (g Grastate, malformed, err error) {
	content, err := os.ReadFile(filepath.Join(dir, "grastate.dat"))
	if errors.Is(err, fs.ErrNotExist) {
		return Grastate{State: GrastateMissing, Position: Undefined, SafeToBootstrap: true}, nil, nil
	}
	if err != nil {
		return Grastate{}, nil, fmt.Errorf("read grastate.dat: %w", err)
	}
	g, malformed = ParseGrastate(content)
	return g, malformed, nil
}

// WriteGrastate replaces DIR/grastate.dat durably by a complete one. Without
// its final newline Galera would read the flag as true.
func WriteGrastate(dir string, p Position, safeToBootstrap bool) error {
	flag := 0
	if safeToBootstrap {
		flag = 1
	}
	content := fmt.Sprintf("# GALERA saved state\nversion: 2.1\nuuid:    %s\nseqno:   %d\nsafe_to_bootstrap: %d\n", p.UUID, p.Seqno, flag)
	return WriteFile(filepath.Join(dir, "grastate.dat"), []byte(content), 0o660)
}
