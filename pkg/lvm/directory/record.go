package directory

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const (
	baseFile   = "berth-directory.json"
	volumeFile = "volume.json"
	dataDir    = "data"
	// newPrefix begins the name of a volume that is not whole yet: no data of a user
	// is in it.
	newPrefix = ".new-"
	// schema is the version of both files.
	schema = 1
)

// base marks the base directory.
type base struct {
	Schema int      `json:"schema"`
	UUID   string   `json:"uuid"`
	Seqno  int      `json:"seqno"`
	Tags   []string `json:"tags,omitempty"`
}

// record says what a volume is, as LVM's metadata does.
type record struct {
	Schema int      `json:"schema"`
	UUID   string   `json:"uuid"`
	Size   int64    `json:"size"`
	Data   identity `json:"data"`
	Tags   []string `json:"tags"`
}

// identity tells a directory from all others that were or will be on its file
// system: an inode's number is used again, with another time of birth.
type identity struct {
	Inode uint64 `json:"inode"`
	Born  int64  `json:"born"` // nanoseconds since 1970
}

// identify reads a directory's identity. It does not follow a link.
func identify(path string) (identity, error) {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BASIC_STATS|unix.STATX_BTIME, &st); err != nil {
		return identity{}, &os.PathError{Op: "statx", Path: path, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return identity{}, fmt.Errorf("%s is not a directory", path)
	}
	if st.Mask&unix.STATX_BTIME == 0 {
		return identity{}, fmt.Errorf("the file system of %s does not keep when a directory was made, so that one cannot be told from another: use ext4, xfs or btrfs", path)
	}
	return identity{Inode: st.Ino, Born: st.Btime.Sec*1e9 + int64(st.Btime.Nsec)}, nil
}

// read reads one of the files. Text of another schema, or none, is an error and
// never an empty file.
func read(path string, into any) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var head struct{ Schema int }
	if err := json.Unmarshal(raw, &head); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	if head.Schema != schema {
		return fmt.Errorf("read %s: schema %d, this program knows schema %d: run the version of Berth that wrote it", path, head.Schema, schema)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}

// write replaces a file in one step, and returns when that will outlast a power cut.
func write(path string, v any) error {
	raw, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	next := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".next")
	f, err := os.OpenFile(next, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = f.Write(append(raw, '\n'))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(next, path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return sync(filepath.Dir(path))
}

// sync has the names in a directory outlast a power cut.
func sync(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	return nil
}

// newUUID returns a random UUID in LVM's form: links, names of PersistentVolumes and
// node labels are made from it.
func newUUID() string {
	const letters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	raw := make([]byte, 0, 38)
	for i := range 32 {
		if i >= 6 && (i-6)%4 == 0 && i <= 26 {
			raw = append(raw, '-')
		}
		raw = append(raw, letters[below(len(letters))])
	}
	return string(raw)
}

// below returns a random number below n, all equally likely, n at most 256.
func below(n int) int {
	var b [1]byte
	for {
		_, _ = rand.Read(b[:]) // it never fails (crypto/rand)
		if int(b[0]) < 256-256%n {
			return int(b[0]) % n
		}
	}
}
