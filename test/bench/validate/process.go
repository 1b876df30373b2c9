package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/berth-dev/berth/pkg/innodb"
)

// used is what a process took.
type used struct {
	seconds  float64
	resident int64 // bytes, at most
	fromDisk int64 // bytes
}

// run runs a program to its end. Its failure is an error: a run that stopped
// early would be fast.
func run(ctx context.Context, program string, args ...string) (used, []byte, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	begin := time.Now()
	err := cmd.Run()
	u := used{seconds: time.Since(begin).Seconds()}
	if err != nil {
		return u, nil, fmt.Errorf("%s %v: %w: %s", program, args, err, complaint.String())
	}
	usage := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	u.resident, u.fromDisk = usage.Maxrss<<10, usage.Inblock*512
	return u, out.Bytes(), nil
}

// validate runs the program that is measured, and wants every page checked.
func (o options) validate(ctx context.Context, dir string, args ...string) (used, innodb.Report, error) {
	u, out, err := run(ctx, o.program, append([]string{"validate", "--output", "json", dir}, args...)...)
	if err != nil {
		return u, innodb.Report{}, err
	}
	var report innodb.Report
	if err := json.Unmarshal(out, &report); err != nil {
		return u, report, fmt.Errorf("output of validate: %w", err)
	}
	return u, report, nil
}

// innochecksum checks tables by so many processes at once.
func innochecksum(ctx context.Context, tables []string, processes int) (used, error) {
	begin := time.Now()
	if processes == 1 {
		u, _, err := run(ctx, "innochecksum", tables...)
		return u, err
	}
	var group sync.WaitGroup
	queue := make(chan string)
	errs := make([]error, processes)
	for i := range processes {
		group.Go(func() {
			for table := range queue {
				if _, _, err := run(ctx, "innochecksum", table); err != nil {
					errs[i] = err
				}
			}
		})
	}
	for _, table := range tables {
		queue <- table
	}
	close(queue)
	group.Wait()
	return used{seconds: time.Since(begin).Seconds()}, errors.Join(errs...)
}

// dd reads all tables, one after the other.
func dd(ctx context.Context, tables []string) (used, error) {
	var sum used
	for _, table := range tables {
		u, _, err := run(ctx, "dd", "if="+table, "of=/dev/null", "bs=1M")
		if err != nil {
			return sum, err
		}
		sum.seconds += u.seconds
	}
	return sum, nil
}

// dropCaches empties the page cache.
func dropCaches() error {
	syscall.Sync()
	return os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0)
}

// median of figures.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	if n := len(sorted); n%2 == 0 {
		return (sorted[n/2-1] + sorted[n/2]) / 2
	}
	return sorted[len(sorted)/2]
}

// round3 keeps tables readable.
func round3(v float64) float64 {
	short, _ := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 3, 64), 64)
	return short
}
