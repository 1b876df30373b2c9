package member

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"k8s.io/klog/v2"

	"github.com/berth-dev/berth/pkg/datadir"
	"github.com/berth-dev/berth/pkg/rebuild"
)

// While the API server does not answer, a member may join a Primary component
// that it can reach: that starts no history and asks nobody. It never bootstraps.

// errDetached ends a wait for the API server in favour of a Primary component.
var errDetached = errors.New("the API server does not answer, and a Primary component does")

// outage measures, by this process's own clock, how long the API has not answered.
type outage struct{ since time.Time }

func (o *outage) over() { o.since = time.Time{} }

func (o *outage) lasts() time.Duration {
	if o.since.IsZero() {
		o.since = time.Now()
	}
	return time.Since(o.since)
}

// detaches says whether to go on without the API server after an error of it.
func (m *Member) detaches(ctx context.Context, o *outage) bool {
	if o.lasts() < m.APIPatience || m.attached {
		return false
	}
	_, peers := m.primaryPeers(ctx)
	return len(peers) > 0
}

// primaryPeers asks the members at the addresses that the volume remembers for
// the history that they run in a Primary component.
func (m *Member) primaryPeers(ctx context.Context) (history string, peers []string) {
	addresses, err := datadir.ReadPeers(m.Volume.Peers())
	if err != nil {
		klog.FromContext(ctx).Info("Cannot read the members' last addresses", "err", err)
		return "", nil
	}
	for _, address := range addresses {
		if address == m.Address || !m.Answers(ctx, address) {
			continue
		}
		if uuid, primary := m.Primary(ctx, address); primary {
			history = uuid
			peers = append(peers, address)
		}
	}
	return history, peers
}

// examineDetached says what the volume is worth and whether that is enough to
// join without the API server.
func (m *Member) examineDetached(ctx context.Context) (report rebuild.Report, peers []string, err error) {
	examiner := m.examiner()
	look, err := examiner.Look(ctx)
	if err != nil {
		return report, nil, m.unread(ctx, err)
	}
	report = rebuild.Report{
		Ordinal: m.Ordinal, Pod: m.Pod, PodUID: m.PodUID, Start: m.NewUUID(), Node: m.Node, Address: m.Address,
		State: rebuild.Waiting, Position: datadir.Undefined, Evidence: asEvidence(look.Evidence),
	}
	// The evidence cannot be reported: it is kept before anything is changed.
	if err := keepReport(m.Volume, report); err != nil {
		return report, nil, err
	}
	assessment, err := examiner.Assess(ctx, look)
	if err != nil {
		return report, nil, m.unread(ctx, err)
	}
	report.Class, report.Position, report.Source, report.Findings = assessment.Class, assessment.Position, assessment.Source, assessment.Findings
	history, peers := m.primaryPeers(ctx)
	if why := whyAttached(report, history, peers); why != "" {
		return report, nil, errors.New(why)
	}
	klog.FromContext(ctx).Info("The API server does not answer: joining the Primary component at the members' last addresses",
		"class", report.Class, "position", report.Position, "peers", peers)
	return report, peers, nil
}

// whyAttached says why a member has to wait for the API server; empty when it
// need not.
func whyAttached(r rebuild.Report, history string, peers []string) string {
	lineage := r.Evidence.Lineage
	switch {
	case len(peers) == 0:
		return "no Primary component answers at the members' last addresses"
	case !r.Class.KeepsPosition():
		return fmt.Sprintf("the volume is %s: joining would overwrite it", r.Class)
	case r.Position.UUID != history:
		return fmt.Sprintf("the volume holds history %s, the Primary component runs %s", r.Position.UUID, history)
	case lineage == nil:
		return "the volume has no lineage"
	case r.Evidence.Promised > lineage.Newest().Attempt:
		return fmt.Sprintf("this member has agreed to attempt %d, of which it has not seen the end", r.Evidence.Promised)
	}
	return ""
}

// prepareDetached is Prepare without an API server. It leaves no hand-over: exec
// looks again, for the API server may be back.
func (m *Member) prepareDetached(ctx context.Context) error {
	_, _, err := m.examineDetached(ctx)
	if err != nil {
		return m.waitAttached(ctx, err, m.Prepare)
	}
	return nil
}

// launchDetached is Launch without an API server.
func (m *Member) launchDetached(ctx context.Context) error {
	report, peers, err := m.examineDetached(ctx)
	if err != nil {
		return m.waitAttached(ctx, err, m.Launch)
	}
	if err := writeReport(UnreportedFile(m.RunDir), report); err != nil {
		return err
	}
	if err := datadir.WriteGrastate(m.Volume.Data, report.Position, false); err != nil {
		return err
	}
	return m.replace(report, peers, "--wsrep-start-position="+report.Position.String())
}

// waitAttached goes back to waiting for the API server, and stays there.
func (m *Member) waitAttached(ctx context.Context, why error, again func(context.Context) error) error {
	var disturbed disturbance
	if errors.As(why, &disturbed) {
		return why
	}
	klog.FromContext(ctx).Info("This member has to wait for the API server", "reason", why)
	m.attached = true
	return again(ctx)
}

// keepReport writes a report beside the evidence that was moved aside.
func keepReport(v datadir.Volume, r rebuild.Report) error {
	return writeReport(filepath.Join(v.Berth(), "last-report.json"), r)
}
