package provisioner

import (
	"context"
	"time"

	"k8s.io/klog/v2"

	"github.com/berth-dev/berth/pkg/lvm"
)

// watchAgain is how long after a watch has ended, or could not begin, another one
// is tried: a machine gets the directory with its first volume group.
const watchAgain = time.Minute

// watchGroups has somebody else's change of a volume group seen at once, a vgextend
// by hand or what dmeventd does. It only wakes: what is true is what the look then
// finds, and the look at each interval finds it without a watch, too. Many changes
// are one pass, as with every other cause (settleTime).
func (a *Agent) watchGroups(ctx context.Context) {
	for a.watch != nil {
		err := a.watch(ctx, a.noticed)
		if ctx.Err() != nil {
			return
		}
		klog.FromContext(ctx).V(2).Info("What others change in volume groups is seen at the next interval only", "why", err, "interval", a.interval)
		select {
		case <-ctx.Done():
			return
		case <-a.clock.After(watchAgain):
		}
	}
}

// noticed wakes the agent unless its last report has this change, or it is one that the
// agent has made for a claim since. It waits for work in hand, for the agent's own
// changes are noticed, too, and a pass at that moment would be before the claim's
// PersistentVolume is saved.
func (a *Agent) noticed(vg string, seqno int) {
	a.mu.Lock()
	reported := a.seqnos[vg]
	a.mu.Unlock()
	if seqno == 0 || seqno > reported {
		a.Wake()
	}
}

func seqnosOf(report *lvm.Report) map[string]int {
	seqnos := map[string]int{}
	for _, vg := range report.VGs {
		seqnos[vg.Name] = vg.Seqno
	}
	return seqnos
}
