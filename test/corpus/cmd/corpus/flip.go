package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/test/corpus"
	"github.com/berth-dev/berth/test/corpus/attack"
	"github.com/berth-dev/berth/test/figures"
)

func flipCommand(o *options) *cobra.Command {
	var flips, rows int
	cmd := &cobra.Command{
		Use:   "bit-flips",
		Short: "Turn over single bits in used pages: how many are found, and why not the others",
		Long: `bit-flips turns over N bits, one at a time, in used pages of clean directories of all formats, and verifies the
whole directory after each. A miss is explained when the byte is one that nothing protects: behind the end of compressed
data, or outside what the format's checksum covers. It fails on a miss without an explanation.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runFlips(cmd.Context(), o, flips, rows) },
	}
	cmd.Flags().IntVar(&flips, "flips", 10000, "how many bits, over all formats")
	cmd.Flags().IntVar(&rows, "rows", 100, "rows of each table")
	return cmd
}

func runFlips(ctx context.Context, o *options, n, rows int) error {
	m, err := o.maker()
	if err != nil {
		return err
	}
	formats := corpus.Formats()
	each := (n + len(formats) - 1) / len(formats)
	results := make([]attack.Flips, len(formats))
	bar := progress(each*len(formats), "flip")
	err = o.each(ctx, len(formats), func(ctx context.Context, i int) error {
		d, err := m.Clean(ctx, formats[i], "flips-"+formats[i].Name, rows)
		if err != nil {
			return err
		}
		results[i], err = attack.RunFlips(ctx, d, each, o.seed+uint64(i), func() { bar.Add(1) })
		return errors.Join(err, os.RemoveAll(d.Root))
	})
	if err != nil {
		return err
	}
	report := figures.Report{Target: "bit-flips"}
	all := attack.Flips{Format: "all", Missed: map[string]int{}}
	for _, r := range results {
		addFlips(&report, r)
		all.Pages, all.Done, all.Detected = all.Pages+r.Pages, all.Done+r.Done, all.Detected+r.Detected
		all.Unexplained = append(all.Unexplained, r.Unexplained...)
		for why, count := range r.Missed {
			all.Missed[why] += count
		}
	}
	addFlips(&report, all)
	if err := report.Emit(os.Stdout, o.out); err != nil {
		return err
	}
	if len(all.Unexplained) > 0 {
		return fmt.Errorf("%d flips were missed without an explanation:\n  %s", len(all.Unexplained), strings.Join(all.Unexplained, "\n  "))
	}
	return nil
}

func addFlips(report *figures.Report, r attack.Flips) {
	var why []string
	harmless := 0
	for _, reason := range slices.Sorted(maps.Keys(r.Missed)) {
		why = append(why, fmt.Sprintf("%d %s", r.Missed[reason], reason))
		harmless += r.Missed[reason]
	}
	protected := r.Done - harmless
	report.Add(r.Format, figures.F("used_pages", r.Pages), figures.F("flips", r.Done), figures.F("found", r.Detected),
		figures.F("found_of_all", float64(r.Detected)/float64(max(1, r.Done))), figures.F("found_of_protected", float64(r.Detected)/float64(max(1, protected))),
		figures.F("missed_because", strings.Join(why, "; ")))
}
