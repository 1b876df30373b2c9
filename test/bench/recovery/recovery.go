package recovery

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/berth-dev/berth/pkg/innodb/page"
	"github.com/berth-dev/berth/pkg/innodb/position"
	"github.com/berth-dev/berth/test/corpus"
	"github.com/berth-dev/berth/test/figures"
)

// Plan says what to measure.
type Plan struct {
	// Work is a directory for the corpus; about three times the largest redo log
	// has to fit.
	Work string
	// Redo are sizes of the redo log after the checkpoint, in megabytes.
	Redo []int
	// Rounds of each directory; the median counts.
	Rounds int
	// Progress is told what is being done.
	Progress io.Writer
}

// DefaultPlan is the one that the project's figures come from.
func DefaultPlan(work string) Plan {
	return Plan{Work: work, Redo: []int{400, 800}, Rounds: 7, Progress: os.Stderr}
}

// Measure makes the directories and adds a row for each.
func Measure(ctx context.Context, p Plan, report *figures.Report) error {
	if p.Rounds < 1 {
		return fmt.Errorf("%d rounds: expected 1 or more", p.Rounds)
	}
	maker := &corpus.Maker{Root: p.Work}
	clean, err := p.make(ctx, maker, "stopped in order", 0)
	if err != nil {
		return err
	}
	cases := []subject{clean}
	for _, megabytes := range p.Redo {
		c, err := p.make(ctx, maker, fmt.Sprintf("killed with %d MB of redo", megabytes), int64(megabytes)<<20)
		if err != nil {
			return err
		}
		cases = append(cases, c)
	}
	for round := range p.Rounds {
		for i := range cases {
			fmt.Fprintf(p.Progress, "round %d of %d: %s\n", round+1, p.Rounds, cases[i].name)
			if err := cases[i].measure(ctx, p.Work); err != nil {
				return err
			}
		}
	}
	for _, c := range cases {
		report.Add("position, "+c.name, figures.F("redo_mb", c.redo>>20), figures.F("seconds_p50", median(c.native)),
			figures.F("wsrep_recover_seconds_p50", median(c.server)), figures.F(figures.Ratio, median(c.server)/median(c.native)))
	}
	return nil
}

// subject is a directory that is measured again and again; it is never changed.
type subject struct {
	name           string
	dir            corpus.Directory
	redo           int64 // bytes behind the checkpoint
	native, server []float64
}

// settings give a server a log that it does not empty, and a pool in which it
// can recover in one go.
var settings = []string{"innodb_log_file_size=2G", "innodb_buffer_pool_size=768M", "innodb_adaptive_flushing=OFF",
	"innodb_max_dirty_pages_pct=99", "innodb_flush_log_at_trx_commit=0"}

const recoveryPool = "768M"

// make makes a directory whose log has at least so many bytes behind its
// checkpoint; of 0 bytes it is one that was stopped in order.
func (p Plan) make(ctx context.Context, maker *corpus.Maker, name string, redo int64) (subject, error) {
	c := subject{name: name}
	formats, err := corpus.Named("full_crc32-16k")
	if err != nil {
		return c, err
	}
	fmt.Fprintf(p.Progress, "making a directory that was %s\n", name)
	const rows = 40000
	if redo == 0 {
		c.dir, err = maker.Clean(ctx, formats[0], "clean", rows, settings...)
	} else {
		c.dir, err = p.kill(ctx, maker, formats[0], fmt.Sprintf("killed-%d", redo>>20), rows, redo)
	}
	if err != nil {
		return c, err
	}
	c.dir.RecoveryPool = recoveryPool
	facts, err := position.Examine(ctx, position.Dirs{Data: c.dir.Data()}, &page.Buffers{})
	if err != nil {
		return c, err
	}
	if c.redo = int64(facts.Extent.End - facts.Extent.Checkpoint); c.redo < redo {
		return c, fmt.Errorf("%s: only %d bytes of redo", name, c.redo)
	}
	return c, nil
}

func (p Plan) kill(ctx context.Context, maker *corpus.Maker, format corpus.Format, name string, rows int, redo int64) (corpus.Directory, error) {
	d, err := maker.Fresh(ctx, format, name, settings...)
	if err != nil {
		return d, err
	}
	s, err := d.Start(ctx, "")
	if err != nil {
		return d, err
	}
	defer s.Kill()
	if err := s.Create(ctx, rows); err != nil {
		return d, err
	}
	load := s.Load(ctx, corpus.Shapes()[0], rows, 1)
	for grown := int64(0); grown < redo+redo/20; {
		select {
		case <-ctx.Done():
			return d, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
		if err := s.DB.QueryRowContext(ctx, "SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME = 'INNODB_CHECKPOINT_AGE'").Scan(&grown); err != nil {
			return d, fmt.Errorf("make %s: %w", name, err)
		}
	}
	s.Kill()
	return d, load.Wait()
}

// measure reads the position natively, and has a server recover a copy.
func (c *subject) measure(ctx context.Context, work string) error {
	scratch, err := c.dir.Copy(ctx, filepath.Join(work, "scratch"))
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch.Root)
	begin := time.Now()
	p, err := position.Read(ctx, position.Dirs{Data: c.dir.Data()})
	c.native = append(c.native, time.Since(begin).Seconds())
	if err != nil {
		return err
	}
	begin = time.Now()
	r, err := scratch.Recover(ctx)
	c.server = append(c.server, time.Since(begin).Seconds())
	if err != nil {
		return err
	}
	if p.Certainty != position.Exact || p.UUID != r.Position.UUID || p.Seqno != r.Position.Seqno {
		return fmt.Errorf("%s: read %s:%d (%s, %s), the server recovered %s", c.name, p.UUID, p.Seqno, p.Certainty, p.Reason, r.Position)
	}
	return nil
}

func median(values []float64) float64 {
	s := slices.Sorted(slices.Values(values))
	return s[len(s)/2]
}
