package innodb

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// lockedFiles are those on which a running server holds a lock.
var lockedFiles = []string{"ibdata1", "aria_log_control"}

// inUse asks whether another process holds a server's locks. Asking takes none,
// so that a server that starts meanwhile is not stopped.
func inUse(dir string) bool {
	for _, name := range lockedFiles {
		f, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			continue
		}
		// A read lock would conflict with the server's write lock only, and a file
		// opened for reading can be asked for nothing else.
		lock := unix.Flock_t{Type: unix.F_RDLCK}
		err = unix.FcntlFlock(f.Fd(), unix.F_GETLK, &lock)
		f.Close()
		if err == nil && lock.Type != unix.F_UNLCK {
			return true
		}
	}
	return false
}
