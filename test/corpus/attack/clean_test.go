package attack

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/pkg/innodb"
	"github.com/berth-dev/berth/pkg/innodb/position"
	"github.com/berth-dev/berth/test/corpus"
)

// TestEveryFormat holds of a server of each format that stopped in order: there is
// nothing to complain about, the position is the server's own, and single bits that
// are turned over in used pages are found, unless nothing protects the byte.
func TestEveryFormat(t *testing.T) {
	m := maker(t)
	for i, f := range corpus.Formats() {
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			d, err := m.Clean(t.Context(), f, f.Name, 150)
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(d.Root)
			j, err := Judge(t.Context(), d, false)
			if err != nil {
				t.Fatal(err)
			}
			if alarms := falseAlarms(d, j.Report); len(alarms) > 0 {
				t.Fatalf("%s", strings.Join(alarms[:min(8, len(alarms))], "\n"))
			}
			flips, err := RunFlips(t.Context(), d, 15, uint64(i), func() {})
			if err != nil {
				t.Fatal(err)
			}
			for _, miss := range flips.Unexplained {
				t.Error(miss)
			}
			t.Logf("%d of %d flips found among %d pages; %v", flips.Detected, flips.Done, flips.Pages, flips.Missed)
			compareClean(t, d, j.Place)
		})
	}
}

// compareClean wants of a directory that was stopped in order the position that
// the server's recovery gives.
func compareClean(t *testing.T, d corpus.Directory, p position.Position) {
	if d.Format.EncryptedRedo {
		return
	}
	server, err := d.Recover(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if p.UUID != server.Position.UUID || p.Seqno != server.Position.Seqno || p.Certainty != position.Exact || !p.Clean {
		t.Errorf("position %+v, the server says %s", p, server.Position)
	}
}

// TestRunningServer looks at a directory while a server writes to it: it says so,
// finds no damage, and the server goes on.
func TestRunningServer(t *testing.T) {
	m := maker(t)
	for _, name := range []string{"full_crc32-16k", "crc32-4k", "zip-full_crc32-8k"} {
		for _, shape := range corpus.Shapes() {
			t.Run(name+" "+shape.Name, func(t *testing.T) {
				t.Parallel()
				lookAtRunning(t, m, name, shape)
			})
		}
	}
}

func lookAtRunning(t *testing.T, m *corpus.Maker, name string, shape corpus.Shape) {
	formats, err := corpus.Named(name)
	if err != nil {
		t.Fatal(err)
	}
	d, err := m.Fresh(t.Context(), formats[0], "running-"+name+shape.Name)
	if err != nil {
		t.Fatal(err)
	}
	server, err := d.Start(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Kill()
	if err := server.Create(t.Context(), 300); err != nil {
		t.Fatal(err)
	}
	load := server.Load(t.Context(), shape, 300, 1)
	<-load.Begun()
	for deadline := time.Now().Add(time.Second); time.Now().Before(deadline); {
		r, err := innodb.Verify(t.Context(), d.Data(), innodb.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if !r.InUse || r.Damaged() || r.Sound() {
			t.Fatalf("in use %v, damaged %v, sound %v:\n%s", r.InUse, r.Damaged(), r.Sound(), strings.Join(sentences(r), "\n"))
		}
	}
	done := load.Done.Load()
	load.Stop()
	if err := load.Wait(); err != nil || done == 0 {
		t.Errorf("the server did not go on: %d done, %v", done, err)
	}
}
