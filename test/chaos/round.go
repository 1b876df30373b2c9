package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/berth-dev/berth/pkg/rebuild"
	"github.com/berth-dev/berth/test/drill"
	"github.com/berth-dev/berth/test/loopback"
)

// Round is one disaster and what came of it.
type Round struct {
	Seed   int
	Attack string
	// Primary and Synced are the seconds from the last blow, when all pods had been
	// started again, until one member was Synced and stayed so, and until all were.
	Primary, Synced float64
	// Dark says that for some time no member was Synced: only then does Primary
	// measure a recovery.
	Dark bool
	// Decisions are the seconds from the last report to each grant of the round, as
	// the API server told them.
	Decisions  []float64
	Act        drill.Act
	Concurrent int // servers that began a group while another one ran
	Avoidable  int // full transfers that could have been incremental
	Faults     []string

	moves []string
	marks []int
}

// play plays the round of a seed, on a new cluster where there is none or its
// time is over. A cluster that did not recover is not used again.
func (l *lane) play(ctx context.Context, seed int) (Round, error) {
	if l.cluster == nil || l.played >= l.Fresh {
		if err := l.up(ctx); err != nil {
			return Round{}, err
		}
	}
	l.played++
	kinds := Attacks()
	kind := kinds[seed%len(kinds)]
	r := Round{Seed: seed, Attack: kind.Name, marks: marks(l.cluster), Act: drill.Act{Name: fmt.Sprintf("round %d (%s)", seed, kind.Name), Interrupted: true}}
	before, decided := len(l.cluster.Runs()), len(l.decided.Made())
	l.write(ctx)
	defer l.quiet()
	if err := l.acknowledged(ctx, warmUp); err != nil {
		return r, err
	}
	a := &attack{lane: l, Rand: source(seed), start: time.Now()}
	err := kind.strike(a, ctx)
	r.moves = a.moves
	if err != nil {
		return r, err
	}
	if err := l.recover(ctx, &r); err != nil {
		r.Faults = append(r.Faults, fmt.Sprintf("%s: %v; %s", r.Act.Name, err, l.verdict(ctx)))
	}
	if err := l.examine(ctx, &r, before); err != nil {
		return r, err
	}
	for _, d := range l.decided.Made()[decided:] {
		r.Decisions = append(r.Decisions, d.Took.Seconds())
	}
	l.Progress.Stage("round %d, %s: Primary %.1fs, Synced %.1fs, %d rows, %d faults", seed, kind.Name, r.Primary, r.Synced, r.Act.RowsAcknowledged, len(r.Faults))
	if len(r.Faults) == 0 {
		if l.KeepAll {
			err = l.keep(r)
		}
		return r, err
	}
	for _, fault := range r.Faults {
		l.Progress.Stage("  %s", fault)
	}
	err = l.keep(r)
	l.down()
	return r, err
}

// source gives all choices of a round.
func source(seed int) *rand.Rand { return rand.New(rand.NewPCG(uint64(seed), 0)) }

// recover waits until all members are Synced and take writes, and measures it.
func (l *lane) recover(ctx context.Context, r *Round) error {
	start := time.Now()
	err := eventually(ctx, l.Limit, func() error {
		var missing []string
		synced := 0
		for _, m := range l.cluster.Members {
			server, err := drill.AskServer(ctx, &net.Dialer{}, m.Address())
			switch {
			case err != nil:
				missing = append(missing, m.Name()+" does not answer")
			case !server.Synced:
				missing = append(missing, m.Name()+" is not Synced")
			default:
				synced++
			}
		}
		if synced == 0 {
			r.Primary, r.Dark = time.Since(start).Seconds(), true
		}
		if len(missing) > 0 {
			return fmt.Errorf("wait for Synced members: %s", strings.Join(missing, ", "))
		}
		return nil
	})
	if err != nil {
		return err
	}
	r.Synced = time.Since(start).Seconds()
	r.Act.FirstSyncedAfter, r.Act.AllSyncedAfter = r.Primary, r.Synced
	return l.acknowledged(ctx, warmUp)
}

// examine fills in what the judge compares, and judges.
func (l *lane) examine(ctx context.Context, r *Round, before int) error {
	l.quiet()
	all := l.cluster.Runs()
	runs := all[before:]
	r.Act.RowsAcknowledged = l.ledger.Acknowledged()
	state, err := l.cluster.State(ctx)
	if err != nil {
		return err
	}
	r.Act.Rebuild = slices.ContainsFunc(runs, func(run loopback.Run) bool { return run.Bootstrapped && run.Ended.IsZero() })
	for _, run := range runs {
		if run.Attempt > 0 {
			r.Act.GrantsConsumed++
		}
	}
	for _, m := range l.cluster.Members {
		record, err := l.record(ctx, r, state, m, runs)
		if err != nil {
			return err
		}
		r.Act.Members = append(r.Act.Members, record)
	}
	r.judge(all, before, l.history)
	return nil
}

// record is what the round did to one member.
func (l *lane) record(ctx context.Context, r *Round, state rebuild.Cluster, m *loopback.Member, runs []loopback.Run) (drill.MemberRecord, error) {
	home := drill.Place{Node: m.Address(), LVUUID: m.Volume}
	record := drill.MemberRecord{Member: m.Name(), Before: home, After: home, Seqno: -1, Transfer: drill.Stayed}
	if report, found := state.Member(m.Ordinal); found {
		record.Class, record.UUID, record.Seqno, record.Position = string(report.Class), report.Position.UUID, report.Position.Seqno, report.Position.String()
		grant, granted := state.LastGrant()
		record.Later = !granted || !slices.ContainsFunc(grant.Reports, func(g rebuild.Report) bool { return g.Is(*report) })
	}
	for _, run := range runs {
		if run.Ordinal == m.Ordinal && !run.Connected.IsZero() {
			record.Transfer = drill.ReadTransfer(run.Facts)
		}
	}
	server, err := drill.AskServer(ctx, &net.Dialer{}, m.Address())
	if err != nil || !server.Synced {
		return record, nil // a cluster that did not recover: that is a fault already
	}
	r.Act.ClusterUUID, record.OldestCached = server.ClusterUUID, server.OldestCached
	record.Rows, record.RowsLost, err = l.ledger.Check(ctx, m.Address())
	return record, err
}

// verdict is what a person would be told.
func (l *lane) verdict(ctx context.Context) string {
	state, err := l.cluster.State(ctx)
	if err != nil {
		return err.Error()
	}
	return rebuild.Review(state).Reason.String()
}

func (r Round) story() string {
	return fmt.Sprintf("seed %d, %s\n\n%s\n\n%s\n", r.Seed, r.Attack, strings.Join(r.moves, "\n"), strings.Join(r.Faults, "\n"))
}
