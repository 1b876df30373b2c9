package provisioning

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-dev/berth/pkg/lvm"
	"github.com/berth-dev/berth/pkg/lvm/filesystem"
	"github.com/berth-dev/berth/pkg/lvm/lvmtest"
)

// Scenario 13: somebody removes a volume by hand. lvm's archive, which the agent
// keeps on the host, has it back with UUID and tags.
func TestArchiveUndoesARemoval(t *testing.T) {
	run := lvmtest.LoopGroup(t, "vgt", "64M")
	system := lvm.New(run, lvm.MetadataOnly())
	vg := group(t, system)
	tags := []string{"berth.dev/schema=1", "berth.dev/state=ready"}
	if err := system.Create(t.Context(), vg, "berth-a", 8<<20, lvm.Layout{}, tags); err != nil {
		t.Fatal(err)
	}
	before := group(t, system).LVs[0]
	if err := system.Remove(t.Context(), vg, before); err != nil {
		t.Fatal(err)
	}
	if n := len(group(t, system).LVs); n != 0 {
		t.Fatalf("%d volumes after the removal", n)
	}
	out, err := run.Run(t.Context(), "test", "lvm", "vgcfgrestore", "--driverloaded", "n", "--list", "vgt")
	if err != nil {
		t.Fatal(err)
	}
	var file string
	for line := range strings.Lines(string(out)) {
		if name, is := strings.CutPrefix(strings.TrimSpace(line), "File:"); is {
			name = filepath.Dir(strings.TrimSpace(name)) // 2.03.16 writes the name of the file twice
			if content, err := os.ReadFile(name); err == nil && strings.Contains(string(content), before.UUID) {
				file = name
			}
		}
	}
	if file == "" {
		t.Fatalf("no archive holds the volume:\n%s", out)
	}
	if _, err := run.Run(t.Context(), "test", "lvm", "vgcfgrestore", "--driverloaded", "n", "-f", file, "vgt"); err != nil {
		t.Fatal(err)
	}
	after := group(t, system).LVs
	if len(after) != 1 || after[0].UUID != before.UUID || strings.Join(after[0].Tags, " ") != strings.Join(tags, " ") {
		t.Errorf("restored: %+v, was %+v", after, before)
	}
}

func group(t *testing.T, system *lvm.System) lvm.VG {
	t.Helper()
	report, err := system.Report(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return report.VGs[0]
}

// Scenario 23: what was on a volume cannot be read from the next one, as far as
// the class asks for it. The device is a loop device, and the kernel's own.
func TestWipeOnADevice(t *testing.T) {
	const size = 8 << 20
	for _, c := range []struct {
		policy              string
		discard, zero, gone bool
	}{{"signatures", false, false, false}, {"discard", true, false, true}, {"zero", false, true, true}} {
		t.Run(c.policy, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "disk")
			if err := os.WriteFile(file, bytes.Repeat([]byte("secret. "), size/8), 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := exec.CommandContext(t.Context(), "losetup", "--find", "--show", file).Output()
			if err != nil {
				t.Fatal(err)
			}
			device := strings.TrimSpace(string(out))
			defer exec.Command("losetup", "--detach", device).Run()
			run := lvm.Exec{}
			if _, err := run.Run(t.Context(), "test", "mkfs.ext4", "-q", "-E", "nodiscard", device); err != nil {
				t.Fatal(err)
			}
			for from := int64(0); from < size; from += size / 2 { // as the agent does, step by step
				if err := filesystem.Wipe(t.Context(), run, device, c.discard, c.zero, from, size/2); err != nil {
					t.Fatal(err)
				}
			}
			content, err := filesystem.Probe(t.Context(), run, device)
			if err != nil || !content.IsEmpty() {
				t.Errorf("a probe finds %s, %v", content, err)
			}
			raw, err := os.ReadFile(device)
			if err != nil {
				t.Fatal(err)
			}
			if gone := !bytes.Contains(raw, []byte("secret.")); gone != c.gone {
				t.Errorf("the old blocks are gone: %t, want %t", gone, c.gone)
			}
		})
	}
}
