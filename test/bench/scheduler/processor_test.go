package main

import (
	"errors"
	"os"
	"runtime"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// TestOnOneProcessor asks the kernel where each thread may run: on one processor
// meanwhile, and afterwards, also after an error, where it could before.
func TestOnOneProcessor(t *testing.T) {
	var before unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		t.Fatal(err)
	}
	width, failed := runtime.GOMAXPROCS(0), errors.New("failed")
	err := onOneProcessor(func() error {
		if n := runtime.GOMAXPROCS(0); n != 1 {
			t.Errorf("GOMAXPROCS is %d", n)
		}
		for thread, now := range affinities(t) {
			if now.Count() != 1 {
				t.Errorf("thread %d may run on %d processors", thread, now.Count())
			}
		}
		return failed
	})
	if !errors.Is(err, failed) || runtime.GOMAXPROCS(0) != width {
		t.Errorf("%v, GOMAXPROCS %d of %d", err, runtime.GOMAXPROCS(0), width)
	}
	for thread, now := range affinities(t) {
		if now != before {
			t.Errorf("thread %d may run on %d processors afterwards", thread, now.Count())
		}
	}
}

func affinities(t *testing.T) map[int]unix.CPUSet {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	sets := map[int]unix.CPUSet{}
	for _, e := range entries {
		thread, err := strconv.Atoi(e.Name())
		if err != nil {
			t.Fatal(err)
		}
		var set unix.CPUSet
		if unix.SchedGetaffinity(thread, &set) == nil { // one that has ended has none
			sets[thread] = set
		}
	}
	return sets
}
