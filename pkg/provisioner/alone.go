package provisioner

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// ErrAtWork says that another process of Berth works on this machine's disks. It
// ends by itself: whoever meets it comes again.
var ErrAtWork = errors.New("another agent or command is at work on this machine's disks, which ends by itself")

// begin keeps every other agent of this machine out for the length of an act, in
// this process and in others: what is decided from a report must still be true
// when it is done. Without it two agents, as in a rolling update, may both find a
// new volume empty, and the slower one makes its file system over the other's.
// Other processes stay out until the last act of this one that is in hand, see aside,
// or waits for its turn, has ended.
func (a *Agent) begin() (end func(), err error) {
	a.acts.Add(1)
	a.mu.Lock()
	if a.unlock == nil {
		unlock, err := a.links.Lock()
		if err != nil {
			a.acts.Add(-1)
			a.mu.Unlock()
			return nil, err
		}
		a.unlock = unlock
	}
	return func() {
		if a.acts.Add(-1) == 0 {
			a.shared = nil
			a.unlock()
			a.unlock = nil
		}
		a.mu.Unlock()
	}, nil
}

// Lock takes the lock of the link directory, which all agents of the machine
// share, and the commands that change its volumes. The kernel gives it back when
// its holder ends, however that is. It does not wait: the error is ErrAtWork then.
func (l Links) Lock() (unlock func(), err error) {
	if err := os.MkdirAll(l.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("make link directory: %w", err)
	}
	f, err := os.OpenFile(l.Path(".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock of the link directory: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", f.Name(), ErrAtWork)
		}
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return func() { f.Close() }, nil
}
