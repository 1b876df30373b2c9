package member

import (
	"context"
	"fmt"

	"k8s.io/klog/v2"

	"github.com/berth-dev/berth/pkg/datadir"
	"github.com/berth-dev/berth/pkg/innodb"
	"github.com/berth-dev/berth/pkg/innodb/position"
)

// Examiner finds out what a volume is worth. It knows no cluster.
type Examiner struct {
	Volume datadir.Volume
	Owner  datadir.Owner
	Server Server
	RunDir string
}

// Look is what can be seen without writing anything.
type Look struct {
	Evidence datadir.Evidence
	// Native is the position that rollback segments and redo log hold: at most the
	// one that the server will recover. Undefined when it cannot be read.
	Native datadir.Position
	// Reason says why the native position is not exact or not known.
	Reason string
	// Findings are those of the quick check of the files.
	Findings []datadir.Finding
	// Check is empty for a volume that evidence alone decides.
	Check innodb.Report
}

// disturbance is an error of the surroundings (lock, permission, space, memory,
// device) that says nothing about the data; the container starts again.
type disturbance struct{ error }

func (d disturbance) Unwrap() error { return d.error }

// Look reads the evidence, the position and the structure of the files.
func (x Examiner) Look(ctx context.Context) (Look, error) {
	look := Look{Native: datadir.Undefined}
	evidence, err := datadir.Look(x.Volume)
	if err != nil {
		return look, err
	}
	look.Evidence = evidence
	if evidence.Decided(x.Owner) {
		return look, nil
	}
	if look.Check, err = x.Verify(ctx, innodb.Quick, nil); err != nil {
		return look, err
	}
	switch p := look.Check.Position; {
	case p == nil:
		look.Reason = "a server runs on the directory"
	case p.Certainty == position.Unknown:
		look.Reason = p.Reason
	default:
		look.Reason, look.Native = p.Reason, datadir.Position{UUID: p.UUID, Seqno: p.Seqno}
	}
	look.Findings = datadir.FindingsOf(look.Check)
	return look, nil
}

// Preview says what the volume is worth as far as that can be told without the
// server's recovery; not certain when only that can tell.
func (l Look) Preview(owner datadir.Owner) (a datadir.Assessment, certain bool) {
	if l.Evidence.Decided(owner) || datadir.AnyFatal(l.Findings) || !l.Evidence.NeedsRecovery() {
		return l.Evidence.Assess(owner, l.Native, nil, l.Findings), true
	}
	a = l.Evidence.Assess(owner, datadir.Undefined, &datadir.Recovery{Found: true, Position: l.Native}, l.Findings)
	if a.Source == datadir.FromRecovery {
		a.Source = datadir.FromFiles
	}
	return a, false
}

// Assess has the server recover where only it knows the position, and says what
// the volume is worth. Recovery runs only when the files are there without which
// it would make new ones.
func (x Examiner) Assess(ctx context.Context, look Look) (datadir.Assessment, error) {
	if a, certain := look.Preview(x.Owner); certain {
		return a, nil
	}
	klog.FromContext(ctx).Info("The server was not stopped in order: it recovers its position now", "atLeast", look.Native)
	recovery, err := x.Server.Recover(ctx, x.RunDir)
	if err != nil {
		return datadir.Assessment{}, disturbance{err}
	}
	// Only now zero pages and the dictionary can be judged.
	check, err := x.Verify(ctx, innodb.Quick, nil)
	if err != nil {
		return datadir.Assessment{}, err
	}
	return look.Evidence.Assess(x.Owner, look.Native, &recovery, datadir.FindingsOf(check)), nil
}

// Verify checks the pages of a data directory that nobody else uses.
func (x Examiner) Verify(ctx context.Context, level innodb.Level, progress func(done, total int64)) (innodb.Report, error) {
	report, err := innodb.Verify(ctx, x.Volume.Data, innodb.Options{Level: level, Progress: progress})
	if err != nil {
		return report, disturbance{fmt.Errorf("check the pages: %w", err)}
	}
	for _, f := range report.Findings {
		if f.Verdict == innodb.Environment {
			return report, disturbance{fmt.Errorf("check the pages: %s", f)}
		}
	}
	return report, nil
}
