package directory

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/berth-dev/berth/pkg/lvm"
)

// ExtentSize is the unit of sizes, in bytes.
const ExtentSize = 4 << 20

// Base is a base directory. It implements lvm.Group.
type Base struct {
	dir     string
	mounted func(dir string) ([]string, error)
	// step is asked before each change of the disk, for tests that cut the power.
	step func(name string) error
}

// New returns the base directory at an absolute path, which need not be there.
// Mounted returns where the machine has a directory, or anything in it, mounted:
// that of lvm.SelfTest.
func New(dir string, mounted func(dir string) ([]string, error)) *Base {
	return &Base{dir: filepath.Clean(dir), mounted: mounted, step: func(string) error { return nil }}
}

// Make marks the directory, which has to be there and empty, as a base directory.
// A person calls for it, once: the agent makes none, for an empty directory may be
// a disk that is not mounted yet.
func (b *Base) Make() error {
	entries, err := os.ReadDir(b.dir)
	if err != nil {
		return fmt.Errorf("make a base directory: %w", err)
	}
	for _, e := range entries {
		if e.Name() != "lost+found" {
			return fmt.Errorf("make a base directory: %s is not empty, it holds %s: name an empty directory", b.dir, e.Name())
		}
	}
	if _, err := identify(b.dir); err != nil {
		return fmt.Errorf("make a base directory: %w", err)
	}
	return write(filepath.Join(b.dir, baseFile), base{Schema: schema, UUID: newUUID(), Seqno: 1})
}

// lock keeps other processes out (how is LOCK_EX) or their changes (LOCK_SH) until
// the returned function is called. It waits: what is done under it is short.
func (b *Base) lock(how int) (unlock func(), err error) {
	f, err := os.Open(b.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("base directory %s: %w", b.dir, lvm.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("open base directory: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), how); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", b.dir, err)
	}
	return func() { f.Close() }, nil
}

// Read implements lvm.Group. A directory without its mark is ErrNotFound: nothing
// is made in it.
func (b *Base) Read() (lvm.VG, error) {
	unlock, err := b.lock(unix.LOCK_SH)
	if err != nil {
		return lvm.VG{}, err
	}
	defer unlock()
	_, vg, err := b.read()
	return vg, err
}

func (b *Base) read() (base, lvm.VG, error) {
	var head base
	if err := read(filepath.Join(b.dir, baseFile), &head); errors.Is(err, fs.ErrNotExist) {
		return head, lvm.VG{}, fmt.Errorf("%s is not marked as a base directory: %w", b.dir, lvm.ErrNotFound)
	} else if err != nil {
		return head, lvm.VG{}, err
	}
	entries, err := os.ReadDir(b.dir)
	if err != nil {
		return head, lvm.VG{}, fmt.Errorf("read base directory: %w", err)
	}
	var room unix.Statfs_t
	if err := unix.Statfs(b.dir, &room); err != nil {
		return head, lvm.VG{}, fmt.Errorf("read the room of %s: %w", b.dir, err)
	}
	avail := int64(room.Bavail) * room.Frsize
	vg := lvm.VG{
		UUID: head.UUID, Name: b.dir, Dir: b.dir, Seqno: head.Seqno, Tags: head.Tags, ExtentSize: ExtentSize,
		Size: int64(room.Blocks) * room.Frsize, Free: avail, MetadataSize: avail, MetadataFree: avail,
	}
	for _, e := range entries {
		if !e.IsDir() || !isVolumeName(e.Name()) {
			continue
		}
		lv := b.volume(e.Name())
		vg.LVs = append(vg.LVs, lv)
		// What a volume was promised counts, and what it has written counts as well:
		// its size is held by nothing, so less is offered than there is, never more.
		if vg.Free -= lv.Size; lv.UUID == lv.Name {
			vg.Free = 0 // nobody knows what it was promised
		}
	}
	// In coarse steps, downwards: what is written each second must not be news each second.
	step := max(vg.Size/64/ExtentSize, 1) * ExtentSize
	vg.Free = max(vg.Free-vg.Free%step, 0)
	return head, vg, nil
}

// users returns where a volume's directory is mounted, by the name that it has
// behind all links.
func (b *Base) users(path string) ([]string, error) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, err
	}
	if strings.ContainsAny(real, " \t\n\\") { // the kernel writes these in another way
		return nil, fmt.Errorf("%q cannot be looked for among mounts: use a base directory without spaces", real)
	}
	return b.mounted(real)
}

// isVolumeName tells the names that package volume makes, and so what is looked at.
func isVolumeName(name string) bool {
	return slices.ContainsFunc([]string{"berth-", "trash-", "superseded-"}, func(p string) bool { return strings.HasPrefix(name, p) })
}

// volume reads one volume. What cannot be read may be somebody's data: it is shown,
// by its name, with the error.
func (b *Base) volume(name string) lvm.LV {
	path := filepath.Join(b.dir, name)
	lv := lvm.LV{UUID: name, Name: name, Path: filepath.Join(path, dataDir), Attr: "-wi-------"}
	var r record
	if lv.Err = read(filepath.Join(path, volumeFile), &r); lv.Err != nil {
		return lv
	}
	lv.UUID, lv.Size, lv.Tags = r.UUID, r.Size, r.Tags
	is, err := identify(lv.Path)
	switch {
	case err != nil:
		lv.Err = err
	case is != r.Data:
		lv.Err = fmt.Errorf("%s is another directory than the one that was made for this volume (inode %d, born %d, not %d and %d): put the right one back; "+
			"if this is the volume's data on purpose, as from a backup, write its numbers into %s", lv.Path, is.Inode, is.Born, r.Data.Inode, r.Data.Born, filepath.Join(path, volumeFile))
	}
	lv.Active = lv.Err == nil
	if where, err := b.users(path); err != nil || len(where) > 0 {
		lv.Attr = "-wi-ao----" // in use, or not known to be not
	}
	return lv
}
