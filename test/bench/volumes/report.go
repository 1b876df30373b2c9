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
	var err error
	if o.build, err = filepath.Abs(o.build); err != nil {
		return err
	}
	r := &report{Report: figures.Report{Target: "bench-volumes"}}
	for _, n := range o.volumes {
		fmt.Fprintf(os.Stderr, "finding %d volumes again\n", n)
		if err := o.adopt(ctx, r, n); err != nil {
			return fmt.Errorf("find %d volumes again: %w", n, err)
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
