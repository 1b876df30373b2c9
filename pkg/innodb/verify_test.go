package innodb_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/berth-dev/berth/pkg/innodb"
)

// install makes a data directory with the server's own program.
func install(t *testing.T, options ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	args := append([]string{"--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db", "--datadir=" + dir}, options...)
	if os.Getuid() == 0 {
		args = append(args, "--user=root")
	}
	if out, err := exec.Command("mariadb-install-db", args...).CombinedOutput(); err != nil {
		t.Fatalf("mariadb-install-db: %v\n%s", err, out)
	}
	return dir
}

func verify(t *testing.T, dir string, opt innodb.Options) innodb.Report {
	t.Helper()
	r, err := innodb.Verify(context.Background(), dir, opt)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestSound(t *testing.T) {
	r := verify(t, install(t), innodb.Options{})
	if r.Verdict != innodb.Fine || !r.Sound() || r.Pages < 500 {
		t.Errorf("a new directory: %s\n%v", r.Summary(), r.Findings)
	}
}

func TestFlippedBit(t *testing.T) {
	dir := install(t)
	file := "mysql/innodb_table_stats.ibd"
	f, err := os.OpenFile(filepath.Join(dir, file), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], 3*16384+200); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1
	if _, err := f.WriteAt(b[:], 3*16384+200); err != nil {
		t.Fatal(err)
	}
	r := verify(t, dir, innodb.Options{})
	if len(r.Findings) != 1 || r.Findings[0].File != file || r.Findings[0].Page != 3 || r.Findings[0].Code != innodb.PageChecksum || r.Sound() {
		t.Errorf("a flipped bit in page 3 of %s: %s\n%v", file, r.Summary(), r.Findings)
	}
}
