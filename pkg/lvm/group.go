package lvm

import "fmt"

// Group is one volume group that lvm knows nothing of: volumes of another kind,
// which are made, changed and retired as those of lvm are. Every change counts its
// sequence number up, and is either done or not, also when the power is cut.
type Group interface {
	// Read returns the group with its volumes, its Dir set; ErrNotFound says that there is none.
	Read() (VG, error)
	// Create makes a volume of size bytes with its tags. ErrExists and ErrNoSpace say
	// that none was made.
	Create(name string, size int64, tags []string) error
	// Change changes a volume, which is compared by its UUID first.
	Change(lv LV, c Change) error
	// ChangeTags takes tags off the group itself and puts others on.
	ChangeTags(off, on []string) error
	// Idle returns nil when nobody has the volume in use, and ErrInUse, or why it
	// cannot be told, otherwise.
	Idle(lv LV) error
	// Remove removes a volume with its content. It may be repeated after a crash.
	Remove(lv LV) error
}

// Change says what becomes of a volume; what is not set stays.
type Change struct {
	// Off and On are tags; one that is among both stays on.
	Off, On []string
	Name    string
	// Size in bytes; it only grows.
	Size int64
}

// Beside adds a group to lvm's own.
func Beside(g Group) Option { return func(s *System) { s.group = g } }

// WithoutLVM leaves lvm out: there is only the group beside it.
func WithoutLVM() Option { return func(s *System) { s.without = true } }

// aside does in the group beside lvm what System.change does in one of lvm's.
func (s *System) aside(vg VG, site string, do func(Group) error) error {
	if err := s.guard(); err != nil {
		return fmt.Errorf("%s: %w", site, err)
	}
	if s.group == nil {
		return fmt.Errorf("%s: %s is not served here: %w", site, vg.Dir, ErrNotFound)
	}
	if err := do(s.group); err != nil {
		return fmt.Errorf("%s: %w", site, err)
	}
	return nil
}
