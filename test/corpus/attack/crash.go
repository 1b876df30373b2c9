package attack

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/berth-dev/berth/pkg/innodb/position"
	"github.com/berth-dev/berth/test/corpus"
)

// CrashRun is one crash: what Berth says before the server's recovery, what the
// server's recovery says, and what Berth says after it.
type CrashRun struct {
	corpus.Crash
	// Done is how much of the load the server had acknowledged.
	Done   int64
	Before Judgement
	Server corpus.Recovered
	After  Judgement
	// Alarms are findings on a directory to which nothing happened but a crash.
	Alarms []string
	// Faults are answers about the position that are not as they must be.
	Faults []string
}

// RunCrash lets a server crash, and compares.
func RunCrash(ctx context.Context, maker *corpus.Maker, c corpus.Crash, name string) (CrashRun, error) {
	run := CrashRun{Crash: c}
	d, done, err := maker.Killed(ctx, c, name)
	if err != nil {
		return run, err
	}
	run.Done = done
	if run.Before, err = Judge(ctx, d, false); err != nil {
		return run, fmt.Errorf("judge %s before recovery: %w", name, err)
	}
	if run.Server, err = d.Recover(ctx); err != nil {
		return run, err
	}
	if run.Server.Exit != 0 || !run.Server.Found {
		return run, fmt.Errorf("recover %s: the server ended with %d\n%s", name, run.Server.Exit, run.Server.Log)
	}
	if run.After, err = Judge(ctx, d, true); err != nil {
		return run, fmt.Errorf("judge %s after recovery: %w", name, err)
	}
	for _, alarm := range falseAlarms(d, run.Before.Report) {
		run.Alarms = append(run.Alarms, "before recovery: "+alarm)
	}
	for _, alarm := range falseAlarms(d, run.After.Report) {
		run.Alarms = append(run.Alarms, "after recovery: "+alarm)
	}
	if !run.After.Report.Recovered {
		run.Alarms = append(run.Alarms, "after recovery: taken for a directory that was not recovered")
	}
	run.comparePositions()
	return run, nil
}

// comparePositions holds Berth's positions against the server's.
func (r *CrashRun) comparePositions() {
	fault := func(format string, args ...any) { r.Faults = append(r.Faults, fmt.Sprintf(format, args...)) }
	before, after, server := r.Before.Place, r.After.Place, r.Server.Position
	if r.Format.EncryptedRedo {
		if before.Certainty != position.Unknown {
			fault("a position from an encrypted log: %+v", before)
		}
		return
	}
	switch {
	case before.Certainty == position.Unknown:
		fault("unknown before recovery: %s", before.Reason)
	case before.UUID != server.UUID:
		fault("uuid %s, the server says %s", before.UUID, server.UUID)
	case before.Seqno > server.Seqno:
		fault("%d (%s) is higher than the server's %d", before.Seqno, before.Certainty, server.Seqno)
	case before.Seqno < server.Seqno && (!r.Binlog || before.Certainty == position.Exact):
		fault("%d (%s) is lower than the server's %d", before.Seqno, before.Certainty, server.Seqno)
	case !r.Binlog && before.Certainty != position.Exact:
		fault("not exact without a binary log: %s", before.Reason)
	}
	if end := r.Server.End; end != 0 && before.Certainty != position.Unknown && end != uint64(before.End) {
		fault("log ends at %d, the server says %d", before.End, end)
	}
	if after.Certainty != position.Exact || after.UUID != server.UUID || after.Seqno != server.Seqno {
		fault("after recovery %s:%d (%s %s), the server said %s", after.UUID, after.Seqno, after.Certainty, after.Reason, server)
	}
}

// Crashes chooses n crashes that go through all formats and shapes; every third
// has a binary log.
func Crashes(n int, seed uint64) []corpus.Crash {
	formats, shapes := corpus.Formats(), corpus.Shapes()
	var crashes []corpus.Crash
	for i := range n {
		// A step of one shape more on each round brings every format to every shape.
		c := corpus.RandomCrash(formats[i%len(formats)], shapes[(i+i/len(formats))%len(shapes)], seed+uint64(i))
		c.Binlog = i%3 == 2
		crashes = append(crashes, c)
	}
	return crashes
}

// Name is a name for the directory of the n-th crash.
func Name(n int, c corpus.Crash) string {
	return filepath.Join("crash", fmt.Sprintf("%03d-%s-%s", n, c.Format.Name, c.Shape.Name))
}
