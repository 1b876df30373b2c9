package offline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// ErrOutside is the cause when a directory has parts elsewhere, which a server on
// the copy would change.
var ErrOutside = errors.New("the data directory has files outside of it")

// ErrNoRoom is the cause when the copy does not fit.
var ErrNoRoom = errors.New("not enough room for a copy")

// spare is left over by a copy, for what the server writes on it.
const spare = 1 << 30

// Copy copies the data directory dir to the new directory to. On file systems
// that can (XFS, Btrfs), files share their blocks and the copy takes no time and
// no room. What a server does not need (its log of write sets) is left out.
func Copy(ctx context.Context, dir, to string) error {
	if err := os.Mkdir(to, 0o700); err != nil {
		return fmt.Errorf("copy %s: %w", dir, err)
	}
	c := copying{dir: dir, to: to, clones: true}
	if err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		return errors.Join(err, ctx.Err(), c.add(path, entry, err))
	}); err != nil {
		return fmt.Errorf("copy %s to %s: %w", dir, to, err)
	}
	for _, file := range c.files {
		if err := c.file(ctx, file); err != nil {
			return fmt.Errorf("copy %s to %s: %w", dir, to, err)
		}
	}
	return nil
}

type copying struct {
	dir, to string
	files   []string // regular ones, by path below dir
	bytes   int64
	clones  bool // until the file system says no
}

// add makes directories and lists files.
func (c *copying) add(path string, entry fs.DirEntry, err error) error {
	if err != nil || path == c.dir {
		return nil
	}
	name, err := filepath.Rel(c.dir, path)
	if err != nil {
		return err
	}
	info, err := entry.Info()
	if err != nil {
		return err
	}
	switch {
	case entry.IsDir():
		return os.Mkdir(filepath.Join(c.to, name), 0o700)
	case entry.Type()&fs.ModeSymlink != 0 || filepath.Ext(name) == ".isl":
		return fmt.Errorf("%w: %s", ErrOutside, name)
	case !entry.Type().IsRegular() || name == "galera.cache" || name == "ibtmp1":
		return nil
	}
	c.files = append(c.files, name)
	c.bytes += info.Size()
	return nil
}

func (c *copying) file(ctx context.Context, name string) error {
	in, err := os.Open(filepath.Join(c.dir, name))
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(filepath.Join(c.to, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if c.clones && unix.IoctlFileClone(int(out.Fd()), int(in.Fd())) != nil {
		c.clones = false
		err = c.checkRoom()
	}
	if !c.clones && err == nil {
		_, err = io.Copy(out, &stoppable{ctx, in})
	}
	return errors.Join(err, out.Close())
}

// checkRoom sees that all files fit: a full disk may be the database's own.
func (c *copying) checkRoom() error {
	var s unix.Statfs_t
	if err := unix.Statfs(c.to, &s); err != nil {
		return err
	}
	if free := int64(s.Bavail) * s.Bsize; free < c.bytes+spare {
		return fmt.Errorf("%w: %d bytes are free, %d needed", ErrNoRoom, free, c.bytes+spare)
	}
	return nil
}

// stoppable is a reader that ends with its context.
type stoppable struct {
	ctx context.Context
	r   io.Reader
}

func (s *stoppable) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.r.Read(p)
}
