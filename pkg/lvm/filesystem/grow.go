package filesystem

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/berth-dev/berth/pkg/lvm"
)

// Grow makes the file system as large as its device, in use or not: it grows
// while mounted, and is mounted on dir for that time, beside any other mount it
// has. Growing a file system that fills its device changes nothing.
func Grow(ctx context.Context, run lvm.Runner, device, fsType, dir string) (err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("grow file system: %w", err)
	}
	// A former attempt may have ended with its mount in place.
	if _, err := run.Run(ctx, "grow", "umount", dir); err != nil && !notMounted(err) {
		return fmt.Errorf("grow file system on %s: %w", device, err)
	}
	if _, err := run.Run(ctx, "grow", "mount", "-t", fsType, device, dir); err != nil {
		return fmt.Errorf("grow file system on %s: %w", device, err)
	}
	defer func() {
		if _, undo := run.Run(context.WithoutCancel(ctx), "grow", "umount", dir); undo != nil {
			err = errors.Join(err, fmt.Errorf("grow file system on %s: %w", device, undo))
			return
		}
		if undo := os.Remove(dir); undo != nil && !errors.Is(undo, fs.ErrNotExist) {
			err = errors.Join(err, undo)
		}
	}()
	switch fsType {
	case "ext4":
		_, err = run.Run(ctx, "grow", "resize2fs", device)
	case "xfs":
		_, err = run.Run(ctx, "grow", "xfs_growfs", dir)
	default:
		err = fmt.Errorf("type %q is not one of %s", fsType, strings.Join(Types, ", "))
	}
	if err != nil {
		return fmt.Errorf("grow file system on %s: %w", device, err)
	}
	return nil
}

// notMounted reads what umount of util-linux says of a directory that is no mount.
func notMounted(err error) bool {
	var ended *lvm.Error
	return errors.As(err, &ended) && strings.Contains(ended.Stderr, "not mounted")
}
