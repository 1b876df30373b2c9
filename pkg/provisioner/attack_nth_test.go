package provisioner

import (
	"context"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes/fake"

	"github.com/berth-dev/berth/pkg/lvm"
	"github.com/berth-dev/berth/pkg/volume"
)

// path is something that the agent does in calls of lvm and of the API, each of
// which can go wrong.
type path struct {
	before func(w *world) // without faults
	do     func(w *world)
	calls  int // at least so many: else the test would show little
	// want is the state of the claim's volume afterwards; "" is no volume.
	want volume.State
}

const theClaim = "data-galera-0"

func paths() map[string]path {
	return map[string]path{
		"create":                     {claimed, serve, 10, volume.Ready},
		"publish after the API lost": {and(lived, wiped), pass, 5, volume.Ready},
		"claim before the PV":        {and(lived, wiped, claimed), serve, 4, volume.Ready},
		"reserve":                    {and(lived, unclaimed), pass, 3, volume.Ready},
		"grow":                       {and(lived, wantsMore), pass, 10, volume.Ready},
		"grow before publish":        {and(lived, wiped, claimedMore), serve, 10, volume.Ready},
		"delete":                     {and(lived, deleted), deletes, 8, volume.Trash},
		"purge":                      {and(lived, deleted, deletes, late), and(pass, pass), 6, ""},
		"undelete too late":          {and(lived, deleted, deletes, late, pass), undelete, 6, ""},
		"undelete":                   {and(lived, deleted, deletes, wiped), undelete, 3, volume.Ready},
	}
}

// TestEveryCallGoesWrongOnce: for every path, every call of lvm and of the API on
// it, and every way in which one goes wrong, the path taken again comes to its
// end, and I1 to I5 held all the time.
func TestEveryCallGoesWrongOnce(t *testing.T) {
	empty := fake.NewClientset()
	for name, p := range paths() {
		t.Run(name, func(t *testing.T) {
			for f := failBefore; f < goOn; f++ {
				for n := 1; ; n++ {
					met, problem := p.play(t, empty, 1, n, f)
					if problem != "" {
						t.Fatalf("call %d %s: %s", n, faultNames[f], problem)
					}
					if !met {
						if n <= p.calls {
							t.Errorf("only %d calls are made: this shows little", n-1)
						}
						break
					}
				}
			}
		})
	}
}

// play takes the path with its n-th call going wrong, and once more.
func (p path) play(t *testing.T, empty *fake.Clientset, writers, n int, f fault) (met bool, problem string) {
	w := newWorld(t, empty, writers)
	defer w.end()
	for _, m := range w.machines {
		w.pass(m.agents[0], nil)
	}
	p.before(w)
	w.judge()
	w.at, w.wrong = n, f
	p.do(w)
	met = w.at < 0
	w.at = 0
	w.judge()
	for range 3 {
		p.do(w)
		w.judge()
	}
	state := volume.State("")
	for _, v := range w.volumes {
		state = v.state
	}
	if len(w.volumes) != 1 || state != p.want {
		w.fail("no convergence: %d volumes, the last one %q instead of %q", len(w.volumes), state, p.want)
	}
	w.converge()
	return met, w.problem
}

func and(all ...func(w *world)) func(w *world) {
	return func(w *world) {
		for _, f := range all {
			f(w)
		}
	}
}

// disturbed runs an act of an agent whose calls are counted across acts.
func (w *world) disturbed(p *agentProcess, do func(ctx context.Context) error) {
	w.sync(p, nil)
	at := max(w.at, 0)
	_ = do(p.gate.arm(at, w.wrong)) // what went wrong is for the judge to see
	calls := p.gate.calls
	switch met := p.gate.disarm(); {
	case met:
		w.at = -1
	case w.at > 0:
		w.at = max(w.at-calls, 1)
	}
	if p.gate.dead {
		w.kill(p)
		w.startAgent(p.machine)
	}
}

func (w *world) home() *agentProcess { return w.machines[0].agents[0] }

func claimed(w *world)     { claimedOf(w, 2) }
func claimedMore(w *world) { claimedOf(w, 5) }

func claimedOf(w *world, extents int64) {
	w.makeClaimOf(theClaim, extents)
	w.selectNode(w.claim(theClaim), "n0")
}

// serve is the library and, at the end, the PV controller.
func serve(w *world) {
	c := w.claim(theClaim)
	if c.Spec.VolumeName == "" && w.home().unsaved[c.UID] == nil {
		w.disturbed(w.home(), func(ctx context.Context) error { return w.provision(ctx, w.home(), c) })
	}
	for range w.home().unsaved {
		w.disturbed(w.home(), func(ctx context.Context) error { return w.save(ctx, w.home()) })
	}
	w.controlPVs()
}

// lived leaves a bound claim with data on its volume.
func lived(w *world) {
	claimed(w)
	serve(w)
	pass(w)
	for _, v := range w.machines[0].disk.Volumes() {
		v.Data = true
		w.judge()
		w.written(theClaim, v)
	}
}

func pass(w *world) {
	w.disturbed(w.home(), func(ctx context.Context) error { return w.home().Pass(ctx) })
	w.controlPVs()
}

func deletes(w *world) {
	for _, pv := range w.pvs() {
		w.disturbed(w.home(), func(ctx context.Context) error { return w.delete(ctx, w.home(), &pv) })
	}
}

func unclaimed(w *world) {
	w.must(w.api.tracker.Delete(claimResource, "db", theClaim))
	w.controlPVs()
}

func deleted(w *world) {
	for _, v := range w.machines[0].disk.Volumes() {
		v.Active = true
	}
	w.wantDeletedOf(theClaim)
	w.controlPVs()
}

func wiped(w *world) {
	w.wipe()
	w.machines[0].agents = nil
	w.startAgent(w.machines[0])
}

func late(w *world) { w.clock.Step(DefaultTrashKeep + time.Hour) }

func wantsMore(w *world) {
	c := w.claim(theClaim)
	c.Spec.Resources.Requests["storage"] = bytesOf(5)
	w.updateClaim(c)
}

// undelete is the command, and the agent's next pass.
func undelete(w *world) {
	w.disturbed(w.home(), func(ctx context.Context) error {
		end, err := w.home().links.Lock()
		w.must(err)
		defer end()
		_, err = Undelete(ctx, lvm.New(w.home().gate), w.home().client, "db/"+theClaim)
		return err
	})
	for uuid, v := range w.volumes {
		if v.state != volume.Wiping {
			delete(w.asked, uuid)
		}
	}
	pass(w)
}
