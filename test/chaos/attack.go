package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/berth-dev/berth/test/loopback"
)

// attack is one round's disaster under way. All its choices come from the seed.
type attack struct {
	*lane
	*rand.Rand
	moves []string // what was done, for people
	start time.Time
}

// Attack is a kind of disaster.
type Attack struct {
	Name   string
	strike func(*attack, context.Context) error
}

// Attacks are all kinds, in the order in which consecutive seeds take them.
func Attacks() []Attack {
	return []Attack{
		{Name: "all", strike: (*attack).all},
		{Name: "one", strike: (*attack).one},
		{Name: "one after the other", strike: (*attack).staggered},
		{Name: "in a recovery", strike: (*attack).again},
		{Name: "two", strike: (*attack).two},
		{Name: "right after the grant", strike: (*attack).granted},
		{Name: "in a full transfer", strike: (*attack).transfer},
		{Name: "the donor of two", strike: (*attack).donor},
		{Name: "galera-init", strike: (*attack).waiting},
		{Name: "forced deletion, old process alive", strike: (*attack).usurped},
		{Name: "all, old snapshot of the object", strike: (*attack).snapshot},
		{Name: "API server away", strike: (*attack).outage},
		{Name: "some stopped in order", strike: (*attack).stopped},
	}
}

func (a *attack) did(format string, args ...any) {
	a.moves = append(a.moves, fmt.Sprintf("%6.2fs  ", time.Since(a.start).Seconds())+fmt.Sprintf(format, args...))
}

// pause waits a random time up to a limit.
func (a *attack) pause(ctx context.Context, limit time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(time.Duration(a.Int64N(int64(limit)))):
	}
}

// shuffled gives the members in a random order.
func (a *attack) shuffled() []*loopback.Member {
	members := append([]*loopback.Member(nil), a.cluster.Members...)
	a.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
	return members
}

func (a *attack) kill(m *loopback.Member) {
	a.did("kill %s", m.Name())
	m.Kill()
}

// revive starts a member that was killed, as another pod, as the same pod on a
// machine that was switched on again, or as a container that is started again.
func (a *attack) revive(m *loopback.Member) error {
	switch a.IntN(3) {
	case 0:
		a.did("new pod %s", m.Name())
		return m.NewPod()
	case 1:
		a.did("reboot %s", m.Name())
		m.Reboot()
	default:
		a.did("restart the container of %s", m.Name())
		m.Restart()
	}
	return nil
}

// reviveAll starts members in this order, some time apart.
func (a *attack) reviveAll(ctx context.Context, members []*loopback.Member, apart time.Duration) error {
	for _, m := range members {
		if err := a.revive(m); err != nil {
			return err
		}
		a.pause(ctx, apart)
	}
	return nil
}

// killAll ends all members in a random order, some time apart.
func (a *attack) killAll(ctx context.Context, apart time.Duration) {
	for i, m := range a.shuffled() {
		if i > 0 {
			a.pause(ctx, apart)
		}
		a.kill(m)
	}
}

// some gives a random part of the members, one at least.
func (a *attack) some() []*loopback.Member {
	members := a.shuffled()
	return members[:1+a.IntN(len(members))]
}

// await waits for a text in the log of any of some members and returns who said
// it; nil when nobody did in time.
func (a *attack) await(ctx context.Context, limit time.Duration, members []*loopback.Member, marks []int, text string) *loopback.Member {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	said := make(chan *loopback.Member, len(members))
	for _, m := range members {
		go func() {
			if m.Journal.Await(ctx, marks[m.Ordinal], text) == nil {
				said <- m
			}
		}()
	}
	select {
	case m := <-said:
		return m
	case <-ctx.Done():
		return nil
	}
}

// marks are the present ends of all journals, by ordinal.
func marks(c *loopback.Cluster) []int {
	var ends []int
	for _, m := range c.Members {
		ends = append(ends, m.Journal.Mark())
	}
	return ends
}
