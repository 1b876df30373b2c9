package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/berth-dev/berth/pkg/innodb"
)

// installed is a data directory made by the server's own program.
func installed(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	args := []string{"--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db", "--datadir=" + dir}
	if os.Getuid() == 0 {
		args = append(args, "--user=root")
	}
	if out, err := exec.Command("mariadb-install-db", args...).CombinedOutput(); err != nil {
		t.Fatalf("mariadb-install-db: %v\n%s", err, out)
	}
	return dir
}

func validated(t *testing.T, v Validate) (innodb.Report, error) {
	t.Helper()
	v.Output = "json"
	if err := v.Validate(); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	err := v.Run(context.Background(), &out, io.Discard)
	var report innodb.Report
	if out.Len() > 0 {
		if err := json.Unmarshal(out.Bytes(), &report); err != nil {
			t.Fatalf("%v\n%s", err, out.String())
		}
	}
	return report, err
}

// TestValidateLevels sees that every level finds a new directory sound, and
// changes nothing in it.
func TestValidateLevels(t *testing.T) {
	dir := installed(t)
	before := content(t, dir)
	for _, level := range []innodb.Level{innodb.Quick, innodb.Sample, innodb.Checksum, innodb.Deep} {
		report, err := validated(t, Validate{dir: dir, Level: string(level)})
		if err != nil || report.Verdict != innodb.Fine || report.Position == nil {
			t.Errorf("%s: %v\n%+v", level, err, report)
		}
	}
	if diff := cmp.Diff(before, content(t, dir)); diff != "" {
		t.Errorf("the directory has changed: %s", diff)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(dir), ".validate-*")); len(left) > 0 {
		t.Errorf("copies are left: %v", left)
	}
}

// content sums up every file with its times.
func content(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil || entry.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		sum := sha256.Sum256(b)
		files[path] = info.ModTime().String() + info.Mode().String() + string(sum[:])
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestValidateDamaged(t *testing.T) {
	dir := installed(t)
	if err := os.Truncate(filepath.Join(dir, "mysql/innodb_index_stats.ibd"), 3*16384); err != nil {
		t.Fatal(err)
	}
	report, err := validated(t, Validate{dir: dir, Level: "quick"})
	if !errors.Is(err, errDamaged) || report.Verdict != innodb.Fatal || report.Findings[0].Code != innodb.SpaceSize {
		t.Errorf("%v\n%+v", err, report.Findings)
	}
	var table bytes.Buffer
	printReport(&table, report)
	if text := table.String(); !strings.Contains(text, "mysql/innodb_index_stats.ibd") || !strings.Contains(text, "Verdict: fatal") {
		t.Errorf("the table does not name the file and the verdict:\n%s", text)
	}
}

// TestValidateInUse holds a server's lock in another process: the directory is
// not judged, and the lock is not disturbed.
func TestValidateInUse(t *testing.T) {
	dir := installed(t)
	holder := exec.Command(os.Args[0], "-test.run=TestLockHolder")
	holder.Env = append(os.Environ(), "BERTH_LOCK="+filepath.Join(dir, "ibdata1"))
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := holder.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	defer holder.Wait()
	defer in.Close()
	if _, err := io.ReadFull(out, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	report, err := validated(t, Validate{dir: dir, Level: "checksum"})
	if !errors.Is(err, errUndecided) || !report.InUse || report.Verdict != innodb.NotVerified {
		t.Errorf("%v\n%+v", err, report)
	}
}

// TestLockHolder is the other process: it holds the lock until its input ends.
func TestLockHolder(t *testing.T) {
	name := os.Getenv("BERTH_LOCK")
	if name == "" {
		return // not called by TestValidateInUse
	}
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	lock := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(f.Fd(), unix.F_SETLK, &lock); err != nil {
		t.Fatal(err)
	}
	os.Stdout.WriteString(".")
	_, _ = io.Copy(io.Discard, os.Stdin)
}

func TestProgressShowsBytesAndRate(t *testing.T) {
	var out bytes.Buffer
	bar := progressBar(&out, "verify")
	bar(0, 4<<20)
	time.Sleep(110 * time.Millisecond) // the bar is drawn ten times a second
	bar(1<<20, 4<<20)
	for _, want := range []string{"verify", "25%", "/4.2 MB", "B/s", "["} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in %q", want, out.String())
		}
	}
}
