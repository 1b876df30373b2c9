package lvm_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/pkg/lvm"
	"github.com/berth-dev/berth/pkg/lvm/lvmtest"
)

// noted is what a watch has told.
type noted struct {
	vg    string
	seqno int
}

// watching starts a watch and returns when it has begun.
func watching(t *testing.T, test lvm.SelfTest) (told chan noted, ended chan error) {
	t.Helper()
	told, ended = make(chan noted, 100), make(chan error, 1)
	go func() { ended <- test.Watch(t.Context(), func(vg string, seqno int) { told <- noted{vg, seqno} }) }()
	wantNoted(t, told, noted{})
	return told, ended
}

func wantNoted(t *testing.T, told chan noted, want noted) {
	t.Helper()
	select {
	case got := <-told:
		if got != want {
			t.Fatalf("told of %+v, want %+v", got, want)
		}
	case <-time.After(time.Minute):
		t.Fatalf("told of nothing, want %+v", want)
	}
}

// Each change by lvm is told once, with its number; a report is none.
func TestWatch(t *testing.T) {
	run := lvmtest.NewLoop(t, "vgt", "64M", "64M")
	lvm2 := func(command string, args ...string) {
		t.Helper()
		if _, err := run.Run(t.Context(), "test", "lvm", append([]string{command, "--driverloaded", "n"}, args...)...); err != nil {
			t.Fatal(err)
		}
	}
	told, _ := watching(t, lvm.SelfTest{Runner: run})
	system := lvm.New(run, lvm.MetadataOnly())
	disk := report(t, system).PVs[1].Name
	for _, change := range [][]string{
		{"vgreduce", "vgt", disk},
		{"vgextend", "vgt", disk},
		{"lvcreate", "-an", "-Wn", "-Zn", "-l", "2", "-n", "byhand", "--addtag", "seqno=99", "vgt"},
	} {
		lvm2(change[0], change[1:]...)
		wantNoted(t, told, noted{"vgt", report(t, system).Seqno})
	}
	lvm2("vgremove", "-ff", "-y", "vgt")
	for got := range told { // the last volume's end may be told before the group's
		if got == (noted{"vgt", 0}) {
			break
		}
	}
}

// A watch that cannot go on says so.
func TestWatchEnds(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "backup")
	answer := silent{"locking_dir=\"/l\"\narchive_dir=\"/a\"\nbackup_dir=\"" + dir + "\"\n"}
	test := lvm.SelfTest{Runner: answer}
	if err := test.Watch(t.Context(), func(string, int) { t.Error("told of a change") }); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("without the directory: %v", err)
	}
	if err := (lvm.SelfTest{Runner: silent{}}).Watch(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "no such program") {
		t.Errorf("without lvm: %v", err)
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	told, ended := watching(t, test)
	if err := os.WriteFile(filepath.Join(dir, "broken"), []byte("seqno = many\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	wantNoted(t, told, noted{"broken", 0})
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil || !strings.Contains(err.Error(), dir+" is gone") {
		t.Errorf("after the directory's end: %v", err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := test.Watch(ctx, func(string, int) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("after the context's end: %v", err)
	}
}

// lvm that runs on the machine keeps its backups there.
func TestWatchOnTheMachine(t *testing.T) {
	proc := t.TempDir()
	dir := filepath.Join(proc, "1/root/b")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	answer := silent{"locking_dir=\"/l\"\narchive_dir=\"/a\"\nbackup_dir=\"/b\"\n"}
	told, _ := watching(t, lvm.SelfTest{Runner: answer, Place: lvm.OnHost, Proc: proc})
	temporary := filepath.Join(dir, ".lvm_machine_1")
	if err := os.WriteFile(temporary, []byte("description = \"seqno = 7\"\nvg {\n\tseqno = 12\n}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(temporary, filepath.Join(dir, "vg")); err != nil {
		t.Fatal(err)
	}
	wantNoted(t, told, noted{"vg", 12})
}
