package provisioner

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
)

// DefaultLinkDir is where links go unless somebody says otherwise. It is not
// /dev/berth: lvm keeps the names of the volumes of a volume group "berth" there,
// and makes no volume group whose directory exists.
const DefaultLinkDir = "/dev/disk/by-berth"

// lvUUID is the form of the names that are ours to remove.
var lvUUID = regexp.MustCompile(`^[0-9A-Za-z]{6}(-[0-9A-Za-z]{4}){5}-[0-9A-Za-z]{6}$`)

// Links is the directory of symbolic links by LV UUID that PVs point to. It lies
// on a file system that a boot empties (/dev), so that a link says: verified
// since boot. A pod whose volume was not verified waits for its path instead of
// mounting what happens to have the name.
type Links struct {
	Dir string
}

// Path is where the link of a volume is, or would be.
func (l Links) Path(lvUUID string) string { return filepath.Join(l.Dir, lvUUID) }

// Points reports whether the link is there and leads to device.
func (l Links) Points(lvUUID, device string) bool {
	target, err := os.Readlink(l.Path(lvUUID))
	return err == nil && target == device
}

// Set makes the link, or turns it to another device, in one step.
func (l Links) Set(lvUUID, device string) error {
	if err := os.MkdirAll(l.Dir, 0o755); err != nil {
		return fmt.Errorf("make link directory: %w", err)
	}
	next := l.Path("." + lvUUID)
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove half-made link: %w", err)
	}
	if err := os.Symlink(device, next); err != nil {
		return fmt.Errorf("make link: %w", err)
	}
	if err := os.Rename(next, l.Path(lvUUID)); err != nil {
		return fmt.Errorf("put link in place: %w", err)
	}
	return nil
}

// Remove withdraws the link of one volume, if it is there.
func (l Links) Remove(lvUUID string) error {
	if err := os.Remove(l.Path(lvUUID)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("withdraw link: %w", err)
	}
	return nil
}

// Keep removes the links of all volumes that keep does not hold. A link is a
// statement, not data; it is withdrawn when it is no longer known to be true.
func (l Links) Keep(keep map[string]bool) error {
	entries, err := os.ReadDir(l.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read link directory: %w", err)
	}
	for _, e := range entries {
		if e.Type()&fs.ModeSymlink == 0 || keep[e.Name()] || !lvUUID.MatchString(e.Name()) {
			continue
		}
		if err := os.Remove(l.Path(e.Name())); err != nil {
			return fmt.Errorf("withdraw link: %w", err)
		}
	}
	return nil
}
