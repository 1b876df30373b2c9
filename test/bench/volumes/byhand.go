package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/berth-dev/berth/test/figures"
)

// mostBehind is how long free space may take to show a change, in seconds.
const mostBehind = 2.0

// byHand measures how soon the agent shows what somebody does to the volume group:
// a disk taken out, and put in again.
func (b *bed) byHand(ctx context.Context, r *report, o options) error {
	var behind []float64
	for range o.rounds {
		for _, command := range []string{"vgreduce", "vgextend"} {
			seconds, err := b.shown(ctx, command)
			if err != nil {
				return fmt.Errorf("%s by hand: %w", command, err)
			}
			fmt.Fprintf(os.Stderr, "%s by hand: free space %.2f s later\n", command, seconds)
			behind = append(behind, seconds)
		}
	}
	r.behind("free space that shows vgreduce or vgextend by hand", behind)
	return nil
}

// shown does something by hand and returns the seconds from its end until the
// node's capacity shows it.
func (b *bed) shown(ctx context.Context, command string) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := b.settled(ctx); err != nil {
		return 0, err
	}
	before, _, err := b.capacity(ctx)
	if err != nil {
		return 0, err
	}
	if _, err := b.Exec(ctx, node, "lvm", command, "-q", "berth", "/dev/ubdc"); err != nil {
		return 0, err
	}
	begin := time.Now()
	err = b.until(ctx, "capacity shows it", often, func() (bool, error) {
		seqno, _, err := b.capacity(ctx)
		return seqno > before, err
	})
	return time.Since(begin).Seconds(), err
}

// behind adds a case of free space that follows changes: the slowest counts.
func (r *report) behind(name string, seconds []float64) {
	r.row(fmt.Sprintf("%s, the slowest, over %.0f s", name, mostBehind), slices.Max(seconds)/mostBehind, 1,
		figures.F("seconds_max", round3(slices.Max(seconds))), figures.F("seconds_p50", round3(median(seconds))), figures.F("changes", len(seconds)))
}
