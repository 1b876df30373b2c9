package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// onOneProcessor keeps this process on the first of its processors while f runs, so
// that no thread's move to another one, with cold caches, is in the figures.
func onOneProcessor(f func() error) (err error) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var all, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return fmt.Errorf("ask for the processors of this process: %w", err)
	}
	for cpu := 0; one.Count() == 0; cpu++ {
		if all.IsSet(cpu) {
			one.Set(cpu)
		}
	}
	if err := bindTo(one); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bindTo(all)) }()
	return f()
}

// bindTo lets all threads of this process run on the given processors only. A new one
// has those of the thread that made it, so that it looks until it finds none to bind.
func bindTo(processors unix.CPUSet) error {
	for bound := true; bound; {
		bound = false
		threads, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return fmt.Errorf("list the threads of this process: %w", err)
		}
		for _, entry := range threads {
			thread, err := strconv.Atoi(entry.Name())
			if err != nil {
				return fmt.Errorf("read the number of thread %q: %w", entry.Name(), err)
			}
			var now unix.CPUSet
			if err = unix.SchedGetaffinity(thread, &now); err == nil && now != processors {
				bound = true
				err = unix.SchedSetaffinity(thread, &processors)
			}
			if err != nil && !errors.Is(err, unix.ESRCH) { // which has ended meanwhile
				return fmt.Errorf("bind thread %d to %d processors: %w", thread, processors.Count(), err)
			}
		}
	}
	return nil
}
