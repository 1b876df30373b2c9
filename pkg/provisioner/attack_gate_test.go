package provisioner

import (
	"context"
	"fmt"
	"sync"

	"github.com/berth-dev/berth/pkg/lvm"
)

// gate is between an agent and the rest of the world. It counts lvm's and the
// API's calls together, and has one of them go wrong. Calls that come side by side
// pass one by one.
type gate struct {
	machine *machine
	mu      sync.Mutex
	ctx     context.Context // of the act
	end     context.CancelFunc
	calls   int
	at      int // 0: none
	fault   fault
	dead    bool
	during  func() // before the call goes on
}

type fault int

const (
	failBefore fault = iota // fails, without effect
	failAfter               // has its effect, then fails
	hangBefore              // does not end before the act's deadline
	hangAfter               // has its effect, and does not end before the act's deadline
	dieBefore               // the process is killed
	dieAfter                // the process is killed when the call had its effect
	goOn                    // something else happens meanwhile
	faults
)

var faultNames = [faults]string{"fails", "commits and fails", "hangs", "commits and hangs", "kills", "commits and kills", "goes on"}

// arm makes ready for an act in which a call goes wrong.
func (g *gate) arm(at int, f fault) context.Context {
	g.calls, g.at, g.fault, g.during = 0, at, f, nil
	g.ctx, g.end = context.WithCancel(context.Background())
	return g.ctx
}

// disarm ends the act and says whether the call was met.
func (g *gate) disarm() (met bool) {
	g.end()
	met = g.at > 0 && g.calls >= g.at
	g.at, g.during, g.ctx = 0, nil, nil
	return met
}

// meet counts a call; do has its effect. An error is what the caller sees instead
// of an answer.
func (g *gate) meet(ctx context.Context, do func()) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.calls++
	if g.dead || ctx != nil && ctx.Err() != nil {
		return errCut
	}
	if g.calls != g.at {
		do()
		return nil
	}
	if g.during != nil {
		g.during()
	}
	switch g.fault {
	case failAfter, hangAfter, dieAfter, goOn:
		do()
	}
	switch g.fault {
	case goOn:
		return nil
	case hangBefore, hangAfter:
		g.end() // as if its time had passed
	case dieBefore, dieAfter:
		g.dead = true
		g.end()
	}
	return errCut
}

// Run implements lvm.Runner.
func (g *gate) Run(ctx context.Context, site, name string, args ...string) (out []byte, err error) {
	cut := g.meet(ctx, func() { out, err = g.machine.disk.Run(ctx, site, name, args...) })
	if cut != nil {
		return nil, fmt.Errorf("%s: %s: %w: %w", site, name, lvm.ErrUnknown, cut)
	}
	return out, err
}
