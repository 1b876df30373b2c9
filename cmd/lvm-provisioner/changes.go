package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/berth-dev/berth/pkg/lvm"
	"github.com/berth-dev/berth/pkg/provisioner"
)

// links is where the machine's links are, and the lock of those who change volumes.
type links struct{ dir string }

// Flags declares the flag.
func (l *links) Flags(f *pflag.FlagSet) {
	f.StringVar(&l.dir, "link-dir", provisioner.DefaultLinkDir, "directory for the links, named by LV UUID, that PersistentVolumes point to; "+
		"on a file system that a boot empties, so that a link is only there for a volume verified since")
}

// Validate tells what is wrong with the flag.
func (l *links) Validate() error {
	if !filepath.IsAbs(l.dir) {
		return fmt.Errorf("--link-dir is %q: use an absolute path", l.dir)
	}
	return nil
}

// Links are the machine's.
func (l *links) Links() provisioner.Links { return provisioner.Links{Dir: l.dir} }

// changes is what the commands share that change this machine's volumes.
type changes struct {
	disks
	links
}

// Flags declares the flags.
func (c *changes) Flags(f *pflag.FlagSet) {
	c.disks.Flags(f)
	c.links.Flags(f)
}

// Validate tells what is wrong with the flags.
func (c *changes) Validate() error { return errors.Join(c.disks.Validate(), c.links.Validate()) }

// Writer is the machine's lvm for a command that changes volumes: it refuses
// where the agent would.
func (c *changes) Writer(ctx context.Context) *lvm.System {
	return c.System(lvm.Guarded(func() error {
		for _, f := range c.SelfTest().Private(ctx) {
			return fmt.Errorf("nothing is written: %s %s; %s", f.Subject, f.Problem, f.Fix)
		}
		return nil
	}))
}

// patience is how long a command waits for an agent: a pass that zeroes takes
// about ten seconds, one that has much to publish longer.
const patience = time.Minute

// alone does something while no agent of this machine works on its disks. It waits
// for one that does.
func (c *changes) alone(ctx context.Context, do func() error) error {
	var locked error
	err := wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, patience, true, func(context.Context) (bool, error) {
		var end func()
		if end, locked = c.Links().Lock(); errors.Is(locked, provisioner.ErrAtWork) {
			return false, nil
		}
		if locked != nil {
			return false, locked
		}
		defer end()
		return true, do()
	})
	if errors.Is(locked, provisioner.ErrAtWork) {
		return fmt.Errorf("nothing was changed, try again: %w", locked)
	}
	return err
}
