package attack

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-dev/berth/test/corpus"
)

// maker makes directories for a test that the server's user can reach.
func maker(t *testing.T) *corpus.Maker {
	t.Helper()
	dir, err := os.MkdirTemp("", "attack")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	m, err := corpus.NewMaker(dir)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestCrashes kills a server 30 times, over all formats and kinds of load. What
// a crash leaves is no damage, before the server's recovery and after it, and the
// position is the server's own.
func TestCrashes(t *testing.T) {
	m := maker(t)
	for i, c := range Crashes(30, 1) {
		name := Name(i, c)
		t.Run(filepath.Base(name), func(t *testing.T) {
			t.Parallel()
			run, err := RunCrash(t.Context(), m, c, name)
			if err != nil {
				t.Fatal(err)
			}
			if all := append(run.Faults, run.Alarms[:min(8, len(run.Alarms))]...); len(all) > 0 {
				t.Errorf("%s", strings.Join(all, "\n"))
			}
			os.RemoveAll(filepath.Join(m.Root, name))
		})
	}
}
