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

// change does one change, with everybody else kept out. The sequence number is
// counted up before: a reader that sees it sees the change, or the change was cut
// off and will not come.
func (b *Base) change(do func(vg lvm.VG) error) error {
	return b.changeHead("count up", func(*base) {}, do)
}

// changeHead also changes the base directory's own record, in the same write that
// counts up.
func (b *Base) changeHead(step string, edit func(*base), do func(vg lvm.VG) error) error {
	unlock, err := b.lock(unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer unlock()
	head, vg, err := b.read()
	if err != nil {
		return err
	}
	if err := b.step(step); err != nil {
		return err
	}
	head.Seqno++
	edit(&head)
	if err := write(filepath.Join(b.dir, baseFile), head); err != nil {
		return err
	}
	return do(vg)
}

// Create implements lvm.Group. The volume gets its name when it is whole.
func (b *Base) Create(name string, size int64, tags []string) error {
	if !isVolumeName(name) || name != filepath.Base(name) {
		return fmt.Errorf("create %s: not the name of a volume: %w", name, lvm.ErrUsage)
	}
	return b.change(func(vg lvm.VG) error {
		if _, err := os.Lstat(filepath.Join(b.dir, name)); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("create %s in %s: %w", name, b.dir, errors.Join(lvm.ErrExists, err))
		}
		if size > vg.Free {
			return fmt.Errorf("create %s in %s: %d bytes free, %d asked for: %w", name, b.dir, vg.Free, size, lvm.ErrNoSpace)
		}
		if err := b.sweep(); err != nil {
			return err
		}
		r := record{Schema: schema, UUID: newUUID(), Size: size, Tags: tags}
		next := filepath.Join(b.dir, newPrefix+r.UUID)
		if err := b.step("make"); err != nil {
			return err
		}
		if err := os.Mkdir(next, 0o700); err != nil {
			return fmt.Errorf("create: %w", err)
		}
		if err := b.step("make data"); err != nil {
			return err
		}
		data := filepath.Join(next, dataDir)
		if err := os.Mkdir(data, 0o755); err != nil {
			return fmt.Errorf("create: %w", err)
		}
		var err error
		if r.Data, err = identify(data); err != nil {
			return fmt.Errorf("create: %w", err)
		}
		if err := b.step("write record"); err != nil {
			return err
		}
		if err := write(filepath.Join(next, volumeFile), r); err != nil {
			return err
		}
		return b.move(next, filepath.Join(b.dir, name))
	})
}

// sweep removes what a creation left that was cut off. Only what holds no file but
// the record goes: everything else stays.
func (b *Base) sweep() error {
	left, err := filepath.Glob(filepath.Join(b.dir, newPrefix+"*"))
	if err != nil {
		return fmt.Errorf("look for unfinished volumes: %w", err)
	}
	for _, dir := range left {
		if err := os.Remove(filepath.Join(dir, dataDir)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		for _, name := range []string{volumeFile, "." + volumeFile + ".next", ""} {
			if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				break
			}
		}
	}
	return nil
}

// move renames a volume's directory, never over another one.
func (b *Base) move(from, to string) error {
	if err := b.step("rename"); err != nil {
		return err
	}
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("rename %s to %s: %w", from, to, lvm.ErrExists)
	}
	if err != nil {
		return fmt.Errorf("rename %s to %s: %w", from, to, err)
	}
	return sync(b.dir)
}

// find returns the record of the volume that has the name and the UUID.
func (b *Base) find(lv lvm.LV) (path string, r record, err error) {
	path = filepath.Join(b.dir, lv.Name)
	if !isVolumeName(lv.Name) || lv.Name != filepath.Base(lv.Name) {
		return path, r, fmt.Errorf("%s: not the name of a volume: %w", path, lvm.ErrUsage)
	}
	if err := read(filepath.Join(path, volumeFile), &r); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w: %w", lvm.ErrNotFound, err)
		}
		return path, r, err
	}
	if r.UUID != lv.UUID {
		return path, r, fmt.Errorf("%s has UUID %s and not %s: %w", path, r.UUID, lv.UUID, lvm.ErrNotFound)
	}
	return path, r, nil
}

// Change implements lvm.Group.
func (b *Base) Change(lv lvm.LV, c lvm.Change) error {
	return b.change(func(vg lvm.VG) error {
		path, r, err := b.find(lv)
		if err != nil {
			return err
		}
		if more := c.Size - r.Size; c.Size != 0 && more > vg.Free {
			return fmt.Errorf("grow %s to %d bytes: %d are free: %w", path, c.Size, vg.Free, lvm.ErrNoSpace)
		}
		if len(c.Off)+len(c.On) > 0 || c.Size > r.Size {
			r.Tags, r.Size = swap(r.Tags, c.Off, c.On), max(r.Size, c.Size)
			if err := b.step("write record"); err != nil {
				return err
			}
			if err := write(filepath.Join(path, volumeFile), r); err != nil {
				return err
			}
		}
		if c.Name == "" || c.Name == lv.Name {
			return nil
		}
		if !isVolumeName(c.Name) || c.Name != filepath.Base(c.Name) {
			return fmt.Errorf("rename %s to %s: not the name of a volume: %w", path, c.Name, lvm.ErrUsage)
		}
		return b.move(path, filepath.Join(b.dir, c.Name))
	})
}

// ChangeTags implements lvm.Group.
func (b *Base) ChangeTags(off, on []string) error {
	return b.changeHead("write tags", func(head *base) { head.Tags = swap(head.Tags, off, on) }, func(lvm.VG) error { return nil })
}

func swap(tags, off, on []string) []string {
	tags = slices.DeleteFunc(slices.Clone(tags), func(t string) bool { return slices.Contains(off, t) || slices.Contains(on, t) })
	return append(tags, on...)
}

// Idle implements lvm.Group. A directory has no device whose users the kernel
// counts: pods are seen by their mounts, in the machine's own namespace.
func (b *Base) Idle(lv lvm.LV) error {
	path, _, err := b.find(lv)
	if err != nil {
		return err
	}
	where, err := b.users(path)
	if err != nil {
		return fmt.Errorf("whether %s is in use is not known: %w", path, err)
	}
	if len(where) > 0 {
		return fmt.Errorf("%s is mounted (%s): %w", path, strings.Join(where, ", "), lvm.ErrInUse)
	}
	return nil
}

// onlyOurs returns an error when a volume's directory holds more than Berth put there.
func onlyOurs(path string) error {
	entries, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !slices.Contains([]string{dataDir, volumeFile, "." + volumeFile + ".next"}, e.Name()) {
			return fmt.Errorf("%s also holds %s, which Berth did not put there: take it away", path, e.Name())
		}
	}
	return nil
}

// Remove implements lvm.Group. The record goes last, so that what a crash leaves is
// still known for what it is. What a person put beside it is not removed.
func (b *Base) Remove(lv lvm.LV) error {
	return b.change(func(lvm.VG) error {
		path, r, err := b.find(lv)
		if err != nil {
			return err
		}
		if err := b.Idle(lv); err != nil {
			return err
		}
		if err := onlyOurs(path); err != nil {
			return fmt.Errorf("remove: %w", err)
		}
		data := filepath.Join(path, dataDir)
		is, err := identify(data)
		if err == nil && is != r.Data {
			return fmt.Errorf("remove %s: it is another directory than the one that was made for this volume: look at it, and remove it by hand", data)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove: %w", err)
		}
		if err := b.step("remove data"); err != nil {
			return err
		}
		if err := os.RemoveAll(data); err != nil {
			return fmt.Errorf("remove: %w", err)
		}
		if err := b.move(path, filepath.Join(b.dir, newPrefix+r.UUID)); err != nil {
			return err
		}
		return b.sweep()
	})
}
