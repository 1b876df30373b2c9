package datadir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/berth-dev/berth/pkg/gcache"
)

// View is the last Primary view that a member saved in gvwstate.dat (format:
// gcomm/src/view.cpp). The uuids name group connections and not the cluster's
// history; together they prove who was in that view.
type View struct {
	MyUUID    string   `json:"myUUID"`
	ID        string   `json:"id"` // "UUID SEQ" of the view
	Bootstrap bool     `json:"bootstrap,omitempty"`
	Members   []string `json:"members"`
}

// ParseGvwstate reads the content of gvwstate.dat. An empty or cut file is an
// error: Galera renames it into place without an fsync of the directory.
func ParseGvwstate(content []byte) (View, error) {
	var v View
	open, closed := false, false
	for _, line := range strings.Split(string(content), "\n") {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		switch key, values := fields[0], fields[1:]; {
		case key == "#vwbeg":
			open = true
		case key == "#vwend":
			closed = open
		case key == "my_uuid:" && len(values) == 1:
			v.MyUUID = values[0]
		case key == "view_id:" && open && len(values) == 3:
			v.ID = values[1] + " " + values[2]
		case key == "bootstrap:" && open && len(values) == 1:
			v.Bootstrap = values[0] == "1"
		case key == "member:" && open && len(values) == 2:
			v.Members = append(v.Members, values[0])
		}
	}
	switch {
	case !closed:
		return View{}, fmt.Errorf("gvwstate.dat: cut or empty (%d bytes), expected a view that ends in #vwend", len(content))
	case !gcache.IsUUID(v.MyUUID):
		return View{}, fmt.Errorf("gvwstate.dat: my_uuid %q is not a uuid", v.MyUUID)
	case v.ID == "" || len(v.Members) == 0:
		return View{}, errors.New("gvwstate.dat: a view without id or members")
	}
	for _, m := range v.Members {
		if !gcache.IsUUID(m) {
			return View{}, fmt.Errorf("gvwstate.dat: member %q is not a uuid", m)
		}
	}
	return v, nil
}

// ReadGvwstate reads DIR/gvwstate.dat; nil when there is none, or one that holds
// no view, and why.
func ReadGvwstate(dir string) (v *View, malformed, err error) {
	content, err := os.ReadFile(filepath.Join(dir, "gvwstate.dat"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read gvwstate.dat: %w", err)
	}
	view, malformed := ParseGvwstate(content)
	if malformed != nil {
		return nil, malformed, nil
	}
	return &view, nil, nil
}
