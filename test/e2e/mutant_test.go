package e2e

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/test/testbed"
)

// mutation is one change of galera-init's source. The old text has to be there
// exactly once.
type mutation struct{ file, old, new string }

var (
	// A joiner keeps its position to itself, and pays with a full copy.
	handOverNothing = []mutation{
		{"pkg/member/start.go", "if me.Class.KeepsPosition() {", "if false {"},
	}
	// A joiner starts a primary component of its own. The name of the group keeps
	// the other servers from noticing, which would end it.
	bootstrapAlways = []mutation{
		{"pkg/member/start.go", "WriteGrastate(m.Volume.Data, me.Position, false)", "WriteGrastate(m.Volume.Data, me.Position, true)"},
		{"pkg/member/start.go", "return m.replace(me, state, extra...)",
			`return m.replace(me, state, append(extra, "--wsrep-new-cluster", "--wsrep-cluster-name=second")...)`},
	}
	// Whoever has the lowest ordinal starts the cluster, whatever was observed. The
	// others hand over nothing: Galera itself stops a joiner that is ahead.
	lowestOrdinal = []mutation{
		{"pkg/rebuild/decide.go", "cmp.Compare(b.Position.Seqno, a.Position.Seqno),", "cmp.Compare(a.Ordinal, b.Ordinal),"},
		{"pkg/rebuild/decide.go", "high > best.Position.Seqno {", "high < 0 && high > best.Position.Seqno {"},
		handOverNothing[0],
	}
)

// TestMutants sees that the mutations still fit the source, and that what they
// make of it compiles. It needs no test bed.
func TestMutants(t *testing.T) {
	for name, mutations := range map[string][]mutation{
		"hand over nothing": handOverNothing, "bootstrap always": bootstrapAlways, "lowest ordinal": lowestOrdinal,
	} {
		t.Run(name, func(t *testing.T) { mutant(t, mutations) })
	}
}

// mutant builds galera-init with changes and returns its path.
func mutant(t *testing.T, mutations []mutation) string {
	t.Helper()
	dir := t.TempDir()
	changed := map[string]string{}
	for _, m := range mutations {
		source, known := changed[m.file]
		if !known {
			raw, err := os.ReadFile(filepath.Join(suite.root, m.file))
			if err != nil {
				t.Fatal(err)
			}
			source = string(raw)
		}
		if n := strings.Count(source, m.old); n != 1 {
			t.Fatalf("%s holds %q %d times, not once: bring the mutation in line with the source", m.file, m.old, n)
		}
		changed[m.file] = strings.Replace(source, m.old, m.new, 1)
	}
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	for file, source := range changed {
		copied := filepath.Join(dir, strings.ReplaceAll(file, "/", "_"))
		write(t, copied, []byte(source))
		overlay.Replace[filepath.Join(suite.root, file)] = copied
	}
	raw, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	list, program := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "galera-init")
	write(t, list, raw)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "build", "-overlay", list, "-ldflags", "-s -w", "-o", program, "./cmd/galera-init")
	cmd.Dir = suite.root
	// As the Makefile builds, so that the build cache serves.
	cmd.Env = append(os.Environ(), "GOFLAGS=-trimpath -buildvcs=false", "CGO_ENABLED=0", "GOTOOLCHAIN=local")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the mutant: %v: %s", err, out)
	}
	return program
}

func write(t *testing.T, file string, content []byte) {
	t.Helper()
	if err := os.WriteFile(file, content, 0o644); err != nil {
		t.Fatal(err)
	}
}

// plant puts a program in the place of galera-init of a member's running pod,
// where the next start of its container finds it, and the true one back when the
// test has ended.
func plant(t *testing.T, name, program string) {
	t.Helper()
	pod := member(t, name)
	target := path.Join("/var/lib/kubelet/pods", string(pod.UID), "volumes/kubernetes.io~empty-dir/berth/galera-init")
	put := func(ctx context.Context, from string) error {
		if err := suite.bed.CopyIn(ctx, pod.Spec.NodeName, from, target+".new"); err != nil {
			return err
		}
		_, err := suite.bed.Exec(ctx, pod.Spec.NodeName, "sh", "-ec", `test -x "$1"; chmod 0755 "$1.new"; mv "$1.new" "$1"`, "sh", target)
		return err
	}
	ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
	defer cancel()
	if err := put(ctx, program); err != nil {
		t.Fatalf("plant a mutant in %s: %v", name, err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
		defer cancel()
		if err := put(ctx, filepath.Join(suite.bed.Paths.Bin, "galera-init")); err != nil {
			t.Errorf("put the true program back into %s: %v", name, err)
		}
	})
}

// loadImage puts a program in the place of galera-init's image on all nodes.
func loadImage(t *testing.T, program string) {
	t.Helper()
	paths := testbed.Paths{Bin: t.TempDir(), RootFS: suite.bed.Paths.RootFS, Images: t.TempDir()}
	// Only what is newer than its image is built: all else is as it was.
	for from, to := range map[string]string{suite.bed.Paths.Bin: paths.Bin, suite.bed.Paths.Images: paths.Images} {
		entries, err := os.ReadDir(from)
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range entries {
			if strings.HasPrefix(entry.Name(), "galera-init") {
				continue
			}
			if err := os.Symlink(filepath.Join(from, entry.Name()), filepath.Join(to, entry.Name())); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.Symlink(program, filepath.Join(paths.Bin, "galera-init")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), actLimit)
	defer cancel()
	if err := testbed.Build(ctx, paths, suite.progress.Stage); err != nil {
		t.Fatal(err)
	}
	for _, node := range suite.nodes {
		if err := suite.bed.LoadImage(ctx, node, filepath.Join(paths.Images, "galera-init.tar")); err != nil {
			t.Fatal(err)
		}
		execute(t, node, "sync") // the power is cut next
	}
}
