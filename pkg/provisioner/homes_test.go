package provisioner

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v10/controller"

	"github.com/berth-dev/berth/pkg/lvm"
	"github.com/berth-dev/berth/pkg/lvm/lvmtest"
	"github.com/berth-dev/berth/pkg/volume"
)

// member shows the PV of a member that lives on another node.
func (f *fixture) member(ordinal, generation int, vg string) {
	f.t.Helper()
	claim := fmt.Sprintf("data-galera-%d", ordinal)
	pv := f.agent.persistentVolume(Volume{
		VG: lvm.VG{UUID: vg, Name: "berth", Seqno: 5}, LV: lvm.LV{UUID: fmt.Sprintf("LV-%s-%d", vg, generation), Name: claim, Size: 3 * lvmtest.ExtentSize},
		Tags: volume.Tags{Namespace: "db", Claim: claim, Member: volume.Member{StatefulSet: "galera", Ordinal: ordinal, Replicas: 3}, Class: "berth",
			FSType: "ext4", FSUUID: "fs", State: volume.Ready, Generation: generation, APIServer: "api-100"},
	})
	pv.UID = types.UID(pv.Name)
	if _, err := f.client.CoreV1().PersistentVolumes().Create(f.t.Context(), pv, metav1.CreateOptions{}); err != nil {
		f.t.Fatal(err)
	}
}

// report shows the capacity that another node publishes to this API server.
func (f *fixture) report(node, vg string, seqno int) {
	f.t.Helper()
	life, err := f.agent.apiServer(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	f.reportTo(life, node, vg, seqno)
}

func (f *fixture) reportTo(life, node, vg string, seqno int) {
	f.t.Helper()
	c := &storagev1.CSIStorageCapacity{ObjectMeta: metav1.ObjectMeta{Namespace: volume.SystemNamespace, Name: "of-" + node, Annotations: map[string]string{
		volume.AnnotationNode: node, volume.AnnotationVGUUID: vg, volume.AnnotationVGSeqno: fmt.Sprint(seqno), volume.AnnotationAPIServer: life,
	}}, StorageClassName: "berth"}
	if _, err := f.client.StorageV1().CSIStorageCapacities(volume.SystemNamespace).Create(f.t.Context(), c, metav1.CreateOptions{}); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) forgetReport(node string) {
	f.t.Helper()
	if err := f.client.StorageV1().CSIStorageCapacities(volume.SystemNamespace).Delete(f.t.Context(), "of-"+node, metav1.DeleteOptions{}); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) homes() []string {
	var texts []string
	for _, tag := range f.disk.Tags("berth") {
		if text, is := strings.CutPrefix(tag, volume.HomeTag); is {
			texts = append(texts, text)
		}
	}
	slices.Sort(texts)
	return texts
}

// missing is what this node's report says that the API does not show.
func (f *fixture) missing() string {
	f.t.Helper()
	for _, c := range f.capacities() {
		if c.Annotations[volume.AnnotationNode] == nodeName {
			return c.Annotations[volume.AnnotationHomes]
		}
	}
	f.t.Fatal("no capacity of this node")
	return ""
}

// A node with none of the cluster's volumes knows where they are, keeps that when
// the API's memory is lost, says it, and stops when their own nodes have spoken.
func TestHomesOutliveTheAPI(t *testing.T) {
	f := newFixture(t)
	f.disk.SetTags("berth", "owner=us", volume.HomeTag+"of-another-version")
	f.member(0, 1, "VG-a")
	f.member(1, 2, "VG-b")
	f.pass()
	want := []string{"db/data-galera-0:galera:0:3:1:5:VG-a:api-100", "db/data-galera-1:galera:1:3:2:5:VG-b:api-100", "of-another-version"}
	if got := f.homes(); !slices.Equal(got, want) {
		t.Fatalf("homes on the disk:\n%q\nwant\n%q", got, want)
	}
	if got := f.missing(); got != "" {
		t.Errorf("said although the API shows all: %s", got)
	}
	f.pass()
	f.calls.Take()
	f.writes()
	f.pass()
	if calls := f.calls.Take(); len(calls) != 1 || len(f.writes()) != 0 {
		t.Errorf("an idle pass ran %q", calls)
	}

	f.wipeAPI()
	f.start(f.calls)
	f.pass()
	f.pass()
	if got := f.homes(); !slices.Equal(got, want) {
		t.Errorf("homes on the disk after the API's memory was lost: %q", got)
	}
	if got := f.missing(); got != strings.Join(want[:2], " ") {
		t.Errorf("the report says %q", got)
	}

	// What is still seen of the former API server's reports proves nothing.
	f.reportTo("api-100", "n2", "VG-b", 9)
	f.elapse(time.Minute)
	f.pass()
	if got := f.missing(); got != strings.Join(want[:2], " ") || !slices.Equal(f.homes(), want) {
		t.Errorf("a report to another API server disproved it: %q, on the disk %q", got, f.homes())
	}
	f.forgetReport("n2")

	// One comes home; of the other its group reports, newer than its volume.
	f.member(0, 1, "VG-a")
	f.report("n2", "VG-b", 4)
	f.elapse(time.Minute)
	f.pass()
	if got := f.missing(); got != want[1] {
		t.Errorf("a report older than the volume disproved it: %q", got)
	}
	f.forgetReport("n2")
	f.report("n2", "VG-b", 6)
	f.elapse(time.Minute)
	f.pass()
	f.pass()
	if got := f.missing(); got != "" {
		t.Errorf("still missing: %q", got)
	}
	if got := f.homes(); !slices.Equal(got, []string{want[0], want[2]}) {
		t.Errorf("homes on the disk: %q", got)
	}
	if tags := f.disk.Tags("berth"); !slices.Contains(tags, "owner=us") {
		t.Errorf("tags of others are gone: %q", tags)
	}
}

// The generation that only other disks remember fences a volume that returns.
func TestHomesOutrank(t *testing.T) {
	f := newFixture(t)
	f.disk.SetTags("berth", volume.HomeTag+"db/data-galera-0:galera:0:3:2:5:VG-b:api-100")
	low := f.add("low", 1)
	f.pass()
	if stateOfLV(low) != volume.Superseded || len(f.pvs()) != 0 {
		t.Errorf("state %s, %d PVs", stateOfLV(low), len(f.pvs()))
	}
	f.wantEvent(CodeSuperseded, "VG-b", "generation 2")
	f.adopt(low.UUID) // a person knows better
	f.pass()
	if pv := f.onePV(); pv.Annotations[volume.AnnotationGeneration] != "3" {
		t.Errorf("%v", pv.Annotations)
	}
	f.kept(low)
}

// No blank volume is made while disks remember one elsewhere that has not reported,
// whoever sent the claim here (random sequences, seed 927).
func TestHomesHoldTheAgentBack(t *testing.T) {
	f := newFixture(t)
	f.disk.SetTags("berth", volume.HomeTag+"db/data-galera-0:galera:0:3:1:5:VG-b:api-old")
	claim := f.claim("data-galera-0", "10Mi")
	refused := func(why string) {
		t.Helper()
		state, err := f.provision(claim)
		if err == nil || !strings.Contains(err.Error(), "VG-b") || state != controller.ProvisioningReschedule || len(f.disk.Volumes()) != 0 {
			t.Fatalf("%s: %v, %v, %d volumes", why, err, state, len(f.disk.Volumes()))
		}
	}
	refused("it has not reported")
	f.reportTo("api-old", "n2", "VG-b", 9)
	refused("it has reported to another API server")
	f.forgetReport("n2")
	f.report("n2", "VG-b", 4)
	refused("its report is older than the volume")
	f.forgetReport("n2")
	f.report("n2", "VG-b", 6)
	if _, err := f.provision(claim); err != nil {
		t.Errorf("it has reported without the volume: %v", err)
	}

	g := newFixture(t)
	g.disk.SetTags("berth", volume.HomeTag+"db/data-galera-0:galera:0:3:1:5:VG-b:api-old")
	claim = g.claim("data-galera-0", "10Mi")
	claim.Annotations[volume.AnnotationAbandoned] = "1"
	if _, err := g.client.CoreV1().PersistentVolumeClaims("db").Update(t.Context(), claim, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := g.provision(claim); err != nil {
		t.Errorf("it was given up: %v", err)
	}
}

// The tags never crowd out volumes, and one member a cluster comes first.
func TestHomesAreBounded(t *testing.T) {
	var homes []volume.Home
	for set := range 400 {
		for ordinal := range 3 {
			homes = append(homes, volume.Home{Namespace: "db", Claim: fmt.Sprintf("data-c%d-%d", set, ordinal),
				Member: volume.Member{StatefulSet: fmt.Sprintf("c%d", set), Ordinal: ordinal, Replicas: 3}, Generation: 1, VGUUID: "VG", APIServer: "api"})
		}
	}
	tags, left := bound(homes)
	bytes, sets := 0, map[string]bool{}
	for _, tag := range tags {
		h, err := volume.ParseHome(strings.TrimPrefix(tag, volume.HomeTag))
		if err != nil {
			t.Fatal(err)
		}
		bytes, sets[h.Member.StatefulSet] = bytes+len(tag), true
	}
	if len(tags) != mostHomes || left != len(homes)-mostHomes || bytes > mostHomeBytes || len(sets) != 400 {
		t.Errorf("%d tags of %d bytes for %d clusters, %d left", len(tags), bytes, len(sets), left)
	}

	f := newFixture(t)
	f.disk.SetMetadataFree("berth", 3*lvm.MetadataReserve)
	f.member(0, 1, "VG-a")
	f.pass()
	f.wantEvent(CodeHomesIncomplete, "metadata room")
	if len(f.homes()) != 0 {
		t.Error("written where room is short")
	}
}

// A group's tags are real lvm's to take: the longest home, and many at once.
func TestHomesOnRealLVM(t *testing.T) {
	run := lvmtest.LoopGroup(t, "berth", "64M")
	system := lvm.New(run, lvm.MetadataOnly())
	report, err := system.Report(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	long := func(n int) string { return strings.Repeat("a", n) }
	var on []string
	for i := range mostHomes {
		on = append(on, volume.HomeTag+volume.Home{Namespace: "db", Claim: fmt.Sprintf("data-galera-%d", i), Generation: 1, VGUUID: report.VGs[0].UUID, APIServer: long(36)}.String())
	}
	on = append(on, volume.HomeTag+volume.Home{Namespace: long(63), Claim: long(253), Member: volume.Member{StatefulSet: long(253), Ordinal: 1 << 30, Replicas: 1 << 30},
		Generation: 1 << 30, Seqno: 1 << 30, VGUUID: report.VGs[0].UUID, APIServer: long(36)}.String())
	if err := system.SwapGroupTags(t.Context(), report.VGs[0], nil, on); err != nil {
		t.Fatal(err)
	}
	if report, err = system.Report(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := tagsOfHomes(report.VGs[0]); len(got) != len(on) {
		t.Errorf("%d homes are read back, %d were written", len(got), len(on))
	}
	t.Logf("%d bytes of metadata room are left of %d", report.VGs[0].MetadataFree, report.VGs[0].MetadataSize)
	if err := system.SwapGroupTags(t.Context(), report.VGs[0], on[1:], nil); err != nil {
		t.Fatal(err)
	}
	if report, err = system.Report(t.Context()); err != nil || len(tagsOfHomes(report.VGs[0])) != 1 {
		t.Errorf("%d homes are left, %v", len(tagsOfHomes(report.VGs[0])), err)
	}
}
