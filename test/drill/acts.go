package drill

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-dev/berth/pkg/rebuild"
)

// Install applies everything to a new cluster and starts the clients.
func (d *Drill) Install(ctx context.Context) (Act, error) {
	act := Act{Name: "install", Rebuild: true, Install: true}
	start := time.Now()
	if err := d.apply(ctx); err != nil {
		return act, err
	}
	var err error
	if act.FirstSyncedAfter, act.AllSyncedAfter, err = d.waitSynced(ctx, start); err != nil {
		return act, err
	}
	d.write(ctx)
	if err := d.waitAcknowledged(ctx, rowsBefore, writesLimit); err != nil {
		return act, err
	}
	return act, d.finish(ctx, &act, snapshot{})
}

const (
	// rowsBefore is how many commits a client has before a disaster.
	rowsBefore = 200
	// rowsBetween is how many more it has between the first power cut and the
	// second, so that the members' positions differ.
	rowsBetween = 30
)

// Disaster is a loss of power and how it ends. Zero values are the plain one:
// nodes go one after the other, and all of them come back at once.
type Disaster struct {
	Name string
	// AtOnce cuts the power of all nodes at the same moment, so that no member
	// sees another one leave.
	AtOnce bool
	// Quiet stops the clients before, so that all members hold the same.
	Quiet bool
	// Between is called when the first node is off and the clients write on with the
	// others; may be nil.
	Between func(ctx context.Context) error
	// Loss is what is lost besides while the power is off; may be nil.
	Loss func(ctx context.Context) error
	// Return switches the nodes on again, in its own way; nil switches them all on.
	// It is called with the places of the members' volumes.
	Return func(ctx context.Context, places map[string]Place) error
}

// PowerCut cuts the power of all nodes, seconds apart while the clients write,
// deletes the StatefulSet, its pods and its claims, and switches everything on.
func (d *Drill) PowerCut(ctx context.Context) (Act, error) {
	return d.Suffer(ctx, Disaster{Name: "power cut, workload deleted", Loss: d.deleteWorkload})
}

// PowerCutAndWipe does the same, and the API server forgets everything.
func (d *Drill) PowerCutAndWipe(ctx context.Context) (Act, error) {
	return d.Suffer(ctx, Disaster{Name: "power cut, API wiped", Loss: func(ctx context.Context) error {
		d.Progress.Stage("wipe the API server's memory")
		return d.cluster.WipeAPI(ctx)
	}})
}

// Suffer plays a disaster to its end: all members Synced again.
func (d *Drill) Suffer(ctx context.Context, x Disaster) (Act, error) {
	act := Act{Name: x.Name, Rebuild: true}
	before, err := d.begin(ctx)
	if err != nil {
		return act, err
	}
	if x.Quiet {
		if err := d.quiet(ctx, before.places); err != nil {
			return act, err
		}
	}
	if x.AtOnce {
		d.Progress.Stage("cut the power of all nodes at once")
		err = d.cluster.PowerOff(d.Nodes...)
	} else {
		err = d.cutPower(ctx, before.places, x.Between)
	}
	if err != nil {
		return act, err
	}
	if x.Loss != nil {
		if err := x.Loss(ctx); err != nil {
			return act, err
		}
	}
	start := time.Now()
	if err := d.comeBack(ctx, x, before.places); err != nil {
		return act, err
	}
	if x.Quiet {
		d.write(ctx)
	}
	if act.FirstSyncedAfter, act.AllSyncedAfter, err = d.waitSynced(ctx, start); err != nil {
		return act, err
	}
	return act, d.finish(ctx, &act, before)
}

// quiet stops the clients, lets every member apply what they wrote and puts it
// on the disks.
func (d *Drill) quiet(ctx context.Context, places map[string]Place) error {
	d.Progress.Stage("stop the clients")
	d.stop()
	for name, place := range places {
		pods, err := d.observe.pods(ctx)
		if err != nil {
			return err
		}
		if _, lost, err := d.ledger.Check(ctx, pods[name].Status.PodIP); err != nil || lost > 0 {
			return fmt.Errorf("%s lacks %d rows before the power cut (%v)", name, lost, err)
		}
		if _, err := d.cluster.Exec(ctx, place.Node, "sync"); err != nil {
			return err
		}
	}
	return nil
}

// comeBack switches the nodes on and applies the manifests.
func (d *Drill) comeBack(ctx context.Context, x Disaster, places map[string]Place) error {
	d.Progress.Stage("power on")
	var err error
	if x.Return != nil {
		err = x.Return(ctx, places)
	} else {
		err = d.cluster.PowerOn(ctx, d.Nodes...)
	}
	if err != nil {
		return err
	}
	if d.AfterPowerOn != nil {
		if err := d.AfterPowerOn(ctx); err != nil {
			return err
		}
	}
	return d.apply(ctx)
}

// snapshot is what an act compares the end with.
type snapshot struct {
	places  map[string]Place
	attempt int64             // of the newest grant
	starts  map[string]string // pod UID and container start of every member's report
}

// begin lets the clients write and notes how everything is.
func (d *Drill) begin(ctx context.Context) (snapshot, error) {
	d.write(ctx)
	if err := d.waitAcknowledged(ctx, rowsBefore, writesLimit); err != nil {
		return snapshot{}, err
	}
	places, err := d.observe.places(ctx, d.Nodes)
	if err != nil {
		return snapshot{}, err
	}
	state, err := d.observe.state(ctx)
	if err != nil {
		return snapshot{}, fmt.Errorf("read GaleraCluster: %w", err)
	}
	s := snapshot{places: places, starts: map[string]string{}}
	if grant, found := state.LastGrant(); found {
		s.attempt = grant.Attempt
	}
	for _, report := range state.Members {
		s.starts[report.Pod] = report.PodUID + report.Start
	}
	return s, nil
}

// cutPower ends the node of one member, lets the remaining two commit more, and
// ends these one after the other. Which member is cut first, and so is the
// stalest, follows the seed: by default member 0, which a careless decision
// would take.
func (d *Drill) cutPower(ctx context.Context, places map[string]Place, between func(context.Context) error) error {
	for i := range replicas {
		name := member((d.Seed + i) % replicas)
		node := places[name].Node
		if node == "" {
			return fmt.Errorf("cut power: no node holds a volume of %s", name)
		}
		d.Progress.Stage("cut the power of %s (%s)", node, name)
		if err := d.cluster.PowerOff(node); err != nil {
			return err
		}
		if i == 0 {
			// The others first have to agree that it is gone.
			if err := d.waitAcknowledged(ctx, rowsBetween, writesLimit); err != nil {
				return err
			}
			if between != nil {
				if err := between(ctx); err != nil {
					return err
				}
			}
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(3 * time.Second):
		}
	}
	// Nodes without a member lose power too.
	return d.cluster.PowerOff(d.Nodes...)
}

// deleteWorkload deletes what somebody in a hurry deletes. The nodes are off, so
// nobody ends the pods in an orderly way.
func (d *Drill) deleteWorkload(ctx context.Context) error {
	d.Progress.Stage("delete the StatefulSet, its pods and its claims")
	for _, args := range [][]string{
		{"delete", "statefulset", statefulSet, "-n", namespace, "--cascade=orphan"},
		{"delete", "pods", "--all", "-n", namespace, "--force", "--grace-period=0"},
		{"delete", "pvc", "--all", "-n", namespace, "--wait=false"},
	} {
		if err := d.kubectl(ctx, args...); err != nil {
			return err
		}
	}
	return d.eventually(ctx, 30*time.Second, func(ctx context.Context) error {
		claims, err := d.observe.client.CoreV1().PersistentVolumeClaims(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return fmt.Errorf("list claims: %w", err)
		}
		if len(claims.Items) > 0 {
			return fmt.Errorf("%d claims are still there", len(claims.Items))
		}
		return nil
	})
}

// KillServer kills one member's server while the clients write: its container
// starts again, and no init container runs.
func (d *Drill) KillServer(ctx context.Context) (Act, error) {
	return d.endure(ctx, "one server killed", func(ctx context.Context, before snapshot) error {
		name := member(d.Seed % replicas)
		d.Progress.Stage("kill mariadbd of %s on %s", name, before.places[name].Node)
		if _, err := d.cluster.Exec(ctx, before.places[name].Node, "pkill", "-KILL", "-x", "mariadbd"); err != nil {
			return err
		}
		return d.eventually(ctx, 2*time.Minute, func(ctx context.Context) error {
			state, err := d.observe.state(ctx)
			if err != nil {
				return fmt.Errorf("read GaleraCluster: %w", err)
			}
			if report, found := state.Member(d.Seed % replicas); !found || report.PodUID+report.Start == before.starts[name] {
				return fmt.Errorf("%s has not reported since its server was killed", name)
			}
			return nil
		})
	})
}

// Endure plays something that leaves a primary component running all the time.
// The ordeal is called with the places of the members' volumes.
func (d *Drill) Endure(ctx context.Context, name string, ordeal func(context.Context, map[string]Place) error) (Act, error) {
	return d.endure(ctx, name, func(ctx context.Context, before snapshot) error { return ordeal(ctx, before.places) })
}

func (d *Drill) endure(ctx context.Context, name string, ordeal func(context.Context, snapshot) error) (Act, error) {
	act := Act{Name: name}
	before, err := d.begin(ctx)
	if err != nil {
		return act, err
	}
	start := time.Now()
	if err := ordeal(ctx, before); err != nil {
		return act, err
	}
	if _, act.AllSyncedAfter, err = d.waitSynced(ctx, start); err != nil {
		return act, err
	}
	act.FirstSyncedAfter = act.AllSyncedAfter // somebody was Synced all the time
	return act, d.finish(ctx, &act, before)
}

// finish ends the clients and records what became of every member.
func (d *Drill) finish(ctx context.Context, act *Act, before snapshot) error {
	// The rebuilt cluster takes writes again before it is looked at.
	if err := d.waitAcknowledged(ctx, rowsBetween, writesLimit); err != nil {
		return err
	}
	d.stop()
	d.Progress.Stage("compare rows, homes and logs")
	act.RowsAcknowledged = d.ledger.Acknowledged()
	state, err := d.observe.state(ctx)
	if err != nil {
		return fmt.Errorf("read GaleraCluster: %w", err)
	}
	reports := state.Members
	for _, grant := range state.Grants {
		if grant.Attempt <= before.attempt || !grant.Consumed {
			continue
		}
		act.GrantsConsumed++
		act.Granted, act.Why = grant.Pod, fmt.Sprintf("%s, from seqno %d", grant.Rule, grant.Position.Seqno)
		reports = append(decidedOn(grant.Reports, before.starts), state.Members...)
	}
	after, err := d.observe.places(ctx, d.Nodes)
	if err != nil {
		return err
	}
	pods, err := d.observe.pods(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for i := range replicas {
		name := member(i)
		m := MemberRecord{Member: name, Before: before.places[name], After: after[name], Seqno: -1}
		if at := slices.IndexFunc(reports, func(r rebuild.Report) bool { return r.Ordinal == i }); at >= 0 {
			r := reports[at]
			m.Class, m.UUID, m.Seqno, m.Position = string(r.Class), r.Position.UUID, r.Position.Seqno, r.Position.String()
		}
		errs = append(errs, d.askServer(ctx, act, &m, pods[name].Status.PodIP))
		if now, found := state.Member(i); found && now.PodUID+now.Start == before.starts[name] {
			m.Transfer = Stayed
		}
		act.Members = append(act.Members, m)
	}
	return errors.Join(errs...)
}

// decidedOn leaves out the reports of members that were away when it was decided,
// which are those of their former lives, and of those whose position was not known
// then. A proof excused them, and they reported later.
func decidedOn(reports []rebuild.Report, former map[string]string) []rebuild.Report {
	return slices.DeleteFunc(slices.Clone(reports), func(r rebuild.Report) bool {
		return r.State == rebuild.Recovering || r.PodUID+r.Start == former[r.Pod]
	})
}

// askServer fills in what only a member's own server knows.
func (d *Drill) askServer(ctx context.Context, act *Act, m *MemberRecord, address string) error {
	s, err := AskServer(ctx, d.cluster, address)
	if err != nil {
		return err
	}
	act.ClusterUUID, m.OldestCached = s.ClusterUUID, s.OldestCached
	if m.Rows, m.RowsLost, err = d.ledger.Check(ctx, address); err != nil {
		return err
	}
	log, err := d.observe.log(ctx, m.Member)
	if err != nil {
		return err
	}
	m.Transfer = ReadTransfer(log)
	return nil
}
