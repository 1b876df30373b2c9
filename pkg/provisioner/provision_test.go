package provisioner

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v10/controller"

	"github.com/berth-dev/berth/pkg/lvm/lvmtest"
	"github.com/berth-dev/berth/pkg/volume"
)

func TestProvision(t *testing.T) {
	f := newFixture(t)
	f.mustProvision("data-galera-1")

	lv := f.oneLV()
	tags, err := volume.DecodeTags(lv.Tags)
	if err != nil {
		t.Fatal(err)
	}
	want := volume.Tags{
		Namespace: "db", Claim: "data-galera-1", Member: volume.Member{StatefulSet: "galera", Ordinal: 1, Replicas: 3},
		Class: "berth", FSType: "ext4", FSUUID: lv.FSUUID, State: volume.Ready, Generation: 1, APIServer: "api-100",
	}
	if diff := cmp.Diff(want, tags); diff != "" {
		t.Errorf("tags (-want +got)\n%s", diff)
	}
	if lv.FSType != "ext4" || lv.Formats != 1 || lv.Extents != 3 || lv.Name != volume.LVName("db", "data-galera-1") {
		t.Errorf("volume: %+v", lv)
	}

	pv := f.onePV()
	if got, want := pv.Spec.Capacity.Storage().Value(), int64(12<<20); got != want {
		t.Errorf("capacity %d, want the volume's own size %d", got, want)
	}
	if pv.Spec.Local == nil || pv.Spec.Local.Path != f.links.Path(lv.UUID) || *pv.Spec.Local.FSType != "ext4" {
		t.Errorf("source: %+v", pv.Spec.PersistentVolumeSource)
	}
	if !f.links.Points(lv.UUID, "/dev/mapper/berth-"+strings.ReplaceAll(lv.Name, "-", "--")) {
		t.Errorf("the link is not there")
	}
	term := pv.Spec.NodeAffinity.Required.NodeSelectorTerms[0].MatchExpressions[0]
	if term.Key != volume.NodeLabel(f.disk.VGUUID("berth")) || term.Operator != corev1.NodeSelectorOpIn {
		t.Errorf("affinity: %+v", term)
	}
	if pv.Spec.PersistentVolumeReclaimPolicy != corev1.PersistentVolumeReclaimRetain || pv.Name != volume.PVName(lv.UUID) {
		t.Errorf("PV %s with policy %s", pv.Name, pv.Spec.PersistentVolumeReclaimPolicy)
	}
	shown, err := volume.FromAnnotations(pv.Annotations)
	if err != nil || shown.LVUUID != lv.UUID || shown.Tags.Member != want.Member || shown.Tags.FSUUID != lv.FSUUID {
		t.Errorf("annotations: %+v, %v", shown, err)
	}
	node, err := f.client.CoreV1().Nodes().Get(t.Context(), nodeName, metav1.GetOptions{})
	if err != nil || node.Labels[term.Key] != "true" {
		t.Errorf("node labels %v, %v: no pod could use the volume", node.Labels, err)
	}
	f.pass()
	if got := f.onePV(); got.Annotations[volume.AnnotationVGSeqno] != f.capacities()[0].Annotations[volume.AnnotationVGSeqno] {
		t.Errorf("the free capacity does not say that it has this volume taken off")
	}
}

func TestProvisionOfNoStatefulSet(t *testing.T) {
	f := newFixture(t)
	f.mustProvision("scratch")
	tags, err := volume.DecodeTags(f.oneLV().Tags)
	if err != nil || !tags.Member.IsZero() {
		t.Errorf("member %v, %v", tags.Member, err)
	}
}

// A claim that is deleted and made again gets its volume, never a new one,
// whatever has become of the PV meanwhile.
func TestProvisionFindsTheVolume(t *testing.T) {
	for name, between := range map[string]func(f *fixture, old *corev1.PersistentVolumeClaim){
		"PV released": func(f *fixture, old *corev1.PersistentVolumeClaim) { f.release(old) },
		"PV reserved": func(f *fixture, old *corev1.PersistentVolumeClaim) { f.release(old); f.pass() },
		"PV gone": func(f *fixture, old *corev1.PersistentVolumeClaim) {
			f.release(old)
			if err := f.client.CoreV1().PersistentVolumes().Delete(t.Context(), f.onePV().Name, metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
		},
		"API wiped": func(f *fixture, _ *corev1.PersistentVolumeClaim) {
			f.wipeAPI()
			f.disk.PowerCycle()
			f.start(f.calls)
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			old := f.mustProvision("data-galera-0")
			before := *f.oneLV()
			f.oneLV().Data = true
			between(f, old)

			again := f.claim("data-galera-0", "10Mi")
			_, err := f.provision(again)
			var left *controller.IgnoredError
			if err != nil && !errors.As(err, &left) {
				t.Fatal(err)
			}
			lv := f.oneLV()
			if lv.UUID != before.UUID || lv.FSUUID != before.FSUUID || lv.Formats != 1 {
				t.Errorf("volume was %+v and is %+v", before, *lv)
			}
			ref := f.onePV().Spec.ClaimRef
			if ref.Name != again.Name || (ref.UID != "" && ref.UID != again.UID) {
				t.Errorf("the PV controller would not bind the PV to the claim: %+v", ref)
			}
			f.wantEvent("VolumeFound")
		})
	}
}

func TestProvisionRefuses(t *testing.T) {
	type refusal struct {
		setup func(f *fixture, claim *corev1.PersistentVolumeClaim)
		state controller.ProvisioningState
		parts []string
	}
	class := func(change func(p map[string]string)) func(*fixture, *corev1.PersistentVolumeClaim) {
		return func(f *fixture, _ *corev1.PersistentVolumeClaim) {
			sc := storageClass("berth", "berth")
			change(sc.Parameters)
			if _, err := f.client.StorageV1().StorageClasses().Update(t.Context(), sc, metav1.UpdateOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, c := range map[string]refusal{
		"no volumeGroup": {class(func(p map[string]string) { delete(p, paramVolumeGroup) }), controller.ProvisioningFinished,
			[]string{"parameter volumeGroup is missing", "name the LVM volume group"}},
		"unknown parameter": {class(func(p map[string]string) { p["colour"] = "red" }), controller.ProvisioningFinished,
			[]string{"parameter colour is not known", "remove it"}},
		"unknown file system": {class(func(p map[string]string) { p[paramFSType] = "btrfs" }), controller.ProvisioningFinished,
			[]string{`"btrfs"`, "ext4, xfs"}},
		"no such volume group": {class(func(p map[string]string) { p[paramVolumeGroup] = "fast" }), controller.ProvisioningReschedule,
			[]string{nodeName, `no volume group "fast"`, "vgcreate"}},
		"no space": {func(_ *fixture, claim *corev1.PersistentVolumeClaim) {
			claim.Spec.Resources.Requests[corev1.ResourceStorage] = resource.MustParse("1Gi")
		}, controller.ProvisioningReschedule, []string{"268435456 bytes free", "1073741824 are needed"}},
		"a disk missing": {func(f *fixture, _ *corev1.PersistentVolumeClaim) { f.disk.LosePV("berth", 1) }, controller.ProvisioningReschedule,
			[]string{"1 physical volumes", "bring the disks back"}},
		"another machine's disks": {func(f *fixture, _ *corev1.PersistentVolumeClaim) { f.disk.SetForeign("berth", "n7") }, controller.ProvisioningReschedule,
			[]string{nodeName, "system ID n7", "another machine's", `local/system_id="n7"' --systemid ID berth`}},
		"many writers": {func(_ *fixture, claim *corev1.PersistentVolumeClaim) {
			claim.Spec.AccessModes = []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany}
		}, controller.ProvisioningFinished, []string{"ReadWriteMany", "use ReadWriteOnce"}},
		"tags of another version": {func(f *fixture, claim *corev1.PersistentVolumeClaim) {
			f.disk.Add("berth", lvmtest.Volume{Name: volume.LVName(claim.Namespace, claim.Name), Extents: 1, Tags: []string{"berth.dev/schema=9"}})
		}, controller.ProvisioningFinished, []string{`schema "9"`, "left alone"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			claim := f.claim("data-galera-0", "10Mi")
			c.setup(f, claim)
			n := len(f.disk.Volumes())
			state, err := f.provision(claim)
			if err == nil || state != c.state {
				t.Fatalf("state %s, error %v; want %s and an error", state, err, c.state)
			}
			for _, part := range c.parts {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not say %q", err, part)
				}
			}
			if len(f.disk.Volumes()) != n || len(f.pvs()) != 0 {
				t.Errorf("something was made all the same")
			}
		})
	}
}

// What a retained volume cannot satisfy is refused, with the volume left as it is.
func TestProvisionLargerThanTheVolume(t *testing.T) {
	f := newFixture(t)
	f.release(f.mustProvision("data-galera-0"))
	_, err := f.provision(f.claim("data-galera-0", "4Gi"))
	if r, ok := isReason(err); !ok || r.Code != CodeVolumeTooSmall || !strings.Contains(r.Text, "ask for at most 268435456") {
		t.Errorf("got %v", err)
	}
	if f.oneLV().Formats != 1 {
		t.Error("the volume was formatted again")
	}
}

func TestOnlyTheSelectedNodeActs(t *testing.T) {
	f := newFixture(t)
	claim := f.claim("data-galera-0", "10Mi")
	if !f.agent.ShouldProvision(t.Context(), claim) {
		t.Error("the selected node does not act")
	}
	claim.Annotations[annSelectedNode] = "n2"
	if f.agent.ShouldProvision(t.Context(), claim) {
		t.Error("another node acts")
	}
}

// For every command of a provisioning that fails, before or after it had its
// effect, and with the agent losing its memory: trying again ends with one
// volume, one file system, one PV.
func TestProvisionConvergesAfterEveryFault(t *testing.T) {
	probe := &lvmtest.Faults{Next: lvmtest.NewDisk(64, "berth")}
	counted := newFixture(t)
	probe.Next = counted.disk
	counted.start(probe)
	counted.mustProvision("data-galera-0")
	total := probe.Calls()
	if total < 6 {
		t.Fatalf("only %d commands are run, so this test would show nothing", total)
	}
	for n := 1; n <= total; n++ {
		for _, commits := range []bool{false, true} {
			for _, restart := range []bool{false, true} {
				t.Run(fmt.Sprintf("%d-commits=%t-restart=%t", n, commits, restart), func(t *testing.T) {
					f := newFixture(t)
					f.start(&lvmtest.Faults{Next: f.disk, At: n, Commits: commits})
					claim := f.claim("data-galera-0", "10Mi")
					if _, err := f.provision(claim); err == nil {
						t.Fatal("the fault went unnoticed")
					}
					if restart {
						f.disk.PowerCycle()
						f.start(f.calls)
					}
					f.pass()
					_, err := f.provision(claim)
					var left *controller.IgnoredError
					if err != nil && !errors.As(err, &left) {
						t.Fatalf("again: %v", err)
					}
					lv := f.oneLV()
					if lv.Formats != 1 || !slices.Contains(lv.Tags, volume.StateTag(volume.Ready)) {
						t.Errorf("volume: %+v", lv)
					}
					if bad := f.disk.Violations(); len(bad) > 0 {
						t.Error(bad)
					}
					if ref := f.onePV().Spec.ClaimRef; ref.Name != claim.Name {
						t.Errorf("PV is reserved for %+v", ref)
					}
				})
			}
		}
	}
}

// A command that hangs holds the claim up until its deadline, and no longer.
func TestProvisionConvergesAfterEveryHang(t *testing.T) {
	for n := 1; n <= 6; n++ { // TestProvisionConvergesAfterEveryFault counts at least as many
		for _, commits := range []bool{false, true} {
			f := newFixture(t)
			hang := &lvmtest.Faults{Next: f.disk, At: n, Commits: commits, Hangs: true}
			f.start(hang)
			claim := f.claim("data-galera-0", "10Mi")
			class, err := f.client.StorageV1().StorageClasses().Get(t.Context(), "berth", metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() {
				for hang.Calls() < n && ctx.Err() == nil {
					time.Sleep(time.Millisecond)
				}
				time.Sleep(5 * time.Millisecond)
				cancel()
			}()
			if _, _, err := f.agent.Provision(ctx, controller.ProvisionOptions{StorageClass: class, PVC: claim}); err == nil {
				t.Fatalf("call %d: the hang went unnoticed", n)
			}
			f.pass()
			var left *controller.IgnoredError
			if _, err := f.provision(claim); err != nil && !errors.As(err, &left) {
				t.Fatalf("call %d, commits %t: again: %v", n, commits, err)
			}
			if lv := f.oneLV(); lv.Formats != 1 || len(f.disk.Violations()) > 0 || f.onePV().Spec.ClaimRef.Name != claim.Name {
				t.Errorf("call %d, commits %t: %+v, %v", n, commits, lv, f.disk.Violations())
			}
		}
	}
}

// A volume left in state creating is finished from what is on it, and from
// nothing else.
func TestProvisionContinuesCreating(t *testing.T) {
	const own = "11111111-2222-3333-4444-555555555555"
	for name, c := range map[string]struct {
		found   lvmtest.Volume
		refused string
		formats int
	}{
		"empty":            {lvmtest.Volume{}, "", 1},
		"own, complete":    {lvmtest.Volume{FSType: "ext4", FSUUID: own}, "", 0},
		"own, torn":        {lvmtest.Volume{FSType: "ext4", FSUUID: own, Incomplete: true}, "not complete", 0},
		"another's":        {lvmtest.Volume{FSType: "ext4", FSUUID: "other"}, "holds ext4 with UUID other", 0},
		"another type":     {lvmtest.Volume{FSType: "xfs", FSUUID: own}, "holds xfs", 0},
		"ambiguous":        {lvmtest.Volume{FSType: "ambiguous"}, "code 8", 0},
		"cannot be read":   {lvmtest.Volume{Unreadable: true}, "cannot be read", 0},
		"own, but with IO": {lvmtest.Volume{FSType: "ext4", FSUUID: own, Unreadable: true}, "cannot be read", 0},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			v := c.found
			v.Name, v.Extents = volume.LVName("db", "data-galera-0"), 3
			v.Tags = volume.Tags{
				Namespace: "db", Claim: "data-galera-0", Class: "berth", FSType: "ext4", FSUUID: own,
				State: volume.Creating, Generation: 1, APIServer: "api-1",
			}.Encode()
			f.disk.Add("berth", v)
			f.pass() // leaves it to the claim
			if n := len(f.pvs()); n != 0 {
				t.Fatalf("a volume in state creating was published")
			}
			_, err := f.provision(f.claim("data-galera-0", "10Mi"))
			if c.refused == "" && err != nil {
				t.Fatal(err)
			}
			if c.refused != "" && (err == nil || !strings.Contains(err.Error(), c.refused)) {
				t.Errorf("got %v, want a refusal with %q", err, c.refused)
			}
			lv := f.oneLV()
			if ready := slices.Contains(lv.Tags, volume.StateTag(volume.Ready)); ready != (c.refused == "") || lv.Formats != c.formats {
				t.Errorf("ready %t, formatted %d times", ready, lv.Formats)
			}
		})
	}
}

// The scheduler sent a member here by a report that is older than the disks: a
// sibling's are in the machine now.
func TestSiblingOnTheDisksThatCame(t *testing.T) {
	f := newFixture(t)
	f.mustProvision("data-galera-0")
	one := f.oneLV()
	claim := f.claim("data-galera-1", "10Mi")
	state, err := f.provision(claim)
	if r, ok := isReason(err); !ok || r.Code != CodeSiblingHere || state != controller.ProvisioningReschedule || f.oneLV() != one {
		t.Errorf("beside a sibling: %v, %s", err, state)
	}
	f.mustProvision("scratch") // of no StatefulSet

	// One that was begun elsewhere is not finished beside a sibling either.
	tags, err := volume.DecodeTags(one.Tags)
	if err != nil {
		t.Fatal(err)
	}
	tags.Claim, tags.Member.Ordinal, tags.State = "data-galera-1", 1, volume.Creating
	begun := f.disk.Add("berth", lvmtest.Volume{Name: volume.LVName("db", "data-galera-1"), Extents: 3, Tags: tags.Encode()})
	if _, err := f.provision(claim); err == nil || begun.Formats != 0 {
		t.Errorf("finished beside a sibling: %v, %+v", err, begun)
	}

	// What was put aside is nobody's: its place is free.
	f.retag(one, "berth.dev/state=", string(volume.Superseded))
	if _, err := f.provision(claim); err != nil || begun.Formats != 1 {
		t.Errorf("beside a sibling's volume that was put aside: %v, %+v", err, begun)
	}
}
