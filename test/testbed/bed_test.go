package testbed

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// newBed names a bed beside the build's other ones, and removes what is left of
// it when the test ends.
func newBed(t *testing.T) *Bed {
	t.Helper()
	bed, err := New("../../_out/testbed-test", DefaultPaths("../../_out"))
	if err != nil {
		t.Fatal(err)
	}
	bed.Logf = t.Logf
	t.Cleanup(func() {
		// The test's own context has ended by now.
		if err := bed.Down(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return bed
}

// TestUpDown needs what `make bed-build` makes.
func TestUpDown(t *testing.T) {
	bed, ctx := newBed(t), t.Context()
	if err := bed.Up(ctx, Config{Nodes: 1}); err != nil {
		t.Fatal(err)
	}
	if err := bed.Up(ctx, Config{Nodes: 1}); err == nil || !strings.Contains(err.Error(), "runs in") {
		t.Errorf("a second Up: %v, expected a refusal", err)
	}
	out, err := bed.Exec(ctx, "node1", "vgs", "--noheadings", "-o", "vg_name,pv_count")
	if err != nil || strings.Join(strings.Fields(out), " ") != "berth 2" {
		t.Errorf("volume groups %q, error %v; want berth of 2 disks", out, err)
	}
	if _, err := bed.Exec(ctx, "node1", "sh", "-c", "echo why >&2; exit 3"); err == nil || !strings.Contains(err.Error(), "exit 3: why") {
		t.Errorf("a failing command: %v, expected its exit status and what it said", err)
	}
	parts, err := bed.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range parts {
		if part.PID == 0 || (part.Name == "node1" && part.Ready != "Ready") {
			t.Errorf("status says %+v of a bed that is up", part)
		}
	}
	reach := func() error {
		_, err := bed.Exec(ctx, "node1", "timeout", "5", "bash", "-c", "</dev/tcp/"+controlAddress+"/443")
		return err
	}
	if err := reach(); err != nil {
		t.Errorf("reach the API server: %v", err)
	}
	if err := bed.Partition(ctx, "node1"); err != nil {
		t.Fatal(err)
	}
	if err := reach(); err == nil {
		t.Error("a partitioned node reaches the API server")
	}
	if err := bed.Heal(ctx); err != nil {
		t.Fatal(err)
	}
	if err := reach(); err != nil {
		t.Errorf("reach the API server after the partition: %v", err)
	}
	if _, err := bed.Exec(ctx, "node1", "sh", "-c", "echo kept >/var/lib/file && sync && echo lost >/run/file"); err != nil {
		t.Fatal(err)
	}
	if err := bed.PowerOff("node1"); err != nil {
		t.Fatal(err)
	}
	if err := bed.PowerOn(ctx, "node1"); err != nil {
		t.Fatal(err)
	}
	if err := bed.WaitReady(ctx, "node1"); err != nil {
		t.Fatal(err)
	}
	if out, err := bed.Exec(ctx, "node1", "cat", "/var/lib/file"); err != nil || out != "kept\n" {
		t.Errorf("a file on the node's disk after a power cut: %q, %v", out, err)
	}
	if _, err := bed.Exec(ctx, "node1", "cat", "/run/file"); err == nil {
		t.Error("a file in memory outlived a power cut")
	}

	// What a bed left that crashed on its way up is no obstacle to the next one.
	if err := os.Remove(bed.path(completeMark)); err != nil {
		t.Fatal(err)
	}
	if err := bed.Up(ctx, Config{Nodes: 1}); err != nil {
		t.Errorf("Up after a crash: %v", err)
	}
	if err := bed.Down(ctx); err != nil {
		t.Fatal(err)
	}
	expectNothingLeft(t, bed)
}

func expectNothingLeft(t *testing.T, bed *Bed) {
	t.Helper()
	for _, path := range []string{bed.Dir, filepath.Join("/run/netns", bed.Namespace())} {
		if _, err := os.Lstat(path); !os.IsNotExist(err) {
			t.Errorf("%s is left (%v)", path, err)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(mounts, []byte(bed.Dir)) {
		t.Errorf("a mount below %s is left", bed.Dir)
	}
	commands, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range commands {
		if argv, err := os.ReadFile(command); err == nil && bytes.Contains(argv, []byte(bed.Dir)) {
			t.Errorf("a process is left: %s", bytes.ReplaceAll(argv, []byte{0}, []byte{' '}))
		}
	}
}

func TestDownSparesStrangers(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "thesis.txt"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	bed, err := New(dir, Paths{})
	if err != nil {
		t.Fatal(err)
	}
	if err := bed.Down(t.Context()); err == nil || !strings.Contains(err.Error(), "holds no test bed") {
		t.Errorf("Down of somebody's directory: %v, expected a refusal", err)
	}
}

func TestConfig(t *testing.T) {
	tests := []struct {
		name   string
		config Config
		want   string // part of the error; empty for none
	}{
		{"defaults", Config{}, ""},
		{"too many nodes", Config{Nodes: 10}, "nodes: 10"},
		{"too little memory", Config{MemoryMB: 128}, "memory: 128 MB"},
		{"two problems", Config{Nodes: -1, Disks: 9}, "disks: 9"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := test.config.withDefaults().validate()
			if (err == nil) != (test.want == "") || (err != nil && !strings.Contains(err.Error(), test.want)) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
	if _, err := (Config{Nodes: 2}).node("node3"); err == nil || !strings.Contains(err.Error(), "node1, node2") {
		t.Errorf("an unknown node: %v, expected the names of those there are", err)
	}
}

func TestCopySparse(t *testing.T) {
	from, to := filepath.Join(t.TempDir(), "from"), filepath.Join(t.TempDir(), "to")
	content := make([]byte, 3<<20)
	copy(content[1<<20:], "in the middle")
	content[len(content)-1] = 1
	if err := makeSparse(from, int64(len(content))); err != nil {
		t.Fatal(err)
	}
	file, err := os.OpenFile(from, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, at := range []int{1 << 20, len(content) - 1} {
		if _, err := file.WriteAt(content[at:min(at+13, len(content))], int64(at)); err != nil {
			t.Fatal(err)
		}
	}
	if err := copySparse(from, to); err != nil {
		t.Fatal(err)
	}
	copied, err := os.ReadFile(to)
	if err != nil || !bytes.Equal(copied, content) {
		t.Errorf("the copy differs (%d bytes of %d, error %v)", len(copied), len(content), err)
	}
}
