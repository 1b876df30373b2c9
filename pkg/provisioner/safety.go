package provisioner

import (
	"context"
	"errors"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"

	"github.com/berth-dev/berth/pkg/lvm"
)

// safety says whether the agent may write to its disks. It is asked by every
// command that would.
type safety struct {
	private func(context.Context) []lvm.Finding
	refusal atomic.Pointer[error]
}

var errUntested = errors.New("whether lvm shares its locks with this machine was not looked at yet")

// newSafety starts with nothing allowed. Without a test all is: for disks in memory.
func newSafety(private func(context.Context) []lvm.Finding) *safety {
	s := &safety{private: private}
	if private != nil {
		s.refusal.Store(&errUntested)
	}
	return s
}

// refuses returns why nothing may be written, or nil.
func (s *safety) refuses() error {
	if err := s.refusal.Load(); err != nil {
		return *err
	}
	return nil
}

// test looks again while nothing may be written: what was shared stays so for
// the life of a container, and an idle agent runs one command an interval.
func (a *Agent) test(ctx context.Context) {
	s := a.safety
	before := s.refuses()
	if before == nil {
		return
	}
	found := s.private(ctx)
	if ctx.Err() != nil {
		return
	}
	if len(found) > 0 {
		refusal := error(lvmNotShared(a.node, found))
		if before.Error() != refusal.Error() {
			klog.FromContext(ctx).Error(refusal, "Nothing is written to the disks of this node; what is there is served", "node", a.node)
		}
		s.refusal.Store(&refusal)
	} else {
		s.refusal.Store(nil)
		klog.FromContext(ctx).Info("lvm shares locks, archive and devices file with this machine: volumes are made and changed here", "node", a.node)
	}
	a.metrics.refusing(s.refuses() != nil)
}

// sayUnsafe makes the refusal an event on the node for as long as it lasts.
func (a *Agent) sayUnsafe(node *corev1.Node) {
	if r, ok := isReason(a.safety.refuses()); ok {
		a.notices.say(node, "lvm", r)
	}
}
