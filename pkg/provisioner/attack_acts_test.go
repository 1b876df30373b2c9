package provisioner

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/reference"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v10/controller"

	"github.com/berth-dev/berth/pkg/lvm/lvmtest"
	"github.com/berth-dev/berth/pkg/placement"
	"github.com/berth-dev/berth/pkg/volume"
)

// act is one thing that can happen. It says what it did, or "" when there was
// nothing to do.
type act struct {
	name   string
	weight int
	do     func(w *world, r *rand.Rand) string
}

// The claims that users make: three members and one of no StatefulSet.
var claimNames = []string{"data-galera-0", "data-galera-1", "data-galera-2", "scratch"}

func acts() []act {
	return []act{
		{"everybody works", 6, (*world).everybodyWorks},
		{"user makes a claim", 10, (*world).makeClaim},
		{"scheduler", 14, (*world).scheduleOne},
		{"agent serves a claim", 14, (*world).agentServes},
		{"agent passes", 14, (*world).agentPasses},
		{"agent deletes", 8, (*world).agentDeletes},
		{"PV controller", 12, func(w *world, _ *rand.Rand) string { w.controlPVs(); return "looks" }},
		{"user writes", 8, (*world).write},
		{"user deletes a claim", 5, (*world).deleteClaim},
		{"user wants a volume deleted", 5, (*world).wantDeleted},
		{"user undeletes", 4, (*world).undelete},
		{"user gives a member's volume up", 2, (*world).giveUp},
		{"user adopts", 3, (*world).adoptAgain},
		{"user asks for more", 6, (*world).askMore},
		{"PVs lost", 2, (*world).losePV},
		{"API server loses all", 2, func(w *world, _ *rand.Rand) string {
			w.wipe()
			return fmt.Sprintf("life %d begins", w.life)
		}},
		{"power", 5, (*world).power},
		{"node renamed", 2, (*world).rename},
		{"disks moved", 2, (*world).moveDisks},
		{"group filled or not", 2, (*world).fill},
		{"disk fails or returns", 1, (*world).diskFails},
		{"volume unreadable or not", 1, (*world).unreadable},
		{"agent restarts", 3, (*world).restart},
		{"second agent", 2, (*world).secondAgent},
		{"two agents at once", 3, (*world).twoAtOnce},
		{"PVs refused or not", 2, (*world).refusePVs},
		{"scheduler restarts", 1, func(w *world, _ *rand.Rand) string { w.restartScheduler(); return "empty" }},
		{"time", 7, func(w *world, r *rand.Rand) string {
			d := []time.Duration{time.Minute, time.Hour, 8 * 24 * time.Hour, 9 * 24 * time.Hour}[r.IntN(4)]
			w.clock.Step(d)
			return d.String()
		}},
	}
}

// everybodyWorks is a quiet while: everything that is on does its work in turn,
// and nothing goes wrong.
func (w *world) everybodyWorks(*rand.Rand) string {
	for range 3 {
		w.controlPVs()
		for _, name := range claimNames {
			w.schedule(name, nil)
		}
		for _, m := range w.machines {
			if m.on && w.idle(m) {
				w.agentsWork(m)
			}
		}
		w.judge()
	}
	return "in turn"
}

func (w *world) agentsWork(m *machine) (said []string) {
	for _, p := range slices.Clone(m.agents) {
		w.sync(p, nil)
		said = append(said, w.serve(p, nil), w.pass(p, nil))
		w.sync(p, nil)
		said = append(said, w.deletes(p, nil))
	}
	return said
}

func (w *world) claim(name string) *corev1.PersistentVolumeClaim {
	c, err := w.client.CoreV1().PersistentVolumeClaims("db").Get(context.Background(), name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	w.must(err)
	return c
}

func (w *world) updateClaim(c *corev1.PersistentVolumeClaim) {
	_, err := w.client.CoreV1().PersistentVolumeClaims("db").Update(context.Background(), c, metav1.UpdateOptions{})
	w.must(err)
}

func (w *world) updatePV(pv *corev1.PersistentVolume) {
	_, err := w.client.CoreV1().PersistentVolumes().Update(context.Background(), pv, metav1.UpdateOptions{})
	w.must(err)
}

func (w *world) makeClaim(r *rand.Rand) string {
	return w.makeClaimOf(claimNames[r.IntN(len(claimNames))], 1+r.Int64N(4))
}

func (w *world) makeClaimOf(name string, extents int64) string {
	if w.claim(name) != nil {
		return ""
	}
	claim := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "db", Name: name},
		Spec: corev1.PersistentVolumeClaimSpec{
			StorageClassName: ptr.To("berth"), AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: bytesOf(extents)}},
		},
	}
	_, err := w.client.CoreV1().PersistentVolumeClaims("db").Create(context.Background(), claim, metav1.CreateOptions{})
	w.must(err)
	return fmt.Sprintf("%s of %d extents", name, extents)
}

func (w *world) deleteClaim(r *rand.Rand) string {
	name := claimNames[r.IntN(len(claimNames))]
	if w.claim(name) == nil {
		return ""
	}
	w.must(w.client.CoreV1().PersistentVolumeClaims("db").Delete(context.Background(), name, metav1.DeleteOptions{}))
	return name
}

func (w *world) askMore(r *rand.Rand) string {
	c := w.claim(claimNames[r.IntN(len(claimNames))])
	if c == nil {
		return ""
	}
	extents := requested(c)/lvmtest.ExtentSize + 1 + r.Int64N(2)
	if extents > 6 {
		return ""
	}
	c.Spec.Resources.Requests[corev1.ResourceStorage] = bytesOf(extents)
	w.updateClaim(c)
	return fmt.Sprintf("%s: %d extents", c.Name, extents)
}

// scheduleOne takes the claims in random order until one can be scheduled.
func (w *world) scheduleOne(r *rand.Rand) string {
	for _, i := range r.Perm(len(claimNames)) {
		if said := w.schedule(claimNames[i], r); said != "" {
			return said
		}
	}
	return ""
}

// schedule does what kube-scheduler does with a pod that uses the claim.
func (w *world) schedule(name string, r *rand.Rand) string {
	c := w.claim(name)
	if c == nil || c.Spec.VolumeName != "" || c.Annotations[annSelectedNode] != "" || w.isOpen(name) {
		return ""
	}
	w.syncScheduler(r)
	request, reason := w.inventory.Request(podOf(name))
	if reason != nil || len(request.Claims) == 0 || request.Claims[0].UID != string(c.UID) {
		return name + ": not seen yet"
	}
	f, err := w.inventory.LiveFacts(context.Background(), request)
	if err != nil {
		return name + ": " + err.Error()
	}
	verdict := placement.Decide(request, f)
	w.refused[name] = string(verdict.Reason.Code)
	switch verdict.Action {
	case placement.Pin:
		if w.reservedPV(c) && (r == nil || r.IntN(3) > 0) {
			return name + ": its PV is bound by the PV controller"
		}
		w.judgeDecision(name, verdict.Node, len(verdict.Blank) > 0 && request.Claims[0].SelectedNode == "")
		return w.selectNode(c, verdict.Node)
	case placement.Allow:
		names, _ := w.inventory.NodeNames()
		var why []string
		names = slices.DeleteFunc(names, func(n string) bool {
			j := verdict.Judge(w.inventory.Room(n))
			if !j.Fits {
				why = append(why, n+" "+string(j.Reason.Code))
			}
			return !j.Fits || !w.isReady(n)
		})
		if len(names) == 0 {
			return fmt.Sprintf("%s: no node has room: %v", name, why)
		}
		slices.Sort(names)
		node := names[0]
		if r != nil {
			node = names[r.IntN(len(names))]
		}
		if reason := w.inventory.Promise(request.Member, node, verdict); reason != nil {
			return name + ": " + reason.Text
		}
		w.judgeDecision(name, node, true)
		return w.selectNode(c, node)
	}
	return name + ": " + string(verdict.Reason.Code)
}

func (w *world) isReady(node string) bool {
	return slices.ContainsFunc(w.machines, func(m *machine) bool { return m.node == node && m.on })
}

func (w *world) selectNode(c *corev1.PersistentVolumeClaim, node string) string {
	if c.Annotations == nil {
		c.Annotations = map[string]string{}
	}
	c.Annotations[annSelectedNode] = node
	c.Annotations["volume.kubernetes.io/storage-provisioner"] = volume.Provisioner
	w.updateClaim(c)
	return c.Name + " to " + node
}

// reservedPV says that a PV waits for the claim and is large enough for it.
func (w *world) reservedPV(c *corev1.PersistentVolumeClaim) bool {
	return slices.ContainsFunc(w.pvs(), func(pv corev1.PersistentVolume) bool {
		ref := pv.Spec.ClaimRef
		return ref != nil && ref.Name == c.Name && ref.UID == "" && pv.Spec.Capacity.Storage().Value() >= requested(c)
	})
}

// armed lets the agent's next act be disturbed at a random call.
func (w *world) armed(p *agentProcess, r *rand.Rand, do func(ctx context.Context) error) string {
	if p.gate.dead {
		return " by nobody: it was killed"
	}
	at, f := 0, failBefore
	if r != nil && r.IntN(3) == 0 {
		at, f = 1+r.IntN(1+r.IntN(12)), fault(r.IntN(int(faults)))
	}
	said := fmt.Sprintf(", call %d %s", at, faultNames[f])
	ctx := p.gate.arm(at, f)
	if f == goOn {
		p.gate.during = func() { said += " while " + w.something(r) }
	}
	w.busy = append(w.busy, p)
	err := do(ctx)
	w.busy = slices.DeleteFunc(w.busy, func(o *agentProcess) bool { return o == p })
	if p.gate.disarm() {
		w.reached["call "+faultNames[f]]++
	} else {
		said = ""
	}
	if p.gate.dead {
		w.kill(p)
		w.startAgent(p.machine)
	}
	if err != nil {
		said += ": " + err.Error()
	}
	return said
}

func (w *world) kill(p *agentProcess) {
	p.machine.agents = slices.DeleteFunc(p.machine.agents, func(o *agentProcess) bool { return o == p })
}

func (w *world) agentPasses(r *rand.Rand) string {
	p := w.agent(r)
	if p == nil {
		return ""
	}
	w.sync(p, r)
	return p.machine.node + w.pass(p, r)
}

func (w *world) pass(p *agentProcess, r *rand.Rand) string {
	return w.armed(p, r, p.Pass)
}

// agentServes lets one agent serve that has a claim to serve, as far as it sees.
func (w *world) agentServes(r *rand.Rand) string {
	return w.oneAgent(r, w.serve)
}

// oneAgent asks the agents in random order until one has something to do.
func (w *world) oneAgent(r *rand.Rand, do func(p *agentProcess, r *rand.Rand) string) string {
	all := w.freeAgents()
	for _, i := range r.Perm(len(all)) {
		w.sync(all[i], r)
		if said := do(all[i], r); said != "" {
			return said
		}
	}
	return ""
}

// serve does what the library does for the claims that have the node selected.
func (w *world) serve(p *agentProcess, r *rand.Rand) string {
	said := ""
	for _, c := range inOrder[*corev1.PersistentVolumeClaim](p.stores[1]) {
		if c.Spec.VolumeName != "" || !p.ShouldProvision(context.Background(), c) || p.unsaved[c.UID] != nil {
			continue
		}
		said += " " + c.Name + w.armed(p, r, func(ctx context.Context) error { return w.provision(ctx, p, c) })
	}
	for range len(p.unsaved) {
		said += " saves" + w.armed(p, r, func(ctx context.Context) error { return w.save(ctx, p) })
	}
	if said == "" {
		return ""
	}
	return p.machine.node + said
}

// inOrder lists what a store holds, which has no order of its own, so that a sequence
// can be played again.
func inOrder[T any](store cache.Store) []T {
	var all []T
	for _, key := range slices.Sorted(slices.Values(store.ListKeys())) {
		if o, exists, _ := store.GetByKey(key); exists {
			all = append(all, o.(T))
		}
	}
	return all
}

// save does what the library's queue does with the PVs that are not saved yet.
func (w *world) save(ctx context.Context, p *agentProcess) error {
	for _, uid := range slices.Sorted(maps.Keys(p.unsaved)) {
		_, err := p.client.CoreV1().PersistentVolumes().Create(ctx, p.unsaved[uid].DeepCopy(), metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return err
		}
		delete(p.unsaved, uid)
	}
	return nil
}

// provision keeps the PV in the process's memory: serve saves it later.
func (w *world) provision(ctx context.Context, p *agentProcess, c *corev1.PersistentVolumeClaim) error {
	sc, err := p.classes.Get("berth")
	if err != nil {
		return err
	}
	pv, state, err := p.Provision(ctx, controller.ProvisionOptions{StorageClass: sc, PVC: c.DeepCopy()})
	var ignored *controller.IgnoredError
	switch {
	case err == nil:
		ref, err := reference.GetReference(scheme.Scheme, c)
		w.must(err)
		pv.Spec.ClaimRef = ref
		p.unsaved[c.UID] = pv
		return nil
	case errors.As(err, &ignored):
		return nil
	case state == controller.ProvisioningReschedule:
		live, get := p.client.CoreV1().PersistentVolumeClaims("db").Get(ctx, c.Name, metav1.GetOptions{})
		if get == nil && live.UID == c.UID && live.Spec.VolumeName == "" {
			delete(live.Annotations, annSelectedNode)
			_, get = p.client.CoreV1().PersistentVolumeClaims("db").Update(ctx, live, metav1.UpdateOptions{})
		}
		return errors.Join(err, get)
	}
	return err
}

func (w *world) agentDeletes(r *rand.Rand) string {
	return w.oneAgent(r, w.deletes)
}

// deletes does what the library does for released PVs of policy Delete.
func (w *world) deletes(p *agentProcess, r *rand.Rand) string {
	said := ""
	for _, pv := range inOrder[*corev1.PersistentVolume](p.stores[0]) {
		if pv.Status.Phase != corev1.VolumeReleased || pv.Spec.PersistentVolumeReclaimPolicy != corev1.PersistentVolumeReclaimDelete ||
			pv.Annotations[annProvisionedBy] != volume.Provisioner || !p.ShouldDelete(context.Background(), pv) {
			continue
		}
		said += " " + pv.Name + w.armed(p, r, func(ctx context.Context) error { return w.delete(ctx, p, pv) })
	}
	if said == "" {
		return ""
	}
	return p.machine.node + said
}

func (w *world) delete(ctx context.Context, p *agentProcess, pv *corev1.PersistentVolume) error {
	if err := p.Delete(ctx, pv.DeepCopy()); err != nil {
		return err
	}
	return p.client.CoreV1().PersistentVolumes().Delete(ctx, pv.Name, metav1.DeleteOptions{})
}

func podOf(claim string) *corev1.Pod {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "db", Name: "pod-" + claim}}
	if rest, member := cutMember(claim); member {
		pod.Name = rest
		pod.OwnerReferences = []metav1.OwnerReference{{Kind: "StatefulSet", Name: "galera", UID: types.UID("sts"), Controller: ptr.To(true)}}
	}
	pod.Spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{
		PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim}}}}
	return pod
}
