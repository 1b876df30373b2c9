package main

import (
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// sample is what one pod cost in one round.
type sample struct {
	round         int // in which it was taken
	pods          int
	wall, cpu     time.Duration
	bytes, allocs float64
	batched       float64 // share of the pods that took the place an equal pod's cycle had left for them
}

// measure runs f, which schedules so many pods, and says what one of them cost.
func measure(pods int, f func()) sample {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	cpu, wall := cpuTime(), time.Now()
	f()
	elapsed, used := time.Since(wall), cpuTime()-cpu
	runtime.ReadMemStats(&after)
	return sample{
		pods:   pods,
		wall:   elapsed / time.Duration(pods),
		cpu:    used / time.Duration(pods),
		bytes:  float64(after.TotalAlloc-before.TotalAlloc) / float64(pods),
		allocs: float64(after.Mallocs-before.Mallocs) / float64(pods),
	}
}

// cpuTime is what this process has used of the processors.
func cpuTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func median(values []float64) float64 { return quantile(values, 0.5) }

func mean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}

func quantile(values []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	at := q * float64(len(sorted)-1)
	low := int(at)
	if low+1 == len(sorted) {
		return sorted[low]
	}
	return sorted[low] + (at-float64(low))*(sorted[low+1]-sorted[low])
}

// of collects one figure of every sample.
func of(samples []sample, figure func(sample) float64) []float64 {
	values := make([]float64, len(samples))
	for i, s := range samples {
		values[i] = figure(s)
	}
	return values
}

func wallMicros(s sample) float64 { return float64(s.wall.Nanoseconds()) / 1e3 }
func cpuMicros(s sample) float64  { return float64(s.cpu.Nanoseconds()) / 1e3 }
