package directory

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-dev/berth/pkg/lvm"
)

const (
	name = "berth-0123"
	mib  = int64(1 << 20)
)

var tags = []string{"berth.dev/schema=1", "berth.dev/state=creating"}

// newBase marks a directory of this machine's own file system; nothing of it is mounted.
func newBase(t *testing.T) *Base {
	t.Helper()
	b := New(t.TempDir(), func(string) ([]string, error) { return nil, nil })
	if err := b.Make(); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *Base) mustRead(t *testing.T) lvm.VG {
	t.Helper()
	vg, err := b.Read()
	if err != nil {
		t.Fatal(err)
	}
	return vg
}

func (b *Base) mustCreate(t *testing.T) lvm.LV {
	t.Helper()
	if err := b.Create(name, 8*mib, tags); err != nil {
		t.Fatal(err)
	}
	return b.mustRead(t).LVs[0]
}

// A volume's whole life, on real directories: what is changed is counted, and what
// is promised is not offered again.
func TestLife(t *testing.T) {
	b := newBase(t)
	empty := b.mustRead(t)
	lv := b.mustCreate(t)
	made := b.mustRead(t)
	if lv.Err != nil || !lv.Active || lv.IsOpen() || lv.Size != 8*mib || lv.Name != name || len(lv.UUID) != 38 || lv.Path != filepath.Join(b.dir, name, "data") {
		t.Errorf("made %+v", lv)
	}
	if diff := cmp.Diff(tags, lv.Tags); diff != "" {
		t.Errorf("tags (-want +got)\n%s", diff)
	}
	if made.UUID != empty.UUID || made.Seqno <= empty.Seqno || made.Free > made.MetadataFree-8*mib || made.Dir != b.dir {
		t.Errorf("%+v, was %+v", made, empty)
	}
	content := filepath.Join(lv.Path, "ibdata1")
	if err := os.WriteFile(content, []byte("rows"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // a repeated change is harmless
		if err := b.Change(lv, lvm.Change{Off: tags[1:], On: []string{"berth.dev/state=ready"}, Size: 12 * mib}); err != nil {
			t.Fatal(err)
		}
	}
	trash := "trash-" + lv.UUID
	if err := b.Change(lv, lvm.Change{Name: trash}); err != nil {
		t.Fatal(err)
	}
	moved := b.mustRead(t).LVs[0]
	if moved.Name != trash || moved.UUID != lv.UUID || moved.Size != 12*mib || !moved.Active || moved.Tags[1] != "berth.dev/state=ready" {
		t.Errorf("changed %+v", moved)
	}
	if raw, err := os.ReadFile(filepath.Join(moved.Path, "ibdata1")); err != nil || string(raw) != "rows" {
		t.Errorf("content %q, %v", raw, err)
	}
	if err := b.ChangeTags(nil, []string{"a", "b"}); err != nil {
		t.Fatal(err)
	}
	if err := b.ChangeTags([]string{"a"}, []string{"c"}); err != nil {
		t.Fatal(err)
	}
	if vg := b.mustRead(t); !slices.Equal(vg.Tags, []string{"b", "c"}) || vg.Seqno <= made.Seqno {
		t.Errorf("group %+v", vg)
	}
	beside := filepath.Join(b.dir, trash, "kept-by-hand")
	if err := os.WriteFile(beside, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := b.Remove(moved); err == nil || !strings.Contains(err.Error(), "also holds kept-by-hand") {
		t.Errorf("removed beside a person's file: %v", err)
	}
	if err := errors.Join(os.Remove(beside), b.Remove(moved)); err != nil {
		t.Fatal(err)
	}
	if err := b.Remove(moved); !errors.Is(err, lvm.ErrNotFound) {
		t.Errorf("removed twice: %v", err)
	}
	if vg := b.mustRead(t); len(vg.LVs) != 0 {
		t.Errorf("left %+v", vg.LVs)
	}
}

func TestRefuses(t *testing.T) {
	b := newBase(t)
	lv := b.mustCreate(t)
	other := lv
	other.UUID = "another"
	for what, c := range map[string]struct {
		err, want error
	}{
		"exists":                {b.Create(name, 8*mib, tags), lvm.ErrExists},
		"no space":              {b.Create("berth-big", 1<<60, tags), lvm.ErrNoSpace},
		"grows beyond":          {b.Change(lv, lvm.Change{Size: 1 << 60}), lvm.ErrNoSpace},
		"not there":             {b.Change(lvm.LV{Name: "berth-none"}, lvm.Change{}), lvm.ErrNotFound},
		"another UUID":          {b.Change(other, lvm.Change{Name: "trash-x"}), lvm.ErrNotFound},
		"remove another UUID":   {b.Remove(other), lvm.ErrNotFound},
		"a name that leads out": {b.Create("berth-/../../x", 8*mib, tags), lvm.ErrUsage},
		"rename out":            {b.Change(lv, lvm.Change{Name: "../x"}), lvm.ErrUsage},
		"remove out":            {b.Remove(lvm.LV{Name: "berth-/../.."}), lvm.ErrUsage},
		"over another":          {errors.Join(b.Create("berth-2", 4*mib, tags), b.Change(lv, lvm.Change{Name: "berth-2"})), lvm.ErrExists},
		"made twice":            {b.Make(), nil},
		"no mark":               {func() error { _, err := New(t.TempDir(), nil).Read(); return err }(), lvm.ErrNotFound},
		"no directory":          {func() error { _, err := New("/nowhere/at/all", nil).Read(); return err }(), lvm.ErrNotFound},
	} {
		if c.err == nil || c.want != nil && !errors.Is(c.err, c.want) {
			t.Errorf("%s: %v, want %v", what, c.err, c.want)
		}
	}
	// An empty directory in the place of a claim's volume is not filled either.
	if err := os.Mkdir(filepath.Join(b.dir, "berth-empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := b.Create("berth-empty", 4*mib, tags); !errors.Is(err, lvm.ErrExists) {
		t.Errorf("over an empty directory: %v", err)
	}
	if got := b.mustRead(t); len(got.LVs) != 3 || got.Free != 0 {
		t.Errorf("%+v, want a directory that nobody knows the size of, and no room", got)
	}
}

// Whatever is not certain to be a volume's own data is not served and not removed.
func TestNotWhatWasMade(t *testing.T) {
	replace := func(t *testing.T, lv lvm.LV) {
		if err := os.Rename(lv.Path, lv.Path+".old"); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(lv.Path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for what, c := range map[string]struct {
		damage func(*testing.T, *Base, lvm.LV)
		want   string
		kept   bool // Remove refuses
	}{
		"a blank directory in its place": {func(t *testing.T, _ *Base, lv lvm.LV) { replace(t, lv) }, "is another directory", true},
		"a link in its place": {func(t *testing.T, _ *Base, lv lvm.LV) {
			replace(t, lv)
			if err := errors.Join(os.Remove(lv.Path), os.Symlink(lv.Path+".old", lv.Path)); err != nil {
				t.Fatal(err)
			}
		}, "is not a directory", true},
		"gone": {func(t *testing.T, _ *Base, lv lvm.LV) {
			if err := os.Remove(lv.Path); err != nil {
				t.Fatal(err)
			}
		}, "no such file", false},
		"the record is cut off": {func(t *testing.T, b *Base, lv lvm.LV) {
			if err := os.Truncate(filepath.Join(b.dir, name, volumeFile), 10); err != nil {
				t.Fatal(err)
			}
		}, "unexpected end", true},
		"the record is of another schema": {func(t *testing.T, b *Base, lv lvm.LV) {
			if err := os.WriteFile(filepath.Join(b.dir, name, volumeFile), []byte(`{"schema":2}`), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "schema 2", true},
	} {
		t.Run(what, func(t *testing.T) {
			b := newBase(t)
			lv := b.mustCreate(t)
			c.damage(t, b, lv)
			got := b.mustRead(t).LVs
			if len(got) != 1 || got[0].Active || got[0].Err == nil || !strings.Contains(got[0].Err.Error(), c.want) {
				t.Fatalf("%+v, want an error with %q", got, c.want)
			}
			if err := b.Remove(lv); (err != nil) != c.kept {
				t.Errorf("removed: %v", err)
			}
		})
	}
}

// In use, or not known to be not: neither is unused.
func TestInUse(t *testing.T) {
	b := newBase(t)
	lv := b.mustCreate(t)
	for _, c := range []struct {
		where []string
		err   error
	}{{[]string{"/var/lib/kubelet/pods/x"}, nil}, {nil, errors.New("cannot look")}} {
		b.mounted = func(string) ([]string, error) { return c.where, c.err }
		if err := b.Idle(lv); err == nil || (c.err == nil) != errors.Is(err, lvm.ErrInUse) {
			t.Errorf("%+v: idle: %v", c, err)
		}
		if err := b.Remove(lv); err == nil {
			t.Errorf("%+v: removed", c)
		}
		if now := b.mustRead(t).LVs[0]; !now.IsOpen() || !now.Active {
			t.Errorf("%+v: %+v", c, now)
		}
	}
}

// A real mount of the volume's data, as kubelet makes one, is in the way, wherever
// this runs: where the machine's mounts are not seen, nothing is idle.
func TestBoundElsewhere(t *testing.T) {
	b := New(t.TempDir(), lvm.SelfTest{}.Mounted)
	if err := b.Make(); err != nil {
		t.Fatal(err)
	}
	lv, at := b.mustCreate(t), t.TempDir()
	if out, err := exec.Command("mount", "--bind", lv.Path, at).CombinedOutput(); err != nil {
		t.Fatalf("mount: %v: %s", err, out)
	}
	defer func() {
		if out, err := exec.Command("umount", at).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	}()
	if idle, removed := b.Idle(lv), b.Remove(lv); idle == nil || removed == nil {
		t.Errorf("idle: %v, removed: %v", idle, removed)
	}
	if now := b.mustRead(t).LVs[0]; !now.IsOpen() || now.Err != nil {
		t.Errorf("%+v", now)
	}
}

// The power is cut before each step of each change: afterwards there is the old
// state or the new one, and the change can be made.
func TestPowerCutAtEachStep(t *testing.T) {
	cut := errors.New("the power is cut")
	for what, change := range map[string]func(*Base, lvm.LV) error{
		"create": func(b *Base, _ lvm.LV) error { return b.Create("berth-2", 4*mib, tags) },
		"tags":   func(b *Base, lv lvm.LV) error { return b.Change(lv, lvm.Change{Off: tags[1:], On: []string{"x"}}) },
		"rename": func(b *Base, lv lvm.LV) error { return b.Change(lv, lvm.Change{Name: "trash-1"}) },
		"grow":   func(b *Base, lv lvm.LV) error { return b.Change(lv, lvm.Change{Size: 16 * mib}) },
		"group":  func(b *Base, _ lvm.LV) error { return b.ChangeTags(nil, []string{"home"}) },
		"remove": func(b *Base, lv lvm.LV) error { return b.Remove(lv) },
	} {
		for at := 1; ; at++ {
			b := newBase(t)
			lv := b.mustCreate(t)
			old, n := b.mustRead(t), 0
			b.step = func(string) error {
				if n++; n >= at {
					return cut
				}
				return nil
			}
			err := change(b, lv)
			b.step = func(string) error { return nil }
			seen := b.mustRead(t)
			if err == nil {
				if at < 2 || seen.Seqno <= old.Seqno {
					t.Errorf("%s: %d steps, seqno %d after %d", what, at-1, seen.Seqno, old.Seqno)
				}
				break
			}
			if !errors.Is(err, cut) {
				t.Fatalf("%s, step %d: %v", what, at, err)
			}
			if what != "remove" && !cmp.Equal(old.LVs, seen.LVs) || len(seen.LVs) != 1 || seen.LVs[0].UUID != lv.UUID {
				t.Errorf("%s, step %d: %s", what, at, cmp.Diff(old.LVs, seen.LVs))
			}
			if err := change(b, lv); err != nil {
				t.Errorf("%s again after step %d: %v", what, at, err)
			}
			if left, _ := filepath.Glob(filepath.Join(b.dir, newPrefix+"*")); len(left) != 0 {
				t.Errorf("%s, step %d: left behind: %v", what, at, left)
			}
		}
	}
}

// What a creation that was cut off left is removed only as far as it is empty.
func TestSweepKeepsFiles(t *testing.T) {
	b := newBase(t)
	file := filepath.Join(b.dir, newPrefix+"x", dataDir, "rows")
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte("x"), 0o600)); err != nil {
		t.Fatal(err)
	}
	b.mustCreate(t)
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
}

// Mounts are looked for by the name behind all links, and not where the kernel
// writes a name in another way.
func TestUsersBehindLinks(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "link")
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "real"), 0o755), os.Symlink("real", link), os.Mkdir(filepath.Join(dir, "a b"), 0o755)); err != nil {
		t.Fatal(err)
	}
	real, err := filepath.EvalSymlinks(link)
	if err != nil {
		t.Fatal(err)
	}
	var asked []string
	b := New(link, func(dir string) ([]string, error) { asked = append(asked, dir); return nil, nil })
	if _, err := b.users(link); err != nil || !slices.Equal(asked, []string{real}) {
		t.Errorf("%v, asked for %q, want %q", err, asked, real)
	}
	if _, err := b.users(filepath.Join(dir, "a b")); err == nil {
		t.Error("a name with a space is looked for")
	}
}
