package member

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"k8s.io/klog/v2"

	"github.com/berth-dev/berth/pkg/datadir"
	"github.com/berth-dev/berth/pkg/galeracluster"
	"github.com/berth-dev/berth/pkg/rebuild"
)

// Identity says which member this process brings up, and where it runs.
type Identity struct {
	Namespace string
	Cluster   string // name of the StatefulSet and of the GaleraCluster object
	Ordinal   int
	Pod       string
	PodUID    string
	Address   string // IP address of the pod
	Node      string
	Claim     string
}

// Store keeps the cluster's state; *galeracluster.Store is one.
type Store interface {
	Update(ctx context.Context, change func(*rebuild.Cluster) bool) (rebuild.Cluster, error)
	Watch(ctx context.Context) <-chan rebuild.Cluster
}

// Workload reads the StatefulSet and the claim and writes events;
// *galeracluster.Workload is one.
type Workload interface {
	Shape(ctx context.Context, name string) (galeracluster.Shape, error)
	VolumeName(ctx context.Context, claim string) (string, error)
	Event(ctx context.Context, pod, podUID, kind, code, text string) error
	ClusterEvent(ctx context.Context, name, kind, code, text string) error
}

// Member is one start of one member's container.
type Member struct {
	Identity
	Volume   datadir.Volume
	Server   Server
	Store    Store
	Workload Workload
	// Answers says whether a server accepts connections on the group port of an
	// address.
	Answers func(ctx context.Context, address string) bool
	// Outside says whether the sidecar at an address answers that its server is in no
	// Primary component, or not yet. Silence is no such answer.
	Outside func(ctx context.Context, address string) bool
	// RunDir is a directory of the pod that does not outlive it; the hand-over
	// lies there and never on the volume.
	RunDir string
	// NewUUID makes names: of this start, and of a new cluster's history.
	NewUUID func() string

	// Primary asks the member at an address for the history that it runs in a Primary
	// component. Silence is no such answer.
	Primary func(ctx context.Context, address string) (history string, primary bool)
	// APIPatience is how long the API server may not answer before a member joins a
	// Primary component without it.
	APIPatience time.Duration

	lock     *Lock
	attached bool // waits for the API server, whatever comes
}

// retryPause is the time between two tries after an error of the API.
const retryPause = time.Second

// Prepare gathers the evidence, reports, waits until this member is told to
// join or to bootstrap, and writes the hand-over.
func (m *Member) Prepare(ctx context.Context) error {
	err := m.prepare(ctx)
	if errors.Is(err, errDetached) {
		return m.prepareDetached(ctx)
	}
	return err
}

func (m *Member) prepare(ctx context.Context) error {
	if err := m.open(ctx); err != nil {
		return err
	}
	report, err := m.gather(ctx)
	if err != nil {
		return err
	}
	w := &rebuild.Waiter{Me: report}
	if _, _, err := m.await(ctx, w); err != nil {
		return err
	}
	return writeHandover(m.RunDir, w.Me)
}

// Launch uses the hand-over, or gathers anew when there is none, and replaces
// this process by the server. It returns only with an error.
func (m *Member) Launch(ctx context.Context) error {
	if err := clearEnd(m.RunDir); err != nil {
		return err
	}
	err := m.launch(ctx)
	if errors.Is(err, errDetached) {
		return m.launchDetached(ctx)
	}
	return err
}

func (m *Member) launch(ctx context.Context) error {
	if err := m.open(ctx); err != nil {
		return err
	}
	report, found, err := takeHandover(m.RunDir, m.PodUID)
	if err != nil {
		return err
	}
	if !found {
		klog.FromContext(ctx).Info("No hand-over: the container was started again, so the volume is looked at again")
		if report, err = m.gather(ctx); err != nil {
			return err
		}
	}
	return m.start(ctx, report)
}

// open takes the volume's lock and refuses a StatefulSet that cannot work.
func (m *Member) open(ctx context.Context) error {
	if err := os.MkdirAll(m.Volume.Berth(), 0o770); err != nil {
		return fmt.Errorf("make Berth's directory on the volume: %w", err)
	}
	if m.lock == nil {
		if err := m.takeLock(ctx); err != nil {
			return err
		}
	}
	return m.refuseOneByOne(ctx)
}

func (m *Member) takeLock(ctx context.Context) error {
	lock, err := TakeLock(ctx, m.Volume.Lock(), func() {
		m.announce(ctx, warning, rebuild.Reason{Code: rebuild.VolumeBusy,
			Text: "another process holds the lock of this volume: waiting until it has ended"})
	})
	if err != nil {
		return err
	}
	m.lock = lock
	return nil
}

func (m *Member) refuseOneByOne(ctx context.Context) error {
	shape, err := retry(ctx, m, "read the StatefulSet", func() (galeracluster.Shape, error) { return m.Workload.Shape(ctx, m.Cluster) })
	if err != nil {
		return err
	}
	if shape.OneByOne {
		reason := rebuild.Reason{Code: rebuild.OrderedReady, Text: fmt.Sprintf(
			"StatefulSet %s starts its %d pods one by one, but members have to report together: set `podManagementPolicy: Parallel` (the StatefulSet has to be made again; --cascade=orphan keeps its pods)",
			m.Cluster, shape.Replicas)}
		m.announce(ctx, warning, reason)
		return errors.New(reason.String())
	}
	return nil
}

// gather looks, reports what it saw, recovers, validates and reports again.
func (m *Member) gather(ctx context.Context) (rebuild.Report, error) {
	log := klog.FromContext(ctx)
	volume, err := retry(ctx, m, "read the claim", func() (string, error) { return m.Workload.VolumeName(ctx, m.Claim) })
	if err != nil {
		return rebuild.Report{}, err
	}
	report := rebuild.Report{
		Ordinal: m.Ordinal, Pod: m.Pod, PodUID: m.PodUID, Start: m.NewUUID(), Node: m.Node, Address: m.Address,
		Volume: volume, State: rebuild.Recovering, Position: datadir.Undefined,
	}
	watch := stopwatch{report: &report, last: time.Now()}

	examiner := m.examiner()
	look, err := examiner.Look(ctx)
	if err != nil {
		return report, m.unread(ctx, err)
	}
	evidence := look.Evidence
	report.Evidence = asEvidence(evidence)
	if look.Native.IsReal() {
		report.Native = &look.Native
	}
	report.Check = checkOf(look.Check)
	watch.lap("look")
	log.Info("Evidence", "grastate", evidence.Grastate.State, "position", evidence.Grastate.Position,
		"safeToBootstrap", evidence.Grastate.SafeToBootstrap, "sstMarkers", evidence.Markers, "runningTraces", evidence.Traces, "cache", evidence.Cache, "lineage", evidence.Lineage, "promised", evidence.Promised)
	if err := m.publish(ctx, report); err != nil {
		return report, err
	}

	assessment, err := examiner.Assess(ctx, look)
	if err != nil {
		return report, m.unread(ctx, err)
	}
	watch.lap("assess")
	report.Class, report.Position, report.Source = assessment.Class, assessment.Position, assessment.Source
	report.Findings, report.State = assessment.Findings, rebuild.Waiting
	log.Info("Report", "class", report.Class, "position", report.Position, "source", report.Source, "phases", report.Phases)
	for _, f := range report.Findings {
		log.Info("Finding", "file", f.File, "expected", f.Expected, "found", f.Found, "do", f.Do)
	}
	return report, m.publish(ctx, report)
}

// publish puts the report into the object, however long that takes.
func (m *Member) publish(ctx context.Context, report rebuild.Report) error {
	_, err := retry(ctx, m, "report", func() (rebuild.Cluster, error) {
		shape, err := m.Workload.Shape(ctx, m.Cluster)
		if err != nil {
			return rebuild.Cluster{}, err
		}
		return m.Store.Update(ctx, func(c *rebuild.Cluster) bool {
			c.Replicas, c.FirstOrdinal = shape.Replicas, shape.FirstOrdinal
			report.Seen = time.Now().UTC().Format(time.RFC3339)
			report.Observed = report.Evidence.Committed
			c.Put(report)
			return true
		})
	})
	return err
}

// unread tells people about a volume that cannot be read or recovered.
func (m *Member) unread(ctx context.Context, err error) error {
	reason := rebuild.Reason{Code: rebuild.UnsoundData, Text: err.Error()}
	var disturbed disturbance
	if errors.As(err, &disturbed) {
		reason.Code = rebuild.RecoveryDisturbed
	}
	m.announce(ctx, warning, reason)
	return err
}

func (m *Member) examiner() Examiner {
	return Examiner{Volume: m.Volume, Owner: datadir.Owner{Namespace: m.Namespace, Cluster: m.Cluster, Ordinal: m.Ordinal}, Server: m.Server, RunDir: m.RunDir}
}

// Kinds of events.
const (
	normal  = "Normal"
	warning = "Warning"
)

// eventTimeout bounds how long telling people may hold the member up.
const eventTimeout = 5 * time.Second

// announce writes a log line and, as well as it can, an event on the pod.
func (m *Member) announce(ctx context.Context, kind string, reason rebuild.Reason) {
	log := klog.FromContext(ctx)
	log.Info(reason.Text, "code", reason.Code)
	ctx, cancel := context.WithTimeout(ctx, eventTimeout)
	defer cancel()
	if err := m.Workload.Event(ctx, m.Pod, m.PodUID, kind, string(reason.Code), reason.Text); err != nil {
		log.V(2).Info("No event written", "err", err)
	}
}

func asEvidence(e datadir.Evidence) rebuild.Evidence {
	return rebuild.Evidence{Grastate: e.Grastate, View: e.View, Markers: e.Markers, Traces: e.Traces, Cache: e.Cache,
		Lineage: e.Lineage, Promised: e.Promised, Committed: e.Committed, Notes: e.Notes}
}

// stopwatch writes the durations of phases into a report.
type stopwatch struct {
	report *rebuild.Report
	last   time.Time
}

func (s *stopwatch) lap(name string) {
	now := time.Now()
	s.report.Phases = append(s.report.Phases, rebuild.Phase{Name: name, Milliseconds: now.Sub(s.last).Milliseconds()})
	s.last = now
}

// retry repeats a call to the API until it succeeds: an error of the API is no
// evidence and only ever means to wait, or to join a Primary component.
func retry[T any](ctx context.Context, m *Member, what string, call func() (T, error)) (T, error) {
	var away outage
	for {
		value, err := call()
		if err == nil {
			return value, nil
		}
		klog.FromContext(ctx).Info("The API does not answer as hoped; waiting and trying again", "call", what, "err", err)
		if m.detaches(ctx, &away) {
			return value, errDetached
		}
		select {
		case <-ctx.Done():
			return value, fmt.Errorf("%s: %w", what, errors.Join(ctx.Err(), err))
		case <-time.After(retryPause):
		}
	}
}

// exists says whether there is a file; an error is not an answer.
func exists(path string) (bool, error) {
	_, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
