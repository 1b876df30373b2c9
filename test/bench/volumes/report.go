package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/berth-dev/berth/test/figures"
)

// report collects rows and what they miss.
type report struct {
	figures.Report
	missed []error
}

// row adds a case whose ratio may be at most target.
func (r *report) row(name string, ratio, target float64, more ...figures.Figure) {
	if !(ratio <= target) {
		r.missed = append(r.missed, fmt.Errorf("%s: ratio %.3g, target %.3g", name, ratio, target))
	}
	r.Add(name, append(more, figures.F(figures.Ratio, round3(ratio)), figures.F("target", target), figures.F("met", ratio <= target))...)
}

// note adds a case without a target.
func (r *report) note(name string, more ...figures.Figure) { r.Add(name, more...) }

func (o options) run(ctx context.Context) error {
	if o.rounds < 1 || o.bursts < 1 || o.claims < 1 {
		return errors.New("--rounds, --bursts and --claims: give 1 or more")
	}
	var err error
	if o.build, err = filepath.Abs(o.build); err != nil {
		return err
	}
	r := &report{Report: figures.Report{Target: "bench-volumes"}}
	for _, part := range o.parts {
		measure, known := map[string]func(context.Context, *report) error{"loop": o.onLoop, "bed": o.onBed}[part]
		if !known {
			return fmt.Errorf("--parts: %q is not loop or bed", part)
		}
		if err := measure(ctx, r); err != nil {
			return fmt.Errorf("%s: %w", part, err)
		}
	}
	if err := r.Emit(os.Stdout, o.out); err != nil {
		return err
	}
	return errors.Join(r.missed...)
}

// round3 keeps tables readable.
func round3(v float64) float64 {
	short, _ := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 3, 64), 64)
	return short
}
