package member

import (
	"context"
	"fmt"

	"k8s.io/klog/v2"

	"github.com/berth-dev/berth/pkg/datadir"
	"github.com/berth-dev/berth/pkg/innodb"
	"github.com/berth-dev/berth/pkg/innodb/position"
)

// disturbance is an error of the surroundings (lock, permission, space, memory,
// device) that says nothing about the data; the container starts again.
type disturbance struct{ error }

func (d disturbance) Unwrap() error { return d.error }

// assess says what the volume is worth. Nothing is written before the server's
// own recovery, and that runs only when the files without which it would make
// new ones are there.
func (m *Member) assess(ctx context.Context, evidence datadir.Evidence, watch *stopwatch) (datadir.Assessment, error) {
	owner := datadir.Owner{Namespace: m.Namespace, Cluster: m.Cluster, Ordinal: m.Ordinal}
	if evidence.Decided(owner) {
		return evidence.Assess(owner, datadir.Undefined, nil, nil), nil
	}
	missing, err := datadir.CheckFiles(m.Volume.Data)
	if err != nil {
		return datadir.Assessment{}, disturbance{err}
	}
	native, err := ReadPosition(ctx, m.Volume.Data)
	if err != nil {
		return datadir.Assessment{}, err
	}
	check, err := CheckPages(ctx, m.Volume.Data, innodb.Quick)
	if err != nil {
		return datadir.Assessment{}, err
	}
	watch.lap("check")
	if findings := append(missing, datadir.FindingsOf(check)...); len(findings) > 0 {
		return evidence.Assess(owner, native, nil, findings), nil
	}
	if !evidence.NeedsRecovery() {
		return evidence.Assess(owner, native, nil, nil), nil
	}
	klog.FromContext(ctx).Info("The server was not stopped in order: it recovers its position now", "atLeast", native)
	recovery, err := m.Server.Recover(ctx, m.RunDir)
	if err != nil {
		return datadir.Assessment{}, disturbance{err}
	}
	watch.lap("recover")
	// Only now zero pages and the dictionary can be judged.
	if check, err = CheckPages(ctx, m.Volume.Data, innodb.Quick); err != nil {
		return datadir.Assessment{}, err
	}
	watch.lap("check again")
	return evidence.Assess(owner, native, &recovery, datadir.FindingsOf(check)), nil
}

// ReadPosition reads the position without a server and without writing. It is
// at most the one that the server will recover; Undefined when it cannot be read.
func ReadPosition(ctx context.Context, dir string) (datadir.Position, error) {
	p, err := position.Read(ctx, position.Dirs{Data: dir})
	if err != nil {
		return datadir.Undefined, disturbance{fmt.Errorf("read the position: %w", err)}
	}
	if p.Certainty == position.Unknown {
		klog.FromContext(ctx).V(2).Info("The position cannot be read without the server", "reason", p.Reason)
		return datadir.Undefined, nil
	}
	return datadir.Position{UUID: p.UUID, Seqno: p.Seqno}, nil
}

// CheckPages checks a data directory that nobody else uses.
func CheckPages(ctx context.Context, dir string, level innodb.Level) (innodb.Report, error) {
	report, err := innodb.Verify(ctx, dir, innodb.Options{Level: level})
	if err != nil {
		return report, disturbance{fmt.Errorf("check the pages: %w", err)}
	}
	if report.Verdict == innodb.Environment {
		for _, f := range report.Findings {
			if f.Verdict == innodb.Environment {
				return report, disturbance{fmt.Errorf("check the pages: %s", f)}
			}
		}
	}
	return report, nil
}
