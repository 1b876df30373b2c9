package provisioner

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v10/controller"

	"github.com/berth-dev/berth/pkg/lvm"
	"github.com/berth-dev/berth/pkg/lvm/lvmtest"
	"github.com/berth-dev/berth/pkg/volume"
)

// slow is a Runner whose first mkfs stops until it is let go.
type slow struct {
	lvm.Runner
	stopped     *atomic.Bool
	begun, goOn chan struct{}
}

func (s slow) Run(ctx context.Context, site, name string, args ...string) ([]byte, error) {
	if site == "mkfs" && s.stopped.CompareAndSwap(false, true) {
		close(s.begun)
		select {
		case <-s.goOn:
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", lvm.ErrUnknown, ctx.Err())
		}
	}
	return s.Runner.Run(ctx, site, name, args...)
}

// asking has a claim served beside others; its answer comes when that has ended.
func (f *fixture) asking(ctx context.Context, claim *corev1.PersistentVolumeClaim) chan error {
	f.t.Helper()
	class, err := f.client.StorageV1().StorageClasses().Get(f.t.Context(), *claim.Spec.StorageClassName, metav1.GetOptions{})
	if err != nil {
		f.t.Fatal(err)
	}
	answer := make(chan error, 1)
	go func() {
		_, _, err := f.agent.Provision(ctx, controller.ProvisionOptions{StorageClass: class, PVC: claim})
		answer <- err
	}()
	return answer
}

// inMkfs is a node on which the file system of data-galera-0 is being made, until
// goOn is called.
func inMkfs(t *testing.T) (f *fixture, goOn func() error) {
	t.Helper()
	f = newFixture(t)
	s := slow{f.calls, &atomic.Bool{}, make(chan struct{}), make(chan struct{})}
	f.start(s)
	f.agent.making.rooms = make(chan struct{}, 4)
	claim := f.claim("data-galera-0", "10Mi")
	f.sync()
	answer := f.asking(t.Context(), claim)
	<-s.begun
	return f, func() error { close(s.goOn); return <-answer }
}

func states(f *fixture) string {
	var all []string
	for _, lv := range f.disk.Volumes() {
		tags, err := volume.DecodeTags(lv.Tags)
		if err != nil {
			f.t.Fatal(err)
		}
		all = append(all, fmt.Sprintf("%s %s %d", tags.Claim, tags.State, lv.Formats))
	}
	return strings.Join(all, ", ")
}

// While a file system is made, other claims are served and passes made, and the volume
// is nobody's but that act's.
func TestOthersAreServedMeanwhile(t *testing.T) {
	f, goOn := inMkfs(t)
	f.pass()
	if len(f.pvs()) != 0 || len(f.capacities()) != 1 || len(f.said()) != 0 {
		t.Errorf("a pass made %d PVs and %d capacities, and said something", len(f.pvs()), len(f.capacities()))
	}
	if _, err := f.provision(f.claim("scratch", "10Mi")); err != nil {
		t.Error(err)
	}
	if got, want := states(f), "data-galera-0 creating 0, scratch ready 1"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if err := goOn(); err != nil {
		t.Fatal(err)
	}
	f.pass()
	if got, want := states(f), "data-galera-0 ready 1, scratch ready 1"; got != want || len(f.pvs()) != 2 {
		t.Errorf("%s and %d PVs, want %s", got, len(f.pvs()), want)
	}
}

// A claim that is deleted and made again while its volume is made waits for that act.
func TestClaimMadeAgainMeanwhile(t *testing.T) {
	f, goOn := inMkfs(t)
	if err := f.client.CoreV1().PersistentVolumeClaims("db").Delete(t.Context(), "data-galera-0", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	again := f.claim("data-galera-0", "10Mi")
	if state, err := f.provision(again); err == nil || state != controller.ProvisioningFinished || !strings.Contains(err.Error(), "for an earlier claim of this name") {
		t.Errorf("state %s, error %v", state, err)
	}
	if err := goOn(); err != nil {
		t.Fatal(err)
	}
	if _, err := f.provision(again); err != nil {
		t.Error(err)
	}
	if got, want := states(f), "data-galera-0 ready 1"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// I4: of two members whose volumes are asked for at once the second is decided when
// the first one is ready.
func TestSiblingMeanwhile(t *testing.T) {
	f, goOn := inMkfs(t)
	sibling := f.claim("data-galera-1", "10Mi")
	if state, err := f.provision(sibling); err == nil || state != controller.ProvisioningFinished || !strings.Contains(err.Error(), "looked at again") {
		t.Errorf("state %s, error %v", state, err)
	}
	if err := goOn(); err != nil {
		t.Fatal(err)
	}
	state, err := f.provision(sibling)
	if r, is := isReason(err); !is || r.Code != CodeSiblingHere || state != controller.ProvisioningReschedule {
		t.Errorf("state %s, error %v", state, err)
	}
	if got, want := states(f), "data-galera-0 ready 1"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// What has become of the volume, its group and its claim meanwhile is looked at before
// it becomes ready.
func TestWhatHappensMeanwhile(t *testing.T) {
	for name, c := range map[string]struct {
		do    func(f *fixture)
		state string
		parts []string
	}{
		"the volume is removed": {func(f *fixture) { f.disk.Drop(f.oneLV()) }, "", []string{"is not served"}},
		"another one is in its place": {func(f *fixture) {
			old := f.oneLV()
			f.disk.Drop(old)
			tags, err := volume.DecodeTags(old.Tags)
			if err != nil {
				f.t.Fatal(err)
			}
			tags.FSUUID = "other"
			again := *old
			again.Tags, again.Active = tags.Encode(), true
			f.disk.Add("berth", again)
		}, "data-galera-0 creating 1", []string{"other", "looked at again"}},
		"a disk goes": {func(f *fixture) { f.disk.LosePV("berth", 1) }, "data-galera-0 creating 1", []string{"physical volumes are missing"}},
		"the API shows the claim's volume elsewhere": {func(f *fixture) {
			pv := f.agent.persistentVolume(Volume{VG: lvm.VG{UUID: "elsewhere"}, LV: lvm.LV{UUID: "other"}, Tags: volume.Tags{Namespace: "db", Claim: "data-galera-0", Generation: 5, State: volume.Ready, Class: "berth"}})
			if _, err := f.client.CoreV1().PersistentVolumes().Create(f.t.Context(), pv, metav1.CreateOptions{}); err != nil {
				f.t.Fatal(err)
			}
			f.sync()
		}, "data-galera-0 creating 1", []string{"other"}},
	} {
		t.Run(name, func(t *testing.T) {
			f, goOn := inMkfs(t)
			c.do(f)
			err := goOn()
			if err == nil {
				t.Fatal("it was served all the same")
			}
			for _, part := range c.parts {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not say %q", err, part)
				}
			}
			if got := states(f); got != c.state {
				t.Errorf("%q, want %q", got, c.state)
			}
		})
	}
}

// Another agent of the machine stays out until the last claim is served.
func TestOtherAgentsStayOutMeanwhile(t *testing.T) {
	f, goOn := inMkfs(t)
	if _, err := f.links.Lock(); !errors.Is(err, ErrAtWork) {
		t.Errorf("locked by another process: %v", err)
	}
	if _, err := f.provision(f.claim("scratch", "10Mi")); err != nil {
		t.Error(err)
	}
	if _, err := f.links.Lock(); !errors.Is(err, ErrAtWork) {
		t.Errorf("locked by another process after one of two claims: %v", err)
	}
	if err := goOn(); err != nil {
		t.Fatal(err)
	}
	unlock, err := f.links.Lock()
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}

// Many claims at once each get one volume, with one file system, and share reports.
func TestManyClaimsAtOnce(t *testing.T) {
	f := newFixture(t)
	var claims []*corev1.PersistentVolumeClaim
	for i := range 20 {
		claims = append(claims, f.claim(fmt.Sprintf("scratch-%d", i), "10Mi"))
	}
	f.pass()
	f.calls.Take()
	f.agent.mu.Lock() // until all are asked for
	var answers []chan error
	for _, claim := range claims {
		answers = append(answers, f.asking(t.Context(), claim))
	}
	for f.agent.acts.Load() < int64(len(claims)) {
		runtime.Gosched()
	}
	f.agent.mu.Unlock()
	for i, answer := range answers {
		if err := <-answer; err != nil {
			t.Errorf("claim %d: %v", i, err)
		}
	}
	reports := 0
	for _, call := range f.calls.Take() {
		if strings.HasPrefix(call, "report:") {
			reports++
		}
	}
	if reports < 2 || reports > len(claims)+1 {
		t.Errorf("%d reports for %d claims, want one each, and one more at the most", reports, len(claims))
	}
	for _, lv := range f.disk.Volumes() {
		if tags, err := volume.DecodeTags(lv.Tags); err != nil || tags.State != volume.Ready || lv.Formats != 1 {
			t.Errorf("%+v, %v", lv, err)
		}
	}
	if n := len(f.disk.Volumes()); n != len(claims) || len(f.disk.Violations()) > 0 {
		t.Errorf("%d volumes; %v", n, f.disk.Violations())
	}
	// When the last one is served nothing keeps other agents out, and no report is true any more.
	f.mustProvision("late")
	if calls := f.calls.Take(); !strings.HasPrefix(calls[0], "report:") {
		t.Errorf("the first call for a later claim is %s", calls[0])
	}
}

// While another claim is in hand a report serves for two seconds, with what was done
// since, and until something else is done.
func TestSharedReport(t *testing.T) {
	f, goOn := inMkfs(t)
	clock := f.agent.clock.(*clocktesting.FakeClock)
	first := func(name string) string {
		t.Helper()
		f.calls.Take()
		if _, err := f.provision(f.claim(name, "4Mi")); err != nil {
			t.Fatal(err)
		}
		site, _, _ := strings.Cut(f.calls.Take()[0], ":")
		return site
	}
	for _, c := range []struct {
		name, want string
		before     func()
	}{
		{"after the first", "create", func() {}},
		{"two seconds later", "report", func() { clock.Step(sharedFor) }},
		{"again", "create", func() {}},
		{"after a change", "report", func() {
			vg := f.agent.shared.report.VGs[0]
			if err := f.agent.lvm.SwapGroupTags(t.Context(), vg, nil, []string{"other"}); err != nil {
				t.Fatal(err)
			}
		}},
		{"after a pass", "create", f.pass},
	} {
		c.before()
		if got := first(strings.ReplaceAll(c.name, " ", "-")); got != c.want {
			t.Errorf("%s: the first command is %s, want %s", c.name, got, c.want)
		}
	}
	shared := f.agent.shared.report.VGs[0]
	report, err := f.agent.lvm.Report(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	real := report.VGs[0]
	if shared.Free != real.Free || shared.MetadataFree > real.MetadataFree {
		t.Errorf("shared: %d and %d bytes free, on the disk %d and %d", shared.Free, shared.MetadataFree, real.Free, real.MetadataFree)
	}
	ready := func(vg lvm.VG) (n int) {
		for _, v := range Survey(&lvm.Report{VGs: []lvm.VG{vg}}) {
			if v.Tags.State == volume.Ready {
				n++
			}
		}
		return n
	}
	if ready(shared) != 5 || ready(real) != 5 {
		t.Errorf("%d volumes ready in the shared report, %d on the disk, want 5", ready(shared), ready(real))
	}
	if err := goOn(); err != nil {
		t.Fatal(err)
	}
	if f.agent.shared != nil {
		t.Error("a report is shared with nobody")
	}
}

// I5: what was promised of a thin pool is in no shared report, and lvm would promise more.
func TestThinPoolIsNotSharedOut(t *testing.T) {
	f, goOn := inMkfs(t)
	f.disk.Add("berth", lvmtest.Volume{Name: "pool", ThinPool: true, Extents: 5})
	sc := storageClass("thin", "berth")
	sc.Parameters[paramType] = string(lvm.Thin)
	if _, err := f.client.StorageV1().StorageClasses().Create(t.Context(), sc, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	f.pass() // sees the pool
	thin := func(name string) error {
		claim := f.claim(name, "10Mi")
		claim.Spec.StorageClassName = &sc.Name
		_, err := f.provision(claim)
		return err
	}
	if err := thin("first"); err != nil {
		t.Fatal(err)
	}
	if r, is := isReason(thin("second")); !is || r.Code != CodeNoSpace {
		t.Errorf("a second volume of 12 MiB in a pool of 20 MiB: %v", r)
	}
	if err := goOn(); err != nil {
		t.Fatal(err)
	}
}
