package lvm_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/berth-dev/berth/pkg/lvm"
	"github.com/berth-dev/berth/pkg/lvm/lvmtest"
)

// children are the processes of this one that run lvm.
func children(t *testing.T) []int {
	t.Helper()
	tasks, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	var found []int
	for _, task := range tasks {
		raw, err := os.ReadFile(task)
		if err != nil {
			continue // a thread that has ended
		}
		for field := range strings.FieldsSeq(string(raw)) {
			var pid int
			name, err := os.ReadFile("/proc/" + field + "/comm")
			if _, bad := fmt.Sscan(field, &pid); bad == nil && err == nil && strings.TrimSpace(string(name)) == "lvm" {
				found = append(found, pid)
			}
		}
	}
	slices.Sort(found)
	return found
}

// onlyChild is the lvm that is kept open.
func onlyChild(t *testing.T) int {
	t.Helper()
	all := children(t)
	if len(all) != 1 {
		t.Fatalf("%d processes of lvm, want the one that is kept open", len(all))
	}
	return all[0]
}

// Three processes make all reports, volumes and changes of tags, see what is done between
// two commands, and keep nobody out meanwhile.
func TestShell(t *testing.T) {
	loop := lvmtest.NewLoop(t, "vgt", "128M")
	own, other := lvm.New(loop.Shell(), lvm.MetadataOnly()), lvm.New(loop, lvm.MetadataOnly())
	vg := report(t, own)
	var pids []int
	for i := range 8 {
		s, swaps := []*lvm.System{own, other}[i%2], []*lvm.System{own, other}[i/2%2]
		if err := s.Create(t.Context(), vg, fmt.Sprintf("berth-%d", i), 4<<20, lvm.Layout{}, []string{"state=creating"}); err != nil {
			t.Fatal(err)
		}
		lv := report(t, own).LVs[i]
		if err := swaps.SwapTag(t.Context(), vg, lv, "state=creating", "state=ready"); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			pids = children(t)
		}
		if here, there := report(t, own), report(t, other); len(here.LVs) != i+1 || here.Seqno != there.Seqno || here.LVs[i].Tags[0] != "state=ready" {
			t.Fatalf("after %d volumes: %+v", i+1, here)
		}
	}
	if now := children(t); len(now) != 3 || !slices.Equal(now, pids) {
		t.Errorf("processes %d after %d, want the same three", now, pids)
	}
	if err := own.Create(t.Context(), vg, "berth-0", 4<<20, lvm.Layout{}, nil); !errors.Is(err, lvm.ErrExists) {
		t.Errorf("a name that is taken: %v", err)
	}
	if now := children(t); len(now) != 2 {
		t.Errorf("processes %d: one is left whose command went wrong", now)
	}
	for range 2 { // what was asked after a failure is answered, and not what was asked before
		if err := own.Remove(t.Context(), vg, lvm.LV{Name: "berth-0"}); err != nil && !errors.Is(err, lvm.ErrNotFound) {
			t.Error(err)
		}
	}
	if n := len(report(t, own).LVs); n != 7 {
		t.Errorf("%d volumes, want 7", n)
	}
}

// An lvm that is kept open sees disks that come and go, also another one under the
// same device, and configuration that changes.
func TestShellSeesDisks(t *testing.T) {
	loop := lvmtest.NewLoop(t, "vgt", "64M", "64M")
	s := lvm.New(loop.Shell(), lvm.MetadataOnly())
	if missing := report(t, s).MissingPVs; missing != 0 {
		t.Fatalf("%d disks missing", missing)
	}
	pid := onlyChild(t)
	loop.See(1)
	if missing := report(t, s).MissingPVs; missing != 1 {
		t.Errorf("%d disks missing behind a filter, want 1", missing)
	}
	loop.See(2)
	device := loop.Devices()[1]
	losetup := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("losetup", args...).CombinedOutput(); err != nil {
			t.Fatalf("losetup %q: %v: %s", args, err, out)
		}
	}
	blank := filepath.Join(t.TempDir(), "blank")
	if err := os.WriteFile(blank, make([]byte, 8<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	losetup("--detach", device)
	losetup(device, blank)
	if missing := report(t, s).MissingPVs; missing != 1 {
		t.Errorf("%d disks missing when another one is in its place, want 1", missing)
	}
	losetup("--detach", device)
	losetup(device, filepath.Join(loop.Dir(), "disk1"))
	if missing := report(t, s).MissingPVs; missing != 0 {
		t.Errorf("%d disks missing when it is back", missing)
	}
	if now := onlyChild(t); now != pid {
		t.Errorf("process %d after %d", now, pid)
	}
}

// Each kind has its process, and sees a system ID that somebody changes. What one kind
// would leave for another shows on active volumes only: TestVolumeLayouts and
// TestVolumeForeign in test/e2e.
func TestShellKinds(t *testing.T) {
	loop := lvmtest.NewLoop(t, "vgt", "64M", "64M")
	s, alone := lvm.New(loop.Shell(), lvm.MetadataOnly()), lvm.New(loop, lvm.MetadataOnly())
	vg := report(t, s)
	n := 0
	change := func() (made, tagged error) {
		n++
		made = s.Create(t.Context(), vg, fmt.Sprintf("berth-%d", n), 4<<20, lvm.Layout{}, nil)
		return made, s.SwapTag(t.Context(), vg, lvm.LV{Name: "a"}, "s=1", "s=2")
	}
	if err := s.Create(t.Context(), vg, "a", 4<<20, lvm.Layout{}, []string{"s=1"}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if made, tagged := change(); made != nil || tagged != nil {
			t.Fatal(made, tagged)
		}
	}
	if n := len(children(t)); n != 3 {
		t.Fatalf("%d processes of lvm, want one of each kind", n)
	}
	there := report(t, alone)
	if diff := gocmp.Diff(shape(there), shape(report(t, s))); diff != "" {
		t.Errorf("-alone +kept open\n%s", diff)
	}
	run := func(args ...string) string {
		t.Helper()
		out, err := loop.Run(t.Context(), "test", "lvm", args...)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(strings.Fields(string(out)), " ")
	}
	run("vgchange", "--driverloaded", "n", "-y", "--systemid", "of-another-machine", "vgt")
	for range 2 {
		if all, err := s.Report(t.Context()); err != nil || len(all.VGs) != 0 {
			t.Errorf("a group of another system ID is reported: %+v, %v", all, err)
		}
		if made, tagged := change(); codeOf(made) != 5 || codeOf(tagged) != 5 {
			t.Errorf("a group of another system ID: %v, %v", made, tagged)
		}
	}
	want := fmt.Sprintf("%d %d", len(there.LVs), there.Seqno+1)
	if now := run("vgs", "--driverloaded", "n", "--foreign", "--noheadings", "-o", "lv_count,vg_seqno", "vgt"); now != want {
		t.Errorf("volumes and sequence number are %s, want %s", now, want)
	}
}

// Two agents of a rolling update, each with a process that is kept open, and commands
// beside them, never make more than fits.
func TestShellTwoWriters(t *testing.T) {
	loop := lvmtest.NewLoop(t, "vgt", "128M")
	systems := []*lvm.System{lvm.New(loop.Shell(), lvm.MetadataOnly()), lvm.New(loop.Shell(), lvm.MetadataOnly()), lvm.New(loop, lvm.MetadataOnly())}
	vg := report(t, systems[0])
	var wg sync.WaitGroup
	made := make([]int, len(systems))
	for i, s := range systems {
		wg.Go(func() {
			for n := range 6 {
				err := s.Create(t.Context(), vg, fmt.Sprintf("berth-%d-%d", i, n), 12<<20, lvm.Layout{}, []string{"berth.dev/schema=1"})
				if err == nil {
					made[i]++
				} else if !errors.Is(err, lvm.ErrNoSpace) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	fits := int(vg.Free / (12 << 20))
	if after := report(t, systems[1]); made[0]+made[1]+made[2] != fits || len(after.LVs) != fits {
		t.Errorf("%v volumes were said to be made, %d are there, %d fit", made, len(after.LVs), fits)
	}
}

// What a shell was doing when it ended is unknown, and the next command has another one.
func TestShellEnds(t *testing.T) {
	loop := lvmtest.NewLoop(t, "vgt", "64M")
	s := lvm.New(loop.Shell(), lvm.MetadataOnly())
	vg := report(t, s)
	pid := onlyChild(t)
	kill := func(pid int) {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	kill(pid) // while it waits
	for len(children(t)) > 0 {
		time.Sleep(time.Millisecond) // a process ends when the kernel has ended it
	}
	if now := report(t, s); now.Seqno != vg.Seqno || onlyChild(t) == pid {
		t.Errorf("after its end: %+v", now)
	}

	// Somebody else holds the group: commands wait. lvm removes the file with the lock.
	hold := func() *os.File {
		t.Helper()
		lock, err := os.OpenFile(filepath.Join(loop.Dir(), "lock", "V_vgt"), os.O_RDWR|os.O_CREATE, 0o600)
		if err == nil {
			err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX)
		}
		if err != nil {
			t.Fatal(err)
		}
		return lock
	}
	for name, cut := range map[string]func(end context.CancelFunc){"its time is over": func(end context.CancelFunc) { end() }, "it is killed": func(context.CancelFunc) { kill(onlyChild(t)) }} {
		lock := hold()
		ctx, end := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			_, err := s.Report(ctx)
			done <- err
		}()
		select {
		case err := <-done:
			t.Fatalf("%s: it did not wait: %v", name, err)
		case <-time.After(300 * time.Millisecond):
		}
		cut(end)
		if err := <-done; !errors.Is(err, lvm.ErrUnknown) {
			t.Errorf("%s: %v, want ErrUnknown", name, err)
		}
		end()
		lock.Close()
		if now := report(t, s); now.Seqno != vg.Seqno {
			t.Errorf("%s: afterwards %+v", name, now)
		}
	}
	if err := s.Create(t.Context(), vg, "berth-a", 4<<20, lvm.Layout{}, nil); err != nil {
		t.Error(err)
	}
}

// Where lvm has no such profile each command is a process, and that is told once; a
// shell that has lived long enough is replaced.
func TestShellNotToBeHad(t *testing.T) {
	loop := lvmtest.NewLoop(t, "vgt", "64M")
	var said []error
	shell := &lvm.Shell{Exec: loop.Exec, Said: func(err error) { said = append(said, err) }}
	defer shell.Close()
	s := lvm.New(shell, lvm.MetadataOnly())
	for range 3 {
		report(t, s)
	}
	if len(said) != 1 || len(children(t)) != 0 {
		t.Errorf("said %v, %d processes left", said, len(children(t)))
	}

	again := loop.Shell()
	again.Commands = 3 // the first is the greeting
	s = lvm.New(again, lvm.MetadataOnly())
	seen := map[int]bool{}
	for range 6 {
		report(t, s)
		seen[onlyChild(t)] = true
	}
	if len(seen) != 3 {
		t.Errorf("%d processes ran six commands, want 3", len(seen))
	}
}
