package lvm

import (
	"context"
	"fmt"
	"strings"
	"sync"
)

// System is the LVM of this machine. Commands that change a volume group run
// one at a time; other processes are kept out by the lock directory that lvm
// shares with them.
type System struct {
	runner Runner
	// metadataOnly leaves the kernel out of it, see MetadataOnly.
	metadataOnly bool
	guard        func() error
	waiting      func(vg string) (locked func())
	writers      sync.Map // a lock for each name of a volume group
	group        Group    // beside those of lvm, or nil
	without      bool     // lvm is left out
}

// Option changes how a System uses lvm.
type Option func(*System)

// MetadataOnly lets lvm work on metadata without device-mapper: volumes are
// real, and can be reported, but are never active. For machines without
// device-mapper, where Berth can take stock but not serve.
func MetadataOnly() Option { return func(s *System) { s.metadataOnly = true } }

// Guarded asks before each change of metadata whether it may be made. Activating
// a volume changes none: what is there is served all the same.
func Guarded(guard func() error) Option { return func(s *System) { s.guard = guard } }

// Waiting is told when a change begins to wait for its volume group, and calls
// what it returns when its turn has come.
func Waiting(begin func(vg string) (locked func())) Option {
	return func(s *System) { s.waiting = begin }
}

// New returns the LVM that the runner reaches.
func New(runner Runner, options ...Option) *System {
	s := &System{runner: runner, guard: func() error { return nil }, waiting: func(string) func() { return func() {} }}
	for _, option := range options {
		option(s)
	}
	return s
}

// Create makes a logical volume of size bytes, as returned by the layout's Round,
// with its tags in the same transaction: no volume is ever there without them.
// Old signatures are wiped, so that a probe tells our file system from a
// former owner's. An error other than ErrUnknown says that no volume was made,
// as far as lvm knows; callers look it up by tag all the same.
func (s *System) Create(ctx context.Context, vg VG, name string, size int64, layout Layout, tags []string) error {
	if size <= 0 || size != layout.Round(vg, size) {
		return fmt.Errorf("create: %d bytes is not a multiple of the extent size %d on each stripe", size, vg.ExtentSize)
	}
	if vg.Dir != "" {
		return s.aside(vg, "create", func(g Group) error { return g.Create(name, size, tags) })
	}
	args := []string{"lvcreate", "-y"}
	if layout.Type != RAID1 && layout.Type != Thin {
		// The system must not activate our volumes by itself at boot: the agent
		// does, when it has checked who they are. lvcreate takes the option for
		// no other type (2.03.16); those come up early and are checked all the same.
		args = append(args, "--setautoactivation", "n")
	}
	switch {
	case layout.Type == Thin:
		// What a thin volume has not written reads as zeros.
	case s.metadataOnly:
		args = append(args, "-W", "n", "-Z", "n")
	default:
		args = append(args, "-W", "y", "-Z", "y")
	}
	if s.metadataOnly {
		args = append(args, "-an")
	}
	args = append(append(args, layout.args(vg, size)...), "-n", name)
	for _, tag := range tags {
		args = append(args, "--addtag", tag)
	}
	return s.change(ctx, vg, "create", append(args, vg.Name)...)
}

// DevicePath is where the device-mapper node of an active volume is. Dashes in
// names are doubled (libdm, dm_build_dm_name).
func DevicePath(vg, lv string) string {
	double := func(name string) string { return strings.ReplaceAll(name, "-", "--") }
	return "/dev/mapper/" + double(vg) + "-" + double(lv)
}

// Activate makes the volume's device appear.
func (s *System) Activate(ctx context.Context, vg VG, lv LV) error {
	if vg.Dir != "" {
		return lv.Err // it is there, or is not what was made
	}
	if s.metadataOnly {
		return fmt.Errorf("activate %s: not possible without device-mapper", lv.Name)
	}
	return s.alone(ctx, vg, "activate", "lvchange", "-y", "-a", "y", vg.Name+"/"+lv.Name)
}

// SwapTag takes one tag off and puts another on in a single transaction.
// Repeating it is harmless.
func (s *System) SwapTag(ctx context.Context, vg VG, lv LV, off, on string) error {
	return s.SwapTags(ctx, vg, lv, []string{off}, []string{on})
}

// change runs a command that writes to a volume group, once that is allowed. While
// disks are missing it is not: lvm would change tags and remove volumes, and call
// the disks missing even when they are back, until somebody runs vgextend
// --restoremissing (2.03.16).
func (s *System) change(ctx context.Context, vg VG, site string, args ...string) error {
	if err := s.guard(); err != nil {
		return fmt.Errorf("%s: %w", site, err)
	}
	if vg.MissingPVs > 0 {
		return fmt.Errorf("%s: %w in volume group %s", site, ErrPartial, vg.Name)
	}
	return s.alone(ctx, vg, site, args...)
}

// alone runs a command while no other one of this process works on the volume group.
func (s *System) alone(ctx context.Context, vg VG, site string, args ...string) error {
	lock, _ := s.writers.LoadOrStore(vg.Name, &sync.Mutex{})
	writer := lock.(*sync.Mutex)
	locked := s.waiting(vg.Name)
	writer.Lock()
	defer writer.Unlock()
	locked()
	_, err := s.lvm(ctx, site, args...)
	return err
}

func (s *System) lvm(ctx context.Context, site string, args ...string) ([]byte, error) {
	if s.metadataOnly {
		args = append([]string{args[0], "--driverloaded", "n"}, args[1:]...)
	}
	return s.runner.Run(ctx, site, "lvm", args...)
}
