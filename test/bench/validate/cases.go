package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/berth-dev/berth/pkg/innodb"
	"github.com/berth-dev/berth/test/figures"
)

// bench collects times by lane, round by round.
type bench struct {
	options
	directories
	seconds  map[string][]float64
	resident int64
	passes   []float64 // bytes from disk over size, of cold runs
	checked  int64     // bytes, of all files
	position innodb.Report
}

func (o options) run(ctx context.Context) error {
	if o.rounds < 1 {
		return fmt.Errorf("--rounds %d: expected 1 or more", o.rounds)
	}
	d, err := o.prepare(ctx)
	if err != nil {
		return err
	}
	b := bench{options: o, directories: d, seconds: map[string][]float64{}}
	for round := range o.rounds {
		fmt.Fprintf(os.Stderr, "round %d of %d\n", round+1, o.rounds)
		for _, part := range []func(context.Context) error{b.cold, b.warm, b.positions, b.rated} {
			if err := part(ctx); err != nil {
				return err
			}
		}
	}
	return b.report()
}

// measured notes a run of the program.
func (b *bench) measured(lane string, u used) {
	b.seconds[lane] = append(b.seconds[lane], u.seconds)
	b.resident = max(b.resident, u.resident)
}

func (b *bench) whole(ctx context.Context, lane string, args ...string) (used, error) {
	u, report, err := b.validate(ctx, b.large.Data(), args...)
	if err == nil && (!report.Sound() || report.Bytes < b.bytes) {
		err = fmt.Errorf("%s: %d bytes were checked of at least %d: %s", lane, report.Bytes, b.bytes, report.Summary())
	}
	b.measured(lane, u)
	b.checked = report.Bytes
	return u, err
}

func (b *bench) cold(ctx context.Context) error {
	if err := dropCaches(); err != nil {
		return err
	}
	u, err := dd(ctx, b.tables)
	if err != nil {
		return err
	}
	b.seconds["cold dd"] = append(b.seconds["cold dd"], u.seconds)
	if err := dropCaches(); err != nil {
		return err
	}
	u, err = b.whole(ctx, "cold")
	b.passes = append(b.passes, float64(u.fromDisk)/float64(b.bytes))
	return err
}

// innochecksums are the ways in which the server's own program is run.
var innochecksums = []struct {
	name      string
	processes int
	target    float64
}{{"innochecksum", 1, 2}, {"innochecksum a core", runtime.NumCPU(), 1.2}}

// warm follows cold, which has read all files.
func (b *bench) warm(ctx context.Context) error {
	if _, err := dd(ctx, b.tables); err != nil {
		return err
	}
	for _, l := range innochecksums {
		u, err := innochecksum(ctx, b.tables, l.processes)
		if err != nil {
			return err
		}
		b.seconds[l.name] = append(b.seconds[l.name], u.seconds)
		if _, err := b.whole(ctx, "warm beside "+l.name); err != nil {
			return err
		}
	}
	return nil
}

// positions reads the position of the crashed directory, and lets the server
// recover a copy of it: both have to say the same.
func (b *bench) positions(ctx context.Context) error {
	copied, err := b.crashed.Copy(ctx, filepath.Join(filepath.Dir(b.crashed.Root), "copy"))
	if err != nil {
		return err
	}
	defer os.RemoveAll(copied.Root)
	u, report, err := b.validate(ctx, copied.Data(), "--level", "quick")
	if err != nil {
		return err
	}
	b.measured("position", u)
	b.position = report
	begin := time.Now()
	recovered, err := copied.Recover(ctx)
	if err != nil {
		return err
	}
	b.seconds["recover"] = append(b.seconds["recover"], time.Since(begin).Seconds())
	if p := report.Position; p == nil || p.UUID != recovered.Position.UUID || p.Seqno != recovered.Position.Seqno {
		return fmt.Errorf("position %+v, and the server's recovery says %s", report.Position, recovered.Position)
	}
	u, _, err = b.validate(ctx, b.large.Data(), "--level", "quick")
	b.measured("position clean", u)
	return err
}

// rate is in bytes a second: a part of what the disk can do.
const rate = 200 << 20

// rated checks while another process reads from the same disk.
func (b *bench) rated(ctx context.Context) error {
	if err := dropCaches(); err != nil {
		return err
	}
	reading, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		for reading.Err() == nil {
			if _, _, err := run(reading, "dd", "if="+b.tables[len(b.tables)-1], "of=/dev/null", "bs=1M", "iflag=direct"); err != nil && reading.Err() == nil {
				ended <- err
				return
			}
		}
		ended <- nil
	}()
	_, err := b.whole(ctx, "rated", "--rate", fmt.Sprint(rate))
	stop()
	return errors.Join(err, <-ended)
}

// report prints the medians and says which targets were missed.
func (b *bench) report() error {
	p := func(lane string) float64 { return median(b.seconds[lane]) }
	r := figures.Report{Target: "bench-validate"}
	var missed []error
	row := func(name string, ratio, target float64, atLeast bool, more ...figures.Figure) {
		ok := ratio >= target
		if !atLeast {
			ok = ratio <= target
		}
		if !ok {
			missed = append(missed, fmt.Errorf("%s: ratio %.3g, target %.3g", name, ratio, target))
		}
		r.Add(name, append(more, figures.F(figures.Ratio, round3(ratio)), figures.F("target", target))...)
	}
	beside := func(ours, other string) []figures.Figure {
		return []figures.Figure{figures.F("seconds_p50", round3(p(ours))), figures.F("other_seconds_p50", round3(p(other))),
			figures.F("bytes_per_second", round3(float64(b.bytes)/p(ours)))}
	}
	for _, l := range innochecksums {
		ours := "warm beside " + l.name
		row(ours, p(l.name)/p(ours), l.target, true, beside(ours, l.name)...)
	}
	row("cold beside dd", p("cold dd")/p("cold"), 0.95, true, beside("cold", "cold dd")...)
	row("one pass: read from disk over size", median(b.passes), 1.05, false)
	row("memory over 64 MB", float64(b.resident)/(64*mb), 1, false, figures.F("resident_mb", b.resident/mb))
	redo := float64(b.position.Position.End-b.position.Position.Checkpoint) / mb
	row(fmt.Sprintf("position after kill -9, %.0f MB of redo", redo), p("recover")/p("position"), 4, true,
		figures.F("seconds_p50", round3(p("position"))), figures.F("other_seconds_p50", round3(p("recover"))))
	row("position of a clean directory over 50 ms", p("position clean")/0.05, 1, false, figures.F("seconds_p50", round3(p("position clean"))))
	measured := float64(b.checked) / p("rated") / rate
	row("rate while another process reads, least", measured, 0.9, true, figures.F("bytes_per_second", round3(measured*rate)))
	row("rate while another process reads, most", measured, 1.1, false)
	if err := r.Emit(os.Stdout, b.out); err != nil {
		return err
	}
	return errors.Join(missed...)
}
