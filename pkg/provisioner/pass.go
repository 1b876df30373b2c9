package provisioner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/berth-dev/berth/pkg/lvm"
	"github.com/berth-dev/berth/pkg/volume"
)

// facts is what a pass decides from.
type facts struct {
	node    *corev1.Node
	report  *lvm.Report
	volumes []Volume
	// served are the classes of ours whose volume group is here, once.
	served map[string]served
}

type served struct {
	class class
	vg    lvm.VG
}

// Pass looks at the node once and brings the API in line with its disks: label,
// devices and links, PVs, and at last capacity, which tells the scheduler that
// everything before it has been published. A pass that finds nothing to do is
// one lvm command and no API write.
func (a *Agent) Pass(ctx context.Context) error {
	end, err := a.begin()
	if err == nil {
		a.test(ctx)
		a.began = a.clock.Now()
		if err = a.pass(ctx); errors.Is(err, errNotVouched) {
			err = a.pass(ctx)
		}
		end()
	}
	a.metrics.passed(err)
	a.lastPass.Store(&passResult{err})
	return err
}

func (a *Agent) pass(ctx context.Context) error {
	fresh, unsure := a.vouch(ctx)
	f, err := a.gather(ctx)
	if err != nil {
		return err
	}
	defer a.notices.endPass()
	a.sayUnsafe(f.node)
	vgs := f.relevant()
	a.metrics.observe(vgs, f.volumes)
	a.sayUnhealthy(f.node, vgs, f.volumes)
	if err := a.label(ctx, f.node, vgs); err != nil {
		return err
	}
	if err := a.askAgain(f.volumes); err != nil {
		return err
	}
	// While one volume that may be a claim's data is not on the API, free space
	// of its volume group is not published either: the scheduler would take the
	// claim for a new one (invariant I3).
	a.ahead = a.probeAhead(ctx, f.volumes)
	defer func() { a.ahead = nil }()
	answers, err := a.settleAll(ctx, f.volumes)
	if err != nil {
		return err
	}
	hidden := sets.New[string]()
	var problems []error
	if unsure != nil {
		problems = append(problems, unsure)
	}
	for i, v := range f.volumes {
		if r, ok := isReason(answers[i]); ok {
			about := v.LV.UUID
			if r.Code == CodeVGPartial {
				about = v.VG.UUID // sayUnhealthy has said it
			}
			a.notices.say(f.node, about, r)
			if pvs, err := a.pvsOf(v); err != nil || len(pvs) == 0 || r.Code == CodePVReservedElse {
				hidden.Insert(v.VG.UUID)
			}
			continue
		}
		if answers[i] != nil {
			problems = append(problems, answers[i])
		}
	}
	if err := a.withdrawLinks(f.volumes); err != nil {
		problems = append(problems, err)
	}
	missing, err := a.keepHomes(ctx, f.node, vgs)
	if err != nil {
		problems = append(problems, err)
	}
	if err := a.reportOrphans(f); err != nil {
		problems = append(problems, err)
	}
	if err := a.sayBypassed(); err != nil {
		problems = append(problems, err)
	}
	if err := a.freeStranded(ctx); err != nil {
		problems = append(problems, err)
	}
	if err := errors.Join(problems...); err != nil {
		return err // what is published of the capacity stays as it is
	}
	var want []*storagev1.CSIStorageCapacity
	for _, s := range f.served {
		if !hidden.Has(s.vg.UUID) {
			want = append(want, a.capacity(s.class, s.vg, missing))
		}
	}
	return a.publishCapacity(ctx, want, fresh)
}

// gather reads the node, the classes and the disks.
func (a *Agent) gather(ctx context.Context) (*facts, error) {
	node, err := a.nodes.Get(a.node)
	if err != nil {
		return nil, fmt.Errorf("read node %s: %w", a.node, err)
	}
	classes, err := a.classes.List(labels.Everything())
	if err != nil {
		return nil, fmt.Errorf("list StorageClasses: %w", err)
	}
	report, err := a.look(ctx)
	if err != nil {
		return nil, err
	}
	f := &facts{node: node, report: report, volumes: Survey(report), served: map[string]served{}}
	for _, sc := range classes {
		if sc.Provisioner != volume.Provisioner {
			continue
		}
		c, err := parseClass(sc)
		if r, ok := isReason(err); ok {
			a.notices.say(sc, "class "+sc.Name, r)
			continue
		}
		vg, err := a.groupOf(report, c)
		if r, ok := isReason(err); ok {
			a.notices.say(node, "class "+sc.Name, r)
		}
		if err == nil {
			f.served[c.Name] = served{c, vg}
		}
	}
	return f, nil
}

// groupOf finds the one volume group that a class names, by name or by tag.
func (a *Agent) groupOf(report *lvm.Report, c class) (lvm.VG, error) {
	found := report.VG(c.VolumeGroup)
	switch {
	case c.Dir:
		found = report.Directories()
	case c.VolumeGroup == "":
		found = report.Tagged(c.VolumeGroupTag)
	}
	switch len(found) {
	case 0:
		if c.Dir {
			return lvm.VG{}, dirMissing(a.node)
		}
		return lvm.VG{}, vgMissing(c.group(), a.node)
	case 1:
		return found[0], nil
	default:
		return lvm.VG{}, vgAmbiguous(c.group(), a.node, len(found))
	}
}

// relevant returns the volume groups that a class names or that hold volumes of
// Berth. Others are none of our business.
func (f *facts) relevant() []lvm.VG {
	uuids := sets.New[string]()
	for _, s := range f.served {
		uuids.Insert(s.vg.UUID)
	}
	for _, v := range f.volumes {
		uuids.Insert(v.VG.UUID)
	}
	var vgs []lvm.VG
	for _, vg := range f.report.VGs {
		if uuids.Has(vg.UUID) {
			vgs = append(vgs, vg)
		}
	}
	return vgs
}

// label marks the node as the holder of its volume groups. A label is never
// taken off: the absence of a volume group may be a cable.
func (a *Agent) label(ctx context.Context, node *corev1.Node, vgs []lvm.VG) error {
	missing := map[string]string{}
	for _, vg := range vgs {
		a.groups.Store(vg.UUID, true)
		if key := volume.NodeLabel(vg.UUID); node.Labels[key] != "true" {
			missing[key] = "true"
		}
	}
	if len(missing) == 0 {
		return nil
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": missing}})
	if err != nil {
		return fmt.Errorf("label node: %w", err)
	}
	if _, err := a.client.CoreV1().Nodes().Patch(ctx, a.node, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		return fmt.Errorf("label node %s: %w", a.node, err)
	}
	return nil
}
