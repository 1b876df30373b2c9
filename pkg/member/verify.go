package member

import (
	"context"
	"slices"
	"time"

	"k8s.io/klog/v2"

	"github.com/berth-dev/berth/pkg/datadir"
	"github.com/berth-dev/berth/pkg/innodb"
	"github.com/berth-dev/berth/pkg/rebuild"
)

// verification reads every page while the member waits. A chosen member does not
// start before it has ended; a joiner does not wait for it.
type verification struct {
	done   chan struct{}
	report innodb.Report
	took   time.Duration
	err    error
}

// progressEvery is the time between two lines about a long check.
const progressEvery = 10 * time.Second

// verify starts the check of a volume that may start a cluster and was not
// checked yet; nil when there is nothing to check.
func (m *Member) verify(ctx context.Context, me rebuild.Report) *verification {
	if !me.Class.MayLead() || me.Check.Level == string(innodb.Checksum) {
		return nil
	}
	v := &verification{done: make(chan struct{})}
	go func() {
		defer close(v.done)
		begin, said := time.Now(), time.Now()
		v.report, v.err = m.examiner().Verify(ctx, innodb.Checksum, func(done, total int64) {
			if time.Since(said) > progressEvery {
				said = time.Now()
				klog.FromContext(ctx).Info("Checking the pages", "megabytes", done>>20, "of", total>>20)
			}
		})
		v.took = time.Since(begin)
	}()
	return v
}

// ended is closed when the check is over; nil, which never is, when there is none.
func (v *verification) ended() <-chan struct{} {
	if v == nil {
		return nil
	}
	return v.done
}

// judge takes the result into the member's report: damage makes it CORRUPT.
func (v *verification) judge(ctx context.Context, me *rebuild.Report) {
	me.Check = checkOf(v.report)
	me.Phases = append(me.Phases, rebuild.Phase{Name: "pages", Milliseconds: v.took.Milliseconds()})
	klog.FromContext(ctx).Info("Pages checked", "summary", v.report.Summary(), "seconds", v.took.Seconds())
	findings := datadir.FindingsOf(v.report)
	if datadir.AnyFatal(findings) {
		me.Class = datadir.Corrupt
	}
	for _, f := range findings {
		if slices.Contains(me.Findings, f) {
			continue // the quick check told of it
		}
		me.Findings = append(me.Findings, f)
		klog.FromContext(ctx).Info("Finding", "file", f.File, "expected", f.Expected, "found", f.Found, "do", f.Do)
	}
}

func checkOf(r innodb.Report) rebuild.Check {
	return rebuild.Check{Level: string(r.Level), Verdict: string(r.Verdict), Pages: r.Pages, NotVerified: r.NotVerified, Bytes: r.Bytes}
}
