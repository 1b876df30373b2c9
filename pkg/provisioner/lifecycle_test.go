//go:build controlplane

package provisioner

import (
	"context"
	"path/filepath"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/utils/ptr"

	"github.com/berth-dev/berth/pkg/inventory"
	"github.com/berth-dev/berth/pkg/lvm/lvmtest"
	"github.com/berth-dev/berth/pkg/placement"
	"github.com/berth-dev/berth/pkg/volume"
)

// newMachine returns the disks of a node in memory, unlike those of any other.
func newMachine(t *testing.T, name string) (*lvmtest.Disk, Links) {
	disk := lvmtest.NewDisk(64, "berth")
	disk.SetUUID("berth", "VG-of-"+name)
	for range name[len(name)-1] - '0' { // so that no two machines have volumes of one UUID
		disk.Add("none", lvmtest.Volume{})
	}
	return disk, Links{Dir: filepath.Join(t.TempDir(), "links")}
}

// startWithCluster starts a control plane with Ready nodes and a StatefulSet of
// three, as after the manifests were applied.
func startWithCluster(t *testing.T, nodes ...string) *controlPlane {
	t.Helper()
	cp := startControlPlane(t)
	for _, name := range nodes {
		cp.ready(name)
	}
	labels := map[string]string{"app": "galera"}
	set := &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Name: "galera"}, Spec: appsv1.StatefulSetSpec{
		Replicas: ptr.To[int32](3), Selector: &metav1.LabelSelector{MatchLabels: labels},
		Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "x", Image: "x"}}}},
		VolumeClaimTemplates: []corev1.PersistentVolumeClaim{{ObjectMeta: metav1.ObjectMeta{Name: "data"}, Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("10Mi")}},
		}}},
	}}
	if _, err := cp.client.AppsV1().StatefulSets("default").Create(t.Context(), set, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	return cp
}

// ready makes a node, unless it is there, and says that it is Ready.
func (cp *controlPlane) ready(name string) {
	cp.t.Helper()
	node, err := cp.client.CoreV1().Nodes().Get(cp.t.Context(), name, metav1.GetOptions{})
	if err != nil {
		node, err = cp.client.CoreV1().Nodes().Create(cp.t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	}
	if err != nil {
		cp.t.Fatal(err)
	}
	node.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	if _, err := cp.client.CoreV1().Nodes().UpdateStatus(cp.t.Context(), node, metav1.UpdateOptions{}); err != nil {
		cp.t.Fatal(err)
	}
}

// decides asks the inventory and the decision of the scheduler, until they say so.
func (cp *controlPlane) decides(pod, claim string, action placement.Action, code placement.Code) {
	cp.t.Helper()
	ctx, cancel := context.WithCancel(cp.t.Context())
	defer cancel()
	factory := informers.NewSharedInformerFactory(cp.client, 0)
	known, err := inventory.New(cp.client, factory)
	if err != nil {
		cp.t.Fatal(err)
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	member := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: pod, OwnerReferences: []metav1.OwnerReference{{Kind: "StatefulSet", Name: "galera", Controller: ptr.To(true)}}},
		Spec: corev1.PodSpec{Volumes: []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim}}}}},
	}
	var last placement.Verdict
	cp.until(pod+": "+string(action)+" "+string(code), func(ctx context.Context) bool {
		r, reason := known.Request(member)
		if reason != nil {
			return false
		}
		facts, err := known.LiveFacts(ctx, r)
		if err != nil {
			return false
		}
		last = placement.Decide(r, facts)
		return last.Action == action && last.Reason.Code == code
	})
	cp.t.Logf("%s: %s %s", pod, last.Action, last.Reason)
}

// etcd is wiped, and the first to return is a storage node with none of the
// cluster's volumes. No member gets a blank volume; each starts as its node comes.
// One node never comes: its member is given up by name, begins anew, and when the
// disks return after all they are fenced.
func TestControlPlaneHomes(t *testing.T) {
	disk0, links0 := newMachine(t, nodeName)
	disk1, links1 := newMachine(t, "n2")
	disk2, links2 := newMachine(t, "n3")
	cp := startWithCluster(t, nodeName, "n2", "n3")
	stops := []func(){cp.agentOn(nodeName, disk0, links0), cp.agentOn("n2", disk1, links1), cp.agentOn("n3", disk2, links2)}
	for claim, node := range map[string]string{"data-galera-0": nodeName, "data-galera-1": "n2"} {
		cp.claim(claim, "berth", false)
		cp.kubectl("", "annotate", "pvc", claim, annSelectedNode+"="+node)
		cp.bound(claim)
	}
	cp.until("homes on the tags of the third node", func(context.Context) bool { return len(homesOn(disk2)) == 2 })
	lv0, lv1 := disk0.Volumes()[0], disk1.Volumes()[0]
	lv0.Data, lv1.Data = true, true
	for _, stop := range stops {
		stop()
	}
	cp.Stop()
	for _, d := range []*lvmtest.Disk{disk0, disk1, disk2} {
		d.PowerCycle()
	}

	cp = startWithCluster(t, "n3")
	if err := cp.client.CoreV1().Nodes().Delete(t.Context(), nodeName, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	defer cp.agentOn("n3", disk2, links2)()
	for _, claim := range []string{"data-galera-0", "data-galera-1", "data-galera-2"} {
		cp.claim(claim, "berth", false)
	}
	cp.decides("galera-0", "data-galera-0", placement.Refuse, placement.CodeHomeAway)
	cp.decides("galera-1", "data-galera-1", placement.Refuse, placement.CodeHomeAway)
	cp.decides("galera-2", "data-galera-2", placement.Refuse, placement.CodeMemberNotFound)

	cp.ready("n2")
	defer cp.agentOn("n2", disk1, links1)()
	cp.decides("galera-1", "data-galera-1", placement.Pin, "")
	cp.bound("data-galera-1")
	cp.decides("galera-0", "data-galera-0", placement.Refuse, placement.CodeHomeAway)

	plan, err := PlanAbandon(t.Context(), cp.client, siblings{}, "default", "data-galera-0")
	if err != nil {
		t.Fatal(err)
	}
	if err := plan.Do(t.Context(), cp.client, "node is dead"); err != nil {
		t.Fatal(err)
	}
	cp.decides("galera-0", "data-galera-0", placement.Allow, "")
	cp.decides("galera-2", "data-galera-2", placement.Refuse, placement.CodeMemberNotFound)
	cp.kubectl("", "annotate", "pvc", "data-galera-0", annSelectedNode+"=n3")
	fresh := cp.bound("data-galera-0")

	cp.ready(nodeName)
	defer cp.agentOn(nodeName, disk0, links0)()
	cp.until("the old volume is fenced", func(context.Context) bool { return stateOfLV(lv0) == volume.Superseded })
	cp.decides("galera-0", "data-galera-0", placement.Pin, "")
	pv, err := cp.client.CoreV1().PersistentVolumes().Get(t.Context(), fresh, metav1.GetOptions{})
	if err != nil || pv.Annotations[volume.AnnotationGeneration] != "2" || pv.Status.Phase != corev1.VolumeBound {
		t.Errorf("the new volume: %+v, %v", pv, err)
	}
	for _, d := range []*lvmtest.Disk{disk0, disk1, disk2} {
		if bad := d.Violations(); len(bad) > 0 {
			t.Error(bad)
		}
	}
	if !lv0.Data || lv0.Formats != 1 || lv1.Formats != 1 || stateOfLV(lv1) != volume.Ready {
		t.Errorf("volumes were touched: %+v, %+v", lv0, lv1)
	}
}

func homesOn(d *lvmtest.Disk) (homes []string) {
	f := fixture{disk: d}
	return f.homes()
}
