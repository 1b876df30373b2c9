package provisioner

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/klog/v2"

	"github.com/berth-dev/berth/pkg/lvm"
	"github.com/berth-dev/berth/pkg/volume"
)

const (
	// mostHomes and mostHomeBytes bound what one volume group's tags hold of the
	// homes of others. Metadata areas are of 1 MiB unless somebody chose otherwise,
	// and lvm keeps two versions in one.
	mostHomes     = 512
	mostHomeBytes = 64 << 10
	// homesInterval is the least time between two changes of a group's homes: many
	// volumes that are made at once cost few changes.
	homesInterval = 10 * time.Second
)

// tagsOfHomes reads the homes on a volume group, by tag. What cannot be read is
// another version's, and stays.
func tagsOfHomes(vg lvm.VG) map[string]volume.Home {
	found := map[string]volume.Home{}
	for _, tag := range vg.Tags {
		if text, is := strings.CutPrefix(tag, volume.HomeTag); is {
			if h, err := volume.ParseHome(text); err == nil {
				found[tag] = h
			}
		}
	}
	return found
}

// Homes are what a volume group's tags hold of volumes elsewhere, in order.
func Homes(vg lvm.VG) []volume.Home {
	return slices.SortedFunc(maps.Values(tagsOfHomes(vg)), func(x, y volume.Home) int { return strings.Compare(x.String(), y.String()) })
}

// keepHomes brings the homes on the tags of the volume groups in line with the
// volumes that the API shows, and returns those that only the tags know of. A
// home is forgotten when its own group has reported without it, never because the
// API does not show it.
func (a *Agent) keepHomes(ctx context.Context, node *corev1.Node, vgs []lvm.VG) ([]volume.Home, error) {
	shown := a.homesShown()
	reported, err := a.groupsReported()
	if err != nil {
		return nil, err
	}
	life := "" // asked for when a home is about to be forgotten
	lifeNow := func() (string, error) {
		if life == "" {
			life, err = a.apiServer(ctx)
		}
		return life, err
	}
	missing := map[volume.Home]bool{}
	for _, vg := range vgs {
		have := tagsOfHomes(vg)
		want := map[string]volume.Home{} // by claim
		for _, h := range have {
			key := h.Namespace + "/" + h.Claim
			current, known := shown[key]
			if known && current.Generation >= h.Generation || h.VGUUID == vg.UUID {
				continue
			}
			if r, has := reported[h.VGUUID]; has && r.seqno >= h.Seqno {
				now, err := lifeNow()
				if err != nil {
					return nil, err
				}
				if r.life == now {
					continue // it has reported, and no such volume
				}
			}
			missing[h] = true
			if old, twice := want[key]; !twice || old.Generation < h.Generation {
				want[key] = h
			}
		}
		for key, h := range shown {
			if _, known := want[key]; !known && h.VGUUID != vg.UUID {
				want[key] = h
			}
		}
		a.record(ctx, node, vg, have, want)
	}
	return slices.SortedFunc(maps.Keys(missing), func(x, y volume.Home) int { return strings.Compare(x.String(), y.String()) }), nil
}

// homesShown are the homes of all volumes of ours that the API shows, by claim.
func (a *Agent) homesShown() map[string]volume.Home {
	found := map[string]volume.Home{}
	for _, obj := range a.pvs.List() {
		pv, ok := obj.(*corev1.PersistentVolume)
		if !ok || pv.Spec.ClaimRef == nil || pv.Annotations[annProvisionedBy] != volume.Provisioner {
			continue
		}
		v, err := volume.FromAnnotations(pv.Annotations)
		if err != nil {
			continue // its own agent speaks of it
		}
		v.Tags.Namespace, v.Tags.Claim = pv.Spec.ClaimRef.Namespace, pv.Spec.ClaimRef.Name
		key := v.Tags.Namespace + "/" + v.Tags.Claim
		if old, twice := found[key]; !twice || old.Generation < v.Tags.Generation {
			found[key] = volume.HomeOf(v)
		}
	}
	return found
}

// groupReport is what the API shows of a volume group's reports: the sequence number
// of the oldest, and the API server to which all were made; "" is several.
type groupReport struct {
	seqno int
	life  string
}

// groupsReported are the volume groups that some node has published, as far as was
// seen: it may be of a former API server's life.
func (a *Agent) groupsReported() (map[string]groupReport, error) {
	all, err := a.capacities.CSIStorageCapacities(volume.SystemNamespace).List(labels.Everything())
	if err != nil {
		return nil, fmt.Errorf("list capacity: %w", err)
	}
	reported := map[string]groupReport{}
	for _, c := range all {
		vg := c.Annotations[volume.AnnotationVGUUID]
		seqno, err := strconv.Atoi(c.Annotations[volume.AnnotationVGSeqno])
		if err != nil {
			continue
		}
		r := groupReport{seqno, c.Annotations[volume.AnnotationAPIServer]}
		if old, twice := reported[vg]; twice {
			r.seqno = min(r.seqno, old.seqno)
			if r.life != old.life {
				r.life = ""
			}
		}
		reported[vg] = r
	}
	return reported, nil
}

// record writes what a volume group should hold, within its bounds. That it does
// not get done is said, and keeps nothing else from being done.
func (a *Agent) record(ctx context.Context, node *corev1.Node, vg lvm.VG, have, want map[string]volume.Home) {
	tags, left := bound(slices.Collect(maps.Values(want)))
	if left > 0 {
		a.notices.say(node, vg.UUID, homesIncomplete(vg.Name, a.node, fmt.Sprintf("%d are more than fit", left)))
	}
	var off, on []string
	for tag := range have {
		if !slices.Contains(tags, tag) {
			off = append(off, tag)
		}
	}
	for _, tag := range tags {
		if _, there := have[tag]; !there {
			on = append(on, tag)
		}
	}
	last, written := a.recorded[vg.UUID]
	if len(off)+len(on) == 0 || vg.MissingPVs > 0 || written && a.clock.Since(last) < homesInterval {
		return
	}
	if len(on) > 0 && vg.MetadataFree < 4*lvm.MetadataReserve {
		a.notices.say(node, vg.UUID, homesIncomplete(vg.Name, a.node, fmt.Sprintf("%d bytes of metadata room are kept for volumes", vg.MetadataFree)))
		return
	}
	a.recorded[vg.UUID] = a.clock.Now()
	slices.Sort(off)
	if err := a.lvm.SwapGroupTags(ctx, vg, off, on); err != nil && ctx.Err() == nil {
		a.notices.say(node, vg.UUID, homesIncomplete(vg.Name, a.node, err.Error()))
		return
	}
	klog.FromContext(ctx).V(2).Info("Recorded homes on a volume group", "vg", vg.Name, "more", len(on), "fewer", len(off))
}

// bound picks the tags that fit. Of each cluster the lowest ordinal comes first:
// one member tells that its siblings exist.
func bound(homes []volume.Home) (tags []string, left int) {
	slices.SortFunc(homes, func(x, y volume.Home) int { return strings.Compare(x.String(), y.String()) })
	first := map[string]int{}
	for i, h := range homes {
		key := h.Namespace + "/" + h.Member.StatefulSet
		if h.Member.IsZero() {
			key += h.Claim
		}
		if k, known := first[key]; !known || h.Member.Ordinal < homes[k].Member.Ordinal {
			first[key] = i
		}
	}
	leads := slices.Sorted(maps.Values(first))
	order := slices.Clone(leads)
	for i := range homes {
		if _, is := slices.BinarySearch(leads, i); !is {
			order = append(order, i)
		}
	}
	bytes := 0
	for _, i := range order {
		tag := volume.HomeTag + homes[i].String()
		if len(tags) == mostHomes || bytes+len(tag) > mostHomeBytes {
			left++
			continue
		}
		tags, bytes = append(tags, tag), bytes+len(tag)
	}
	return tags, left
}

// remember reads what the tags of this machine and the reports of others hold of
// volumes in groups that are not here.
func (a *Agent) remember(report *lvm.Report) error {
	found := map[string][]volume.Home{}
	here := map[string]bool{}
	for _, vg := range report.VGs {
		here[vg.UUID] = true
	}
	add := func(h volume.Home) {
		if key := h.Namespace + "/" + h.Claim; !here[h.VGUUID] {
			found[key] = append(found[key], h)
		}
	}
	for _, vg := range report.VGs {
		for _, h := range tagsOfHomes(vg) {
			add(h)
		}
	}
	reports, err := a.capacities.CSIStorageCapacities(volume.SystemNamespace).List(labels.Everything())
	if err != nil {
		return fmt.Errorf("list capacity: %w", err)
	}
	for _, c := range reports {
		for text := range strings.FieldsSeq(c.Annotations[volume.AnnotationHomes]) {
			if h, err := volume.ParseHome(text); err == nil {
				add(h)
			}
		}
	}
	a.remembered = found
	return nil
}
