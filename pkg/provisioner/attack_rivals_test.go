package provisioner

import (
	"context"
	"math/rand/v2"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// twoAtOnce is a rolling update at a bad moment: in the middle of what an agent does
// another one of its machine does all its work. A claim that has no volume yet is
// what they would best quarrel about; without one they make a pass.
func (w *world) twoAtOnce(r *rand.Rand) string {
	for _, i := range r.Perm(len(claimNames)) {
		if w.claim(claimNames[i]) == nil && !w.known(claimNames[i]) {
			w.makeClaimOf(claimNames[i], 1+r.Int64N(4))
			w.schedule(claimNames[i], nil)
			break
		}
	}
	all := slices.DeleteFunc(w.freeAgents(), func(p *agentProcess) bool { return !w.idle(p.machine) })
	if len(all) == 0 {
		return ""
	}
	first := all[r.IntN(len(all))]
	var claim *corev1.PersistentVolumeClaim
	for _, p := range all {
		for _, c := range w.claims() {
			if c.Spec.VolumeName == "" && p.unsaved[c.UID] == nil && p.ShouldProvision(context.Background(), &c) {
				first, claim = p, &c
			}
		}
	}
	if len(first.machine.agents) < 2 {
		w.startAgent(first.machine)
	}
	second := first.machine.agents[1-slices.Index(first.machine.agents, first)]
	w.sync(first, nil)
	w.sync(second, nil)
	said := "on " + first.machine.node + " passes"
	do := first.Pass
	if claim != nil {
		said = "on " + first.machine.node + " " + claim.Name
		do = func(ctx context.Context) error { return w.provision(ctx, first, claim) }
	}
	ctx := first.gate.arm(1+r.IntN(10), goOn)
	first.gate.during = func() {
		w.reached["two agents at once"]++
		said += " while" + w.serve(second, nil) + w.pass(second, nil) + w.deletes(second, nil)
	}
	w.busy = append(w.busy, first)
	err := do(ctx)
	w.busy = slices.DeleteFunc(w.busy, func(p *agentProcess) bool { return p == first })
	first.gate.disarm()
	if err != nil {
		said += ": " + err.Error()
	}
	return said
}
