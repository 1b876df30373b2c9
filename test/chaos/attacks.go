package chaos

import (
	"context"
	"time"

	"github.com/berth-dev/berth/test/loopback"
)

// one kills a member and lets it come back.
func (a *attack) one(ctx context.Context) error {
	m := a.shuffled()[0]
	a.kill(m)
	a.pause(ctx, 3*time.Second)
	return a.revive(m)
}

// two kills two members: the third stays, and is no primary component any more.
func (a *attack) two(ctx context.Context) error {
	members := a.shuffled()[:2]
	for _, m := range members {
		a.kill(m)
		a.pause(ctx, time.Second)
	}
	return a.reviveAll(ctx, members, 2*time.Second)
}

// all kills everybody at nearly the same moment.
func (a *attack) all(ctx context.Context) error {
	a.killAll(ctx, 300*time.Millisecond)
	return a.reviveAll(ctx, a.shuffled(), time.Second)
}

// staggered kills one member, lets the others commit more, kills these one after
// the other and has the stalest come back first.
func (a *attack) staggered(ctx context.Context) error {
	members := a.shuffled()
	a.kill(members[0])
	if err := a.acknowledged(ctx, warmUp); err != nil {
		return err
	}
	for _, m := range members[1:] {
		a.pause(ctx, time.Second)
		a.kill(m)
	}
	return a.reviveAll(ctx, members, 2*time.Second)
}

// again kills some members while they come back, once or twice.
func (a *attack) again(ctx context.Context) error {
	if err := a.all(ctx); err != nil {
		return err
	}
	for range 1 + a.IntN(2) {
		a.pause(ctx, 6*time.Second)
		if err := a.strikeAgain(ctx, a.some()); err != nil {
			return err
		}
	}
	return nil
}

// strikeAgain kills members that come back, and lets them come back again.
func (a *attack) strikeAgain(ctx context.Context, members []*loopback.Member) error {
	for _, m := range members {
		a.kill(m)
	}
	return a.reviveAll(ctx, members, 500*time.Millisecond)
}

// granted kills the member that was allowed to bootstrap as soon as it has used
// the grant up, or a moment later; sometimes others with it.
func (a *attack) granted(ctx context.Context) error {
	from := marks(a.cluster)
	if err := a.all(ctx); err != nil {
		return err
	}
	chosen := a.await(ctx, a.Limit, a.cluster.Members, from, "Grant consumed")
	if chosen == nil {
		return nil // the wait for Synced members says what is wrong
	}
	a.did("%s has consumed the grant", chosen.Name())
	if a.IntN(2) == 0 {
		a.pause(ctx, time.Second)
	}
	victims := []*loopback.Member{chosen}
	for _, m := range a.cluster.Members {
		if m != chosen && a.IntN(3) == 0 {
			victims = append(victims, m)
		}
	}
	return a.strikeAgain(ctx, victims)
}

// transfer gives a member an empty volume and kills somebody while it is filled:
// the joiner, another one, or all.
func (a *attack) transfer(ctx context.Context) error {
	members := a.shuffled()
	joiner, other := members[0], members[1]
	from := marks(a.cluster)
	a.kill(joiner)
	a.did("empty the volume of %s", joiner.Name())
	if err := joiner.Blank(); err != nil {
		return err
	}
	if err := joiner.NewPod(); err != nil {
		return err
	}
	if a.await(ctx, a.Limit, members[:1], from, "WSREP: Running: 'wsrep_sst_") == nil {
		return nil
	}
	a.did("%s receives a full transfer", joiner.Name())
	a.pause(ctx, 4*time.Second)
	switch a.IntN(3) {
	case 0:
		return a.strikeAgain(ctx, []*loopback.Member{joiner})
	case 1:
		return a.strikeAgain(ctx, []*loopback.Member{other})
	}
	return a.strikeAgain(ctx, members)
}

// donor gives two members empty volumes and kills the third one, which alone has
// the data, while they are filled: two servers that join nobody live on.
func (a *attack) donor(ctx context.Context) error {
	members := a.shuffled()
	donor, joiners := members[0], members[1:]
	from := marks(a.cluster)
	for _, m := range joiners {
		a.did("stop %s, empty its volume", m.Name())
		m.Terminate()
		if err := m.Blank(); err != nil {
			return err
		}
	}
	for _, m := range joiners {
		if err := m.NewPod(); err != nil {
			return err
		}
	}
	for _, m := range joiners {
		if a.await(ctx, a.Limit, []*loopback.Member{m}, from, "WSREP: Running: 'wsrep_sst_") == nil {
			return nil // the wait for Synced members says what is wrong
		}
		a.did("%s receives a full transfer", m.Name())
	}
	a.pause(ctx, 2*time.Second)
	return a.strikeAgain(ctx, []*loopback.Member{donor})
}

// waiting kills galera-init at one of the moments that it announces.
func (a *attack) waiting(ctx context.Context) error {
	moments := []string{`] "Evidence"`, `] "Report"`, `] "Verdict"`, `] "No hand-over`, `] "Joining"`}
	from := marks(a.cluster)
	if err := a.all(ctx); err != nil {
		return err
	}
	for range 2 {
		m := a.shuffled()[0]
		moment := moments[a.IntN(len(moments))]
		if a.await(ctx, 5*time.Second, []*loopback.Member{m}, from, moment) == nil {
			continue // this member's way did not lead there
		}
		a.did("%s said %s", m.Name(), moment[2:])
		a.pause(ctx, 300*time.Millisecond)
		if err := a.strikeAgain(ctx, []*loopback.Member{m}); err != nil {
			return err
		}
		from = marks(a.cluster)
	}
	return nil
}

// usurped makes another pod for a member whose processes live on, sometimes
// while the others die.
func (a *attack) usurped(ctx context.Context) error {
	members := a.shuffled()
	a.did("delete the pod of %s by force; its processes live on", members[0].Name())
	end := members[0].Usurp()
	a.pause(ctx, 2*time.Second)
	if a.IntN(2) == 0 {
		if err := a.strikeAgain(ctx, members[1:]); err != nil {
			return err
		}
		a.pause(ctx, 4*time.Second)
	}
	a.did("the old processes of %s end", members[0].Name())
	end()
	return nil
}

// snapshot kills all, puts the object back to a moment at which all waited, and
// has the stalest member come back alone at first.
func (a *attack) snapshot(ctx context.Context) error {
	members := a.shuffled()
	a.kill(members[0])
	if err := a.acknowledged(ctx, warmUp); err != nil {
		return err
	}
	for _, m := range members[1:] {
		a.kill(m)
	}
	a.did("restore the object from a moment at which all waited")
	if err := a.earlier.restore(ctx); err != nil {
		return err
	}
	if err := a.revive(members[0]); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
	case <-time.After(4 * time.Second):
	}
	return a.reviveAll(ctx, members[1:], time.Second)
}

// outage kills some members while the API server is away and lets them come back
// before it does.
func (a *attack) outage(ctx context.Context) error {
	a.did("stop the API server")
	a.cluster.Control.StopAPI()
	members := a.some()
	for _, m := range members {
		a.kill(m)
	}
	if err := a.reviveAll(ctx, members, time.Second); err != nil {
		return err
	}
	a.pause(ctx, 3*time.Second)
	if err := a.cluster.Control.StartAPI(ctx); err != nil {
		return err
	}
	a.did("the API server is back")
	return nil
}

// stopped stops some members in order and kills the others.
func (a *attack) stopped(ctx context.Context) error {
	members := a.shuffled()
	orderly := 1 + a.IntN(len(members))
	for i, m := range members {
		if i < orderly {
			a.did("stop %s", m.Name())
			m.Terminate()
		} else {
			a.kill(m)
		}
		a.pause(ctx, time.Second)
	}
	return a.reviveAll(ctx, a.shuffled(), time.Second)
}
