package provisioner

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/berth-dev/berth/pkg/lvm"
	"github.com/berth-dev/berth/pkg/lvm/directory"
	"github.com/berth-dev/berth/pkg/volume"
)

// dirFixture is a node without lvm, whose volumes are real directories.
type dirFixture struct {
	*fixture
	base    string
	mounted []string // what the machine has mounted of any volume
}

func newDirFixture(t *testing.T) *dirFixture {
	t.Helper()
	f := &dirFixture{fixture: newFixture(t), base: filepath.Join(t.TempDir(), "base")}
	group := directory.New(f.base, func(string) ([]string, error) { return f.mounted, nil })
	if err := errors.Join(os.Mkdir(f.base, 0o755), group.Make()); err != nil {
		t.Fatal(err)
	}
	f.storage = []lvm.Option{lvm.Beside(group), lvm.WithoutLVM()}
	f.boot()
	return f
}

// boot starts the agent anew, with no link left; of the API what is there stays.
func (f *dirFixture) boot() {
	f.t.Helper()
	if err := os.RemoveAll(f.links.Dir); err != nil {
		f.t.Fatal(err)
	}
	f.start(f.calls)
	f.setClass(map[string]string{"volumeGroup": "", "backend": "dir"})
	f.calls.Take()
}

func (f *dirFixture) system() *lvm.System { return lvm.New(f.calls, f.storage...) }

// through is a file in the volume as a pod sees it, by its PV's path.
func (f *dirFixture) through(pv corev1.PersistentVolume, file string) string {
	return filepath.Join(pv.Spec.Local.Path, file)
}

func (f *dirFixture) directories() []string {
	f.t.Helper()
	all, err := filepath.Glob(filepath.Join(f.base, "*-*", "data"))
	if err != nil {
		f.t.Fatal(err)
	}
	return all
}

// A claim gets a directory, keeps it when the API has lost everything, and gets it
// back with its content, larger when it asks for more. No program is run.
func TestDirectoryComesHome(t *testing.T) {
	f := newDirFixture(t)
	f.pass()
	before := f.capacities()[0]
	f.mustProvision("data-galera-0")
	pv := f.onePV()
	if pv.Spec.Local.FSType != nil || *pv.Spec.VolumeMode != corev1.PersistentVolumeFilesystem || pv.Spec.Capacity.Storage().Value() != 12<<20 {
		t.Errorf("PV %+v", pv.Spec)
	}
	if err := os.WriteFile(f.through(pv, "rows"), []byte("of a user"), 0o600); err != nil {
		t.Fatal(err)
	}
	f.pass()
	after := f.capacities()[0]
	if after.Annotations[volume.AnnotationVGSeqno] == before.Annotations[volume.AnnotationVGSeqno] || after.Capacity.Value() <= 0 {
		t.Errorf("capacity before %v %v, after %v %v", before.Capacity, before.Annotations, after.Capacity, after.Annotations)
	}

	f.wipeAPI()
	f.boot()
	f.pass()
	again := f.onePV()
	if ref := again.Spec.ClaimRef; again.Name != pv.Name || ref.Name != "data-galera-0" || ref.UID != "" {
		t.Errorf("published again as %s for %+v, was %s", again.Name, ref, pv.Name)
	}
	if raw, err := os.ReadFile(f.through(again, "rows")); err != nil || string(raw) != "of a user" {
		t.Errorf("content %q, %v", raw, err)
	}
	if _, err := f.provision(f.claim("data-galera-0", "30Mi")); err == nil || !strings.Contains(err.Error(), "is reserved for the claim") {
		t.Errorf("a claim that comes to it: %v", err)
	}
	again = f.onePV()
	if size := again.Spec.Capacity.Storage(); size.Cmp(resource.MustParse("32Mi")) != 0 {
		t.Errorf("grown to %s", size)
	}
	f.mustProvision("scratch")
	if all := f.directories(); len(all) != 2 || len(f.pvs()) != 2 {
		t.Errorf("two claims have %q", all)
	}
	if calls := f.calls.Take(); len(calls) != 0 {
		t.Errorf("programs were run: %q", calls)
	}
}

// What is not surely the claim's own is neither given to it nor replaced, and the
// node offers no room meanwhile.
func TestDirectoryInDoubt(t *testing.T) {
	for name, c := range map[string]struct {
		damage func(volumeDir string) error
		code   string
	}{
		"a blank directory in its place": {func(dir string) error {
			return errors.Join(os.Rename(filepath.Join(dir, "data"), filepath.Join(dir, "old")), os.Mkdir(filepath.Join(dir, "data"), 0o755))
		}, CodeNotAvailable},
		"its data is gone":         {func(dir string) error { return os.Remove(filepath.Join(dir, "data")) }, CodeNotAvailable},
		"the record is gone":       {func(dir string) error { return os.Remove(filepath.Join(dir, "volume.json")) }, CodeTagsUnreadable},
		"the record is cut off":    {func(dir string) error { return os.Truncate(filepath.Join(dir, "volume.json"), 20) }, CodeTagsUnreadable},
		"a copy on the same disks": {func(dir string) error { return os.CopyFS(filepath.Dir(dir)+"/berth-copy", os.DirFS(dir)) }, CodeVolumeAmbiguous},
	} {
		t.Run(name, func(t *testing.T) {
			f := newDirFixture(t)
			f.mustProvision("data-galera-0")
			dir := filepath.Dir(f.directories()[0])
			f.wipeAPI()
			if err := c.damage(dir); err != nil {
				t.Fatal(err)
			}
			before := f.directories()
			f.boot()
			f.pass()
			if said := strings.Join(f.said(), "\n"); !strings.Contains(said, c.code) {
				t.Errorf("no event %s in %q", c.code, said)
			}
			if n := len(f.capacities()); n != 0 {
				t.Errorf("%d nodes offer room", n)
			}
			if _, err := f.provision(f.claim("data-galera-0", "10Mi")); err == nil {
				t.Error("the claim got a volume")
			}
			if after := f.directories(); len(after) != len(before) {
				t.Errorf("directories %q, were %q", after, before)
			}
			if links, _ := filepath.Glob(f.links.Dir + "/[0-9A-Za-z]*"); len(links) != 0 {
				t.Errorf("links lead to it: %q", links)
			}
		})
	}
}

// A base directory whose file system is not mounted is no place for a volume.
func TestDirectoryNotMounted(t *testing.T) {
	f := newDirFixture(t)
	f.mustProvision("data-galera-0")
	f.wipeAPI()
	if err := errors.Join(os.Rename(f.base, f.base+".away"), os.Mkdir(f.base, 0o755)); err != nil {
		t.Fatal(err)
	}
	f.boot()
	f.pass()
	f.wantEvent(CodeVGMissing, "no base directory", "mount its file system", "--directory")
	if _, err := f.provision(f.claim("data-galera-0", "10Mi")); err == nil || !strings.Contains(err.Error(), "no base directory") {
		t.Errorf("provision: %v", err)
	}
	if n := len(f.directories()) + len(f.pvs()) + len(f.capacities()); n != 0 {
		t.Errorf("%d directories, PVs and reports", n)
	}
	if err := errors.Join(os.Remove(f.base), os.Rename(f.base+".away", f.base)); err != nil {
		t.Fatal(err)
	}
	f.pass()
	if pv := f.onePV(); pv.Spec.ClaimRef.Name != "data-galera-0" || len(f.capacities()) != 1 {
		t.Errorf("mounted again: %+v", pv.Spec.ClaimRef)
	}
}

// Deleted, a directory is kept, comes back, and is removed when its time is over;
// never while it is mounted.
func TestDirectoryTrash(t *testing.T) {
	f := newDirFixture(t)
	claim := f.mustProvision("data-galera-0")
	pv := f.onePV()
	if err := os.WriteFile(f.through(pv, "rows"), []byte("of a user"), 0o600); err != nil {
		t.Fatal(err)
	}
	deletable := func() corev1.PersistentVolume {
		pv := f.onePV()
		pv.UID = "uid-of-" + claim.UID
		pv.Spec.PersistentVolumeReclaimPolicy = corev1.PersistentVolumeReclaimDelete
		f.update(&pv)
		f.release(claim)
		return f.onePV()
	}
	pv = deletable()
	f.mounted = []string{"/var/lib/kubelet/pods/u"}
	if err := f.deleted(pv); err == nil || !strings.Contains(err.Error(), "is mounted (/var/lib/kubelet/pods/u)") {
		t.Errorf("deleted while mounted: %v", err)
	}
	f.mounted = nil
	if err := f.deleted(pv); err != nil {
		t.Fatal(err)
	}
	if all := f.directories(); len(all) != 1 || !strings.Contains(all[0], "/trash-") {
		t.Fatalf("in the trash: %q", all)
	}
	if _, err := Undelete(t.Context(), f.system(), f.client, "db/data-galera-0"); err != nil {
		t.Fatal(err)
	}
	f.pass()
	pv = f.onePV()
	if raw, err := os.ReadFile(f.through(pv, "rows")); err != nil || string(raw) != "of a user" {
		t.Errorf("had back: %q, %v", raw, err)
	}

	claim = f.claim("data-galera-0", "10Mi")
	pv.Spec.ClaimRef.UID = claim.UID
	f.update(&pv)
	if err := f.deleted(deletable()); err != nil {
		t.Fatal(err)
	}
	f.elapse(8 * 24 * time.Hour)
	f.mounted = []string{"/mnt"}
	f.pass()
	f.sync()
	if err := f.agent.Pass(t.Context()); err == nil || len(f.directories()) != 1 {
		t.Errorf("removed while mounted: %v, %q", err, f.directories())
	}
	f.mounted = nil
	f.pass()
	if entries, err := os.ReadDir(f.base); err != nil || len(entries) != 1 {
		t.Errorf("left %v, %v", entries, err)
	}
}

// Each parameter that contradicts a directory is refused by its name.
func TestDirectoryClassRefuses(t *testing.T) {
	for key, value := range map[string]string{
		"volumeGroup": "berth", "volumeGroupTag": "nvme", "type": "raid1", "stripes": "2", "fsType": "xfs", "mkfsOptions": "-K", "wipe": "zero",
	} {
		sc := storageClass("dirs", "")
		sc.Parameters = map[string]string{"backend": "dir", key: value}
		_, err := parseClass(sc)
		if r, ok := isReason(err); !ok || r.Code != CodeClassInvalid || !strings.Contains(r.Text, "parameter "+key+" contradicts backend dir") || strings.Count(r.Text, "parameter") != 1 {
			t.Errorf("%s: %v", key, err)
		}
	}
	sc := storageClass("dirs", "")
	sc.Parameters, sc.MountOptions = map[string]string{"backend": "dir"}, []string{"noatime"}
	if _, err := parseClass(sc); err == nil || !strings.Contains(err.Error(), "mountOptions contradict parameter backend dir") {
		t.Errorf("mountOptions: %v", err)
	}
	f := newDirFixture(t)
	claim := f.claim("raw", "10Mi")
	claim.Spec.VolumeMode = ptr.To(corev1.PersistentVolumeBlock)
	if _, err := f.provision(claim); err == nil || !strings.Contains(err.Error(), "volumeMode Block of a StorageClass with backend dir is not supported") {
		t.Errorf("a raw volume: %v", err)
	}
	if _, err := f.client.CoreV1().PersistentVolumeClaims("db").Get(t.Context(), "raw", metav1.GetOptions{}); err != nil || len(f.directories()) != 0 {
		t.Errorf("%v, %q", err, f.directories())
	}
}
