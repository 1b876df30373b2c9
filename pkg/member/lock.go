package member

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Lock is the lock of a volume. It is an flock: the kernel drops it when the
// last process that has the file open ends, and the server inherits it, so that
// a second process can neither prepare nor start on the same volume.
type Lock struct {
	file *os.File
}

// TakeLock takes the lock and waits while another process has it; busy is called
// once before waiting.
func TakeLock(ctx context.Context, path string, busy func()) (*Lock, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o660)
	if err != nil {
		return nil, fmt.Errorf("open the volume's lock: %w", err)
	}
	fd := int(file.Fd())
	err = unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return &Lock{file: file}, nil
	}
	if !errors.Is(err, unix.EWOULDBLOCK) {
		file.Close()
		return nil, fmt.Errorf("lock the volume: %w", err)
	}
	busy()
	// The wait cannot be interrupted; when the context ends first, the process ends.
	locked := make(chan error, 1)
	go func() {
		for {
			err := unix.Flock(fd, unix.LOCK_EX)
			if !errors.Is(err, unix.EINTR) {
				locked <- err
				return
			}
		}
	}()
	select {
	case <-ctx.Done():
		return nil, fmt.Errorf("lock the volume: another process holds it: %w", ctx.Err())
	case err := <-locked:
		if err != nil {
			return nil, fmt.Errorf("lock the volume: %w", err)
		}
		return &Lock{file: file}, nil
	}
}

// Bequeath lets the program that replaces this process inherit the lock.
func (l *Lock) Bequeath() error {
	if _, err := unix.FcntlInt(l.file.Fd(), unix.F_SETFD, 0); err != nil {
		return fmt.Errorf("hand the volume's lock on: %w", err)
	}
	return nil
}

// Release gives the lock back.
func (l *Lock) Release() error { return l.file.Close() }
