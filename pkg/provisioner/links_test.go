package provisioner

import (
	"os"
	"path/filepath"
	"testing"
)

func TestLinks(t *testing.T) {
	const one, two = "UyYZ1y-7qWp-Izpt-pt9u-O4zT-Qzjw-WWEwqc", "Hw1BpY-iyqM-ehlW-IYDk-pO2c-UwJl-nHeRZI"
	l := Links{Dir: filepath.Join(t.TempDir(), "a", "b")}
	if err := l.Keep(nil); err != nil {
		t.Fatalf("no directory yet: %v", err)
	}
	if l.Points(one, "/dev/x") {
		t.Error("a link that is not there points somewhere")
	}
	for _, device := range []string{"/dev/x", "/dev/y"} { // made, then turned
		if err := l.Set(one, device); err != nil {
			t.Fatal(err)
		}
		if !l.Points(one, device) || l.Points(one, "/dev/z") {
			t.Errorf("the link does not lead to %s", device)
		}
	}
	if err := l.Set(two, "/dev/z"); err != nil {
		t.Fatal(err)
	}
	// lvm's own link, for whoever chooses a directory that it uses too.
	if err := os.Symlink("/dev/w", l.Path("berth-data")); err != nil {
		t.Fatal(err)
	}
	if err := l.Keep(map[string]bool{one: true, two: false}); err != nil {
		t.Fatal(err)
	}
	if !l.Points(one, "/dev/y") || l.Points(two, "/dev/z") || !l.Points("berth-data", "/dev/w") {
		t.Error("want the first kept, the second withdrawn, lvm's left alone")
	}
}
