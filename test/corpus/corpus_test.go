package corpus

import (
	"context"
	"os"
	"testing"
)

// root is a directory for a test that the server's user can reach.
func root(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "corpus")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if os.Getenv("KEEP") == "" {
			os.RemoveAll(dir)
		} else {
			t.Log(dir)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestTry(t *testing.T) {
	m := &Maker{Root: root(t)}
	for i, f := range Formats() {
		shape := Shapes()[i%len(Shapes())]
		t.Run(f.Name+"-"+shape.Name, func(t *testing.T) {
			c := RandomCrash(f, shape, uint64(i))
			c.Binlog = i%3 == 0
			d, done, err := m.Killed(context.Background(), c, f.Name)
			if err != nil {
				t.Fatal(err)
			}
			r, err := d.Recover(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			t.Log(c, done, r.Position, r.Exit, r.Took)
			if r.Exit != 0 {
				t.Fatal(r.Log)
			}
		})
	}
}
