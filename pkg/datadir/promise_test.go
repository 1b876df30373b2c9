package datadir

import (
	"os"
	"testing"
)

func TestPromiseOnlyGrows(t *testing.T) {
	v := Volume{Root: t.TempDir()}
	if err := os.Mkdir(v.Berth(), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct{ write, want int64 }{{0, 0}, {4, 4}, {3, 4}, {9, 9}} {
		if step.write > 0 {
			if err := WritePromise(v.Promise(), step.write); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := ReadPromise(v.Promise()); got != step.want || err != nil {
			t.Errorf("after %d: %d, %v; expected %d", step.write, got, err, step.want)
		}
	}
	if err := os.WriteFile(v.Promise(), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadPromise(v.Promise()); err == nil {
		t.Error("a promise that cannot be understood counts as none")
	}
}
