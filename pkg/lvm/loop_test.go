package lvm_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-dev/berth/pkg/lvm"
	"github.com/berth-dev/berth/pkg/lvm/lvmtest"
)

// loopGroup returns LVM without device-mapper on a volume group of its own, "vgt".
func loopGroup(t *testing.T, size string) (*lvm.System, lvm.Runner) {
	t.Helper()
	run := lvmtest.LoopGroup(t, "vgt", size)
	return lvm.New(run, lvm.MetadataOnly()), run
}

func report(t *testing.T, s *lvm.System) lvm.VG {
	t.Helper()
	r, err := s.Report(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(r.VGs) != 1 {
		t.Fatalf("%d volume groups, want 1", len(r.VGs))
	}
	return r.VGs[0]
}

func TestLVM(t *testing.T) {
	s, run := loopGroup(t, "256M")
	vg := report(t, s)
	if vg.Name != "vgt" || len(vg.LVs) != 0 || vg.Free != vg.Size || vg.ExtentSize != 4<<20 || len(vg.PVs) != 1 {
		t.Fatalf("empty group: %+v", vg)
	}

	tags := []string{"berth.dev/schema=1", "berth.dev/state=creating"}
	if err := s.Create(t.Context(), vg, "berth-a", 12<<20, lvm.Layout{}, tags); err != nil {
		t.Fatal(err)
	}
	made := report(t, s)
	lv := made.LVs[0]
	if lv.Name != "berth-a" || lv.Size != 12<<20 || lv.Active || lv.Path != "/dev/mapper/vgt-berth--a" || len(lv.UUID) != 38 {
		t.Errorf("volume: %+v", lv)
	}
	if diff := cmp.Diff(tags, lv.Tags); diff != "" {
		t.Errorf("tags after create (-want +got)\n%s", diff)
	}
	if made.Free != vg.Free-12<<20 || made.Seqno <= vg.Seqno {
		t.Errorf("free %d, seqno %d after %d, %d", made.Free, made.Seqno, vg.Free, vg.Seqno)
	}

	for range 2 { // a repeated swap is harmless
		if err := s.SwapTag(t.Context(), made, lv, "berth.dev/state=creating", "berth.dev/state=ready"); err != nil {
			t.Fatal(err)
		}
		want := []string{"berth.dev/schema=1", "berth.dev/state=ready"}
		if diff := cmp.Diff(want, report(t, s).LVs[0].Tags); diff != "" {
			t.Errorf("tags after swap (-want +got)\n%s", diff)
		}
	}

	// A volume that was moved to another name keeps UUID and tags: found by them.
	if _, err := run.Run(t.Context(), "test", "lvm", "lvrename", "--driverloaded", "n", "vgt", "berth-a", "berth-b"); err != nil {
		t.Fatal(err)
	}
	if got := report(t, s).LVs[0]; got.UUID != lv.UUID || got.Name != "berth-b" || len(got.Tags) != 2 {
		t.Errorf("renamed: %+v", got)
	}
}

// Trash, growth and removal, as lvm itself does them.
func TestLVMReshape(t *testing.T) {
	s, _ := loopGroup(t, "64M")
	vg := report(t, s)
	if err := s.Create(t.Context(), vg, "berth-a", 4<<20, lvm.Layout{}, []string{"state=ready"}); err != nil {
		t.Fatal(err)
	}
	lv := report(t, s).LVs[0]
	for range 2 { // a repeated swap is harmless
		if err := s.SwapTags(t.Context(), vg, lv, []string{"state=ready"}, []string{"deadline=1", "state=trash"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Rename(t.Context(), vg, lv, "trash-"+lv.UUID); err != nil {
		t.Fatal(err)
	}
	moved := report(t, s).LVs[0]
	if diff := cmp.Diff([]string{"deadline=1", "state=trash"}, moved.Tags); diff != "" || moved.UUID != lv.UUID || moved.Name != "trash-"+lv.UUID {
		t.Errorf("moved: %+v\n%s", moved, diff)
	}
	for range 2 { // the second finds the size that it wants
		if err := s.Extend(t.Context(), vg, moved, 12<<20); err != nil {
			t.Fatal(err)
		}
		if moved = report(t, s).LVs[0]; moved.Size != 12<<20 {
			t.Errorf("size %d", moved.Size)
		}
	}
	if err := s.Extend(t.Context(), vg, moved, 1<<30); !errors.Is(err, lvm.ErrNoSpace) {
		t.Errorf("extend beyond the group: %v", err)
	}
	if err := s.Remove(t.Context(), vg, moved); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(t.Context(), vg, moved); !errors.Is(err, lvm.ErrNotFound) {
		t.Errorf("removed twice: %v", err)
	}
	if n := len(report(t, s).LVs); n != 0 {
		t.Errorf("%d volumes left", n)
	}
}

func TestLVMErrors(t *testing.T) {
	s, _ := loopGroup(t, "64M")
	vg := report(t, s)
	if err := s.Create(t.Context(), vg, "berth-a", 4<<20, lvm.Layout{}, nil); err != nil {
		t.Fatal(err)
	}
	gone := vg
	gone.Name = "nosuch"
	for name, c := range map[string]struct {
		err  error
		want error
	}{
		"exists":       {s.Create(t.Context(), vg, "berth-a", 4<<20, lvm.Layout{}, nil), lvm.ErrExists},
		"no space":     {s.Create(t.Context(), vg, "berth-b", 1<<30, lvm.Layout{}, nil), lvm.ErrNoSpace},
		"no VG":        {s.Create(t.Context(), gone, "berth-b", 4<<20, lvm.Layout{}, nil), lvm.ErrNotFound},
		"no LV":        {s.SwapTag(t.Context(), vg, lvm.LV{Name: "none"}, "a", "b"), lvm.ErrNotFound},
		"bad tag":      {s.Create(t.Context(), vg, "berth-b", 4<<20, lvm.Layout{}, []string{"x y"}), lvm.ErrUsage},
		"odd size":     {s.Create(t.Context(), vg, "berth-b", 5000, lvm.Layout{}, nil), nil},
		"not possible": {s.Activate(t.Context(), vg, lvm.LV{Name: "berth-a"}), nil},
	} {
		if c.err == nil {
			t.Errorf("%s: no error", name)
		}
		if c.want != nil && !errors.Is(c.err, c.want) {
			t.Errorf("%s: got %v, want %v", name, c.err, c.want)
		}
	}
	if n := len(report(t, s).LVs); n != 1 {
		t.Errorf("%d volumes after refused creations, want 1", n)
	}
}

// Two agents of a rolling update, each with its own process and lock on the
// shared lock directory, never make more than fits.
func TestLVMTwoWriters(t *testing.T) {
	first, run := loopGroup(t, "128M")
	second := lvm.New(run, lvm.MetadataOnly())
	vg := report(t, first)
	var wg sync.WaitGroup
	var made [2]int
	for i, s := range []*lvm.System{first, second} {
		wg.Go(func() {
			for n := range 6 {
				err := s.Create(t.Context(), vg, fmt.Sprintf("berth-%d-%d", i, n), 16<<20, lvm.Layout{}, []string{"berth.dev/schema=1"})
				if err == nil {
					made[i]++
				} else if !errors.Is(err, lvm.ErrNoSpace) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	fits := int(vg.Free / (16 << 20))
	after := report(t, first)
	if made[0]+made[1] != fits || len(after.LVs) != fits {
		t.Errorf("%d+%d volumes were said to be made, %d are there, %d fit", made[0], made[1], len(after.LVs), fits)
	}
}

// What is said to fit does fit, on lvm's own word, and one unit more does not.
func TestLVMLayouts(t *testing.T) {
	for name, layout := range map[string]lvm.Layout{"linear": {Type: lvm.Linear}, "striped": {Type: lvm.Striped, Stripes: 1}} {
		s, _ := loopGroup(t, "64M")
		vg := report(t, s)
		room := layout.Room(vg)
		if err := s.Create(t.Context(), vg, "berth-b", room+vg.ExtentSize, layout, nil); !errors.Is(err, lvm.ErrNoSpace) {
			t.Errorf("%s: more than the room %d: %v", name, room, err)
		}
		if err := s.Create(t.Context(), vg, "berth-a", room, layout, nil); err != nil {
			t.Errorf("%s: room %d: %v", name, room, err)
		}
		if left := layout.Room(report(t, s)); left != 0 {
			t.Errorf("%s: %d left", name, left)
		}
	}
	// raid1 and thin need a device-mapper; that lvm gets as far as saying so
	// shows that it took the command line.
	s, _ := loopGroup(t, "64M")
	vg := report(t, s)
	vg.LVs = []lvm.LV{{Name: "pool", Attr: "twi"}}
	for layout, want := range map[lvm.LayoutType]string{lvm.RAID1: "without using device-mapper", lvm.Thin: "Pool pool not found"} {
		err := s.Create(t.Context(), vg, "berth-a", 4<<20, lvm.Layout{Type: layout}, nil)
		if err == nil || errors.Is(err, lvm.ErrUsage) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", layout, err)
		}
	}
}

// Scenario 31: 50 volumes are made on one node by two hands. Whoever reads
// meanwhile, in another process of lvm, waits for the command that runs, not for
// the 50.
func TestLVMFiftyCreations(t *testing.T) {
	maker, run := loopGroup(t, "256M")
	reader := lvm.New(run, lvm.MetadataOnly())
	vg := report(t, maker)
	next, made := make(chan int, 50), atomic.Int64{}
	for n := range 50 {
		next <- n
	}
	close(next)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for n := range next {
				if err := maker.Create(t.Context(), vg, fmt.Sprintf("berth-%d", n), 4<<20, lvm.Layout{}, []string{"berth.dev/schema=1"}); err != nil {
					t.Error(err)
					return
				}
				made.Add(1)
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	reads, most := 0, int64(0)
	for running := true; running; {
		before := made.Load()
		seen := report(t, reader)
		after := made.Load()
		// What is read is one moment's state, between what was there before and after.
		if n := int64(len(seen.LVs)); n < before || n > after+2 {
			t.Errorf("%d volumes read, of %d before and %d after", n, before, after)
		}
		reads, most = reads+1, max(most, after-before)
		select {
		case <-done:
			running = false
		default:
		}
	}
	t.Logf("%d reads, during the longest %d volumes were made", reads, most)
	if made.Load() != 50 || reads < 5 || most > 10 {
		t.Errorf("%d volumes made, %d reads, during one of them %d volumes: readers are starved", made.Load(), reads, most)
	}
}
