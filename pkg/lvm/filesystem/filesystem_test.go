package filesystem

import (
	"context"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/berth-dev/berth/pkg/lvm"
)

const uuid = "11111111-2222-3333-4444-555555555555"

// loop returns a blank device of the size that xfs needs at least, and the file behind it.
func loop(t *testing.T) (device, file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, MinSize("xfs")); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "losetup", "--find", "--show", file).Output()
	if err != nil {
		t.Fatal(err)
	}
	device = strings.TrimSpace(string(out))
	t.Cleanup(func() {
		if err := exec.CommandContext(context.Background(), "losetup", "--detach", device).Run(); err != nil {
			t.Error(err)
		}
	})
	return device, file
}

func TestMakeThenProbe(t *testing.T) {
	run := lvm.Exec{}
	for _, fsType := range Types {
		t.Run(fsType, func(t *testing.T) {
			device, _ := loop(t)
			got, err := Probe(t.Context(), run, device)
			if err != nil || !got.IsEmpty() {
				t.Fatalf("blank device: %s, %v", got, err)
			}
			if got, err := Superblock(t.Context(), run, device); err != nil || got.Other == "" {
				t.Fatalf("superblock of a blank device: %s, %v", got, err)
			}
			if err := Make(t.Context(), run, device, fsType, uuid); err != nil {
				t.Fatal(err)
			}
			want := Content{Type: fsType, UUID: uuid}
			if got, err = Superblock(t.Context(), run, device); err != nil || got != want {
				t.Fatalf("its superblock is of %s, %v; want %s", got, err, want)
			}
			if got, err = Probe(t.Context(), run, device); err != nil || got != want {
				t.Fatalf("got %s, %v; want %s", got, err, want)
			}
			if err := Check(t.Context(), run, device, fsType); err != nil {
				t.Errorf("a new file system is not complete: %v", err)
			}
		})
	}
}

// The device grew; the file system follows, unmounted or in use, once or twice,
// and after an attempt that left its mount behind. xfs only: the kernel lets
// nobody grow a mounted ext4 without CAP_SYS_RESOURCE, which containers of CI
// may lack.
func TestGrow(t *testing.T) {
	run := lvm.Exec{}
	command := func(name string, args ...string) string {
		t.Helper()
		out, err := run.Run(context.Background(), "test", name, args...)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(out))
	}
	for _, inUse := range []bool{false, true} {
		device, file := loop(t)
		if err := Make(t.Context(), run, device, "xfs", uuid); err != nil {
			t.Fatal(err)
		}
		used, dir := t.TempDir(), t.TempDir()
		blocks := func() int {
			command("mount", device, used)
			defer command("umount", used)
			n, err := strconv.Atoi(command("stat", "--file-system", "--format=%b", used))
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		before := blocks()
		command("truncate", "-s", "400M", file)
		command("losetup", "-c", device)
		if inUse {
			command("mount", device, used)
			command("mount", device, dir)
		}
		for range 2 {
			if err := Grow(t.Context(), run, device, "xfs", dir); err != nil {
				t.Fatal(err)
			}
		}
		if inUse {
			command("umount", used)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Error("directory left behind")
		}
		if after := blocks(); after <= before {
			t.Errorf("in use %t: %d blocks before, %d after", inUse, before, after)
		}
		if got, err := Probe(t.Context(), run, device); err != nil || got.UUID != uuid {
			t.Errorf("%s, %v", got, err)
		}
	}
}

// A file system whose first block reached the disk and whose rest did not.
func TestCheckFindsTorn(t *testing.T) {
	for fsType, zero := range map[string]struct{ from, length int64 }{
		"ext4": {4096, 1 << 20},
		"xfs":  {512, 64 << 10},
	} {
		device, file := loop(t)
		if err := Make(t.Context(), lvm.Exec{}, device, fsType, uuid); err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(file, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt(make([]byte, zero.length), zero.from); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		if err := Check(t.Context(), lvm.Exec{}, device, fsType); err == nil {
			t.Errorf("%s: damage was not found", fsType)
		}
	}
}

func TestProbeOther(t *testing.T) {
	device, file := loop(t)
	mbr := make([]byte, 512)
	copy(mbr[446:], []byte{0, 0, 2, 0, 0x83, 0, 0, 0, 1, 0, 0, 0, 0xff, 0xff, 0, 0}) // one partition, type 83
	mbr[510], mbr[511] = 0x55, 0xaa
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(mbr, 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := Probe(t.Context(), lvm.Exec{}, device)
	if err != nil || got.IsEmpty() || got.Type != "" {
		t.Errorf("partition table: got %s, %v", got, err)
	}
}

// What ProbeAll says of a device is what Probe says of it, or nothing.
func TestProbeAll(t *testing.T) {
	var devices []string
	want := map[string]Content{}
	for i, fsType := range Types {
		device, _ := loop(t)
		content := Content{Type: fsType, UUID: uuid[:len(uuid)-1] + strconv.Itoa(i)}
		if err := Make(t.Context(), lvm.Exec{}, device, fsType, content.UUID); err != nil {
			t.Fatal(err)
		}
		devices, want[device] = append(devices, device), content
	}
	for name, more := range map[string][]string{"all are known": nil, "one is not there": {filepath.Join(t.TempDir(), "gone")}} {
		if got := ProbeAll(t.Context(), lvm.Exec{}, append(more, devices...)); !maps.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
	blank, _ := loop(t)
	if got := ProbeAll(t.Context(), lvm.Exec{}, append(devices, blank)); len(got) > 0 {
		t.Errorf("one is blank: got %v, want no answer", got)
	}
}

// blkid answers "nothing found" for a device that is not there.
func TestProbeMissingIsNotEmpty(t *testing.T) {
	got, err := Probe(t.Context(), lvm.Exec{}, filepath.Join(t.TempDir(), "gone"))
	if err == nil {
		t.Errorf("a device that is not there is called %s", got)
	}
}

// answers plays programs by name.
type answers map[string]error

func (a answers) Run(_ context.Context, _, name string, _ ...string) ([]byte, error) {
	return nil, a[name]
}

func TestProbeDoubtIsNotEmpty(t *testing.T) {
	ended := func(name string, code int, stderr string) error {
		return lvm.NewError("probe", name, nil, code, stderr)
	}
	for name, c := range map[string]answers{
		"ambiguous":              {"blkid": ended("blkid", 8, "")},
		"usage":                  {"blkid": ended("blkid", 4, "")},
		"nothing, with a remark": {"blkid": ended("blkid", 2, "error: read failed")},
		"nothing, unreadable":    {"blkid": ended("blkid", 2, ""), lvm.ReadDevice: ended(lvm.ReadDevice, 1, "input/output error")},
		"killed":                 {"blkid": lvm.ErrUnknown},
		"found without a name":   {},
	} {
		if got, err := Probe(t.Context(), c, "/dev/x"); err == nil {
			t.Errorf("%s: taken for %s", name, got)
		}
	}
}

// A device that cannot be read has no content, neither for the second witness nor for
// the look after mkfs.
func TestSuperblockOfNoDevice(t *testing.T) {
	gone := filepath.Join(t.TempDir(), "gone")
	if got, err := Superblock(t.Context(), lvm.Exec{}, gone); err == nil {
		t.Errorf("a device that is not there: %s", got)
	}
	if err := readable(t.Context(), lvm.Exec{}, gone); err == nil {
		t.Error("a device that is not there can be read")
	}
}

func FuzzSuperblock(f *testing.F) {
	xfs, ext4 := make([]byte, superblocks), make([]byte, superblocks)
	copy(xfs, "XFSB")
	ext4[1024+0x38], ext4[1024+0x39] = 0x53, 0xEF
	for _, seed := range [][]byte{nil, make([]byte, superblocks), xfs, xfs[:47], ext4} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, head []byte) {
		switch c := parseSuperblock(head); {
		case c.IsEmpty():
			t.Fatal("it said that the device is empty, which is for a probe to say")
		case c.Type != "" && (len(c.UUID) != len(uuid) || c.Other != ""):
			t.Fatalf("%+v", c)
		}
	})
}
