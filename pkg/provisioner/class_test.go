package provisioner

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/berth-dev/berth/pkg/lvm"
	"github.com/berth-dev/berth/pkg/lvm/filesystem"
	"github.com/berth-dev/berth/pkg/lvm/lvmtest"
	"github.com/berth-dev/berth/pkg/volume"
)

func TestParseClass(t *testing.T) {
	sc := storageClass("fast", "")
	sc.Parameters = map[string]string{
		"backend": "lvm", "volumeGroupTag": "nvme", "type": "striped", "stripes": "4", "fsType": "xfs", "mkfsOptions": "-i size=512 -K", "wipe": "discard",
	}
	got, err := parseClass(sc)
	want := class{
		Name: "fast", VolumeGroupTag: "nvme", Layout: lvm.Layout{Type: lvm.Striped, Stripes: 4}, FSType: "xfs",
		MkfsOptions: []string{"-i", "size=512", "-K"}, Wipe: "discard",
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
}

// Each refusal names the parameter that is to be changed.
func TestParseClassRefuses(t *testing.T) {
	for name, c := range map[string]struct{ key, value, want string }{
		"backend":           {"backend", "zfs", `parameter backend is "zfs"`},
		"backend dir":       {"backend", "dir", "parameter volumeGroup contradicts backend dir: remove it"},
		"both selectors":    {"volumeGroupTag", "nvme", "parameters volumeGroup and volumeGroupTag contradict"},
		"type":              {"type", "raid6", `parameter type is "raid6"`},
		"stripes of linear": {"stripes", "2", "parameter stripes is for type striped only"},
		"no stripes":        {"type", "striped", `parameter stripes is ""`},
		"fsType":            {"fsType", "zfs", `parameter fsType is "zfs"`},
		"UUID":              {"mkfsOptions", "-U random", "parameter mkfsOptions: option -U"},
		"UUID glued":        {"mkfsOptions", "-Urandom", "parameter mkfsOptions: option -Urandom"},
		"force":             {"mkfsOptions", "-F", "parameter mkfsOptions: option -F"},
		"device":            {"mkfsOptions", "-b 4096 /dev/sda", "parameter mkfsOptions"},
		"size":              {"mkfsOptions", "-E discard 1000", `"1000" is not an option`},
		"wipe":              {"wipe", "shred", `parameter wipe is "shred"`},
		"unknown":           {"colour", "red", "parameter colour is not known"},
	} {
		t.Run(name, func(t *testing.T) {
			sc := storageClass("berth", "berth")
			sc.Parameters[c.key] = c.value
			_, err := parseClass(sc)
			if r, ok := isReason(err); !ok || r.Code != CodeClassInvalid || !strings.Contains(r.Text, c.want) {
				t.Errorf("got %v, want a refusal with %q", err, c.want)
			}
		})
	}
}

func (f *fixture) setClass(parameters map[string]string, mountOptions ...string) {
	f.t.Helper()
	sc := storageClass("berth", "berth")
	for key, value := range parameters {
		if sc.Parameters[key] = value; value == "" {
			delete(sc.Parameters, key)
		}
	}
	sc.MountOptions = mountOptions
	if _, err := f.client.StorageV1().StorageClasses().Update(f.t.Context(), sc, metav1.UpdateOptions{}); err != nil {
		f.t.Fatal(err)
	}
	f.sync()
}

// What lvm is asked for, exactly, and what the capacity says before and after.
func TestLayouts(t *testing.T) {
	const mib = int64(1 << 20)
	for name, c := range map[string]struct {
		parameters    map[string]string
		want          string
		before, after int64
	}{
		"linear":  {nil, "lvcreate -y --setautoactivation n -W y -Z y -l 3 -n NAME", 256 * mib, 244 * mib},
		"by tag":  {map[string]string{"volumeGroup": "", "volumeGroupTag": "nvme"}, "lvcreate -y --setautoactivation n -W y -Z y -l 3 -n NAME", 256 * mib, 244 * mib},
		"striped": {map[string]string{"type": "striped", "stripes": "2"}, "lvcreate -y --setautoactivation n -W y -Z y --type striped --stripes 2 -l 4 -n NAME", 128 * mib, 128 * mib},
		"stripes": {map[string]string{"type": "striped", "stripes": "4"}, "lvcreate -y --setautoactivation n -W y -Z y --type striped --stripes 4 -l 4 -n NAME", 256 * mib, 240 * mib},
		"raid1":   {map[string]string{"type": "raid1"}, "lvcreate -y -W y -Z y --type raid1 --mirrors 1 -l 3 -n NAME", 60 * mib, 60 * mib},
		"thin":    {map[string]string{"type": "thin"}, "lvcreate -y --type thin --thinpool pool -V 12582912b -n NAME", 32 * mib, 20 * mib},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.disk.SetPVs("berth", 4)
			f.disk.SetTags("berth", "nvme")
			if name == "thin" {
				f.disk.Add("berth", lvmtest.Volume{Name: "pool", Extents: 8, ThinPool: true})
			}
			f.setClass(c.parameters)
			f.pass()
			if got := f.capacities()[0].Capacity.Value(); got != c.before {
				t.Errorf("capacity before: %d, want %d", got, c.before)
			}
			f.calls.Take()
			f.mustProvision("data-galera-0")
			command := strings.ReplaceAll(c.want, "NAME", volume.LVName("db", "data-galera-0"))
			if made := strings.Join(f.calls.Take(), "\n"); !strings.Contains(made, "create: lvm "+command+" --addtag") {
				t.Errorf("no %q in\n%s", command, made)
			}
			f.pass()
			if got := f.capacities()[0].Capacity.Value(); got != c.after {
				t.Errorf("capacity after: %d, want %d", got, c.after)
			}
		})
	}
}

// Fewer physical volumes than the layout needs, or no one thin pool, is no room.
func TestLayoutsThatDoNotFit(t *testing.T) {
	for name, parameters := range map[string]map[string]string{
		"striped": {"type": "striped", "stripes": "2"}, "raid1": {"type": "raid1"}, "thin": {"type": "thin"},
	} {
		f := newFixture(t)
		f.setClass(parameters)
		f.pass()
		if got := f.capacities()[0].Capacity.Value(); got != 0 {
			t.Errorf("%s: capacity %d, want 0", name, got)
		}
		_, err := f.provision(f.claim("data-galera-0", "10Mi"))
		if r, _ := isReason(err); r.Code != CodeNoSpace {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestMetadataRoom(t *testing.T) {
	f := newFixture(t)
	f.disk.SetMetadataFree("berth", lvm.MetadataReserve-1)
	f.pass()
	if got := f.capacities()[0].Capacity.Value(); got != 0 {
		t.Errorf("capacity %d with a full metadata area, want 0", got)
	}
	_, err := f.provision(f.claim("data-galera-0", "10Mi"))
	if r, _ := isReason(err); r.Code != CodeMetadataFull || len(f.disk.Volumes()) != 0 {
		t.Errorf("got %v, %d volumes", err, len(f.disk.Volumes()))
	}
}

func TestMountAndMkfsOptions(t *testing.T) {
	f := newFixture(t)
	f.setClass(map[string]string{"mkfsOptions": "-O ^has_journal"}, "noatime", "nobarrier")
	f.mustProvision("data-galera-0")
	if diff := cmp.Diff([]string{"noatime", "nobarrier"}, f.onePV().Spec.MountOptions); diff != "" {
		t.Errorf("mount options (-want +got)\n%s", diff)
	}
	if made := strings.Join(f.calls.Take(), "\n"); !strings.Contains(made, "-O ^has_journal /dev/mapper/") {
		t.Errorf("mkfs without the options:\n%s", made)
	}
}

// A raw volume gets no file system, comes back raw, and is not handed out as
// something else.
func TestRawBlock(t *testing.T) {
	f := newFixture(t)
	claim := f.claim("data-galera-0", "10Mi")
	claim.Spec.VolumeMode = ptr.To(corev1.PersistentVolumeBlock)
	if _, err := f.provision(claim); err != nil {
		t.Fatal(err)
	}
	check := func() {
		t.Helper()
		pv := f.onePV()
		if *pv.Spec.VolumeMode != corev1.PersistentVolumeBlock || pv.Spec.Local.FSType != nil {
			t.Errorf("PV: %+v", pv.Spec)
		}
	}
	check()
	if lv := f.oneLV(); lv.Formats != 0 {
		t.Errorf("formatted %d times", lv.Formats)
	}
	tags, err := volume.DecodeTags(f.oneLV().Tags)
	if err != nil || tags.FSType != filesystem.None || tags.State != volume.Ready {
		t.Errorf("tags %+v, %v", tags, err)
	}
	f.oneLV().FSType = "LVM2_member" // whatever the user keeps there
	f.wipeAPI()
	f.disk.PowerCycle()
	f.start(f.calls)
	f.pass()
	check()
	_, err = f.provision(f.claim("data-galera-0", "10Mi"))
	if r, _ := isReason(err); r.Code != CodeModeDiffers {
		t.Errorf("a raw volume for a claim with a file system: %v", err)
	}
}
