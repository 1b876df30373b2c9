package plugin_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	storagevolume "k8s.io/component-helpers/storage/volume"
	"k8s.io/utils/ptr"

	"github.com/berth-dev/berth/pkg/placement"
)

func TestRetainedVolumePins(t *testing.T) {
	w := newWorld(t)
	w.storageNode("n1", "900Gi")
	w.storageNode("n2", "20Gi")
	w.addVolume("data-db-0", "n2", nil)
	w.addMember("db-0")
	w.expectNode("db-0", "n2")
	if n := w.volumesMade(); n != 0 {
		t.Errorf("agents made %d volumes, want none: the data is there", n)
	}
}

func TestReleasedWaitsForItsAgent(t *testing.T) {
	w := newWorld(t)
	w.storageNode("n1", "900Gi")
	w.storageNode("n2", "20Gi")
	w.addVolume("data-db-0", "n2", func(pv *corev1.PersistentVolume) {
		pv.Spec.ClaimRef.UID = "of-the-claim-that-was-deleted"
		pv.Status.Phase = corev1.VolumeReleased
	})
	w.addMember("db-0")
	w.expectRefusal("db-0", "VolumeUnverified")
	w.reserve("pv-data-db-0")
	w.expectNode("db-0", "n2")
}

func TestAwayNodeIsWaitedFor(t *testing.T) {
	w := newWorld(t)
	w.storageNode("n1", "900Gi")
	w.storageNode("n2", "20Gi")
	w.setReady("n2", corev1.ConditionUnknown)
	w.addVolume("data-db-0", "n2", nil)
	w.addClaim("data-db-0")
	w.awaitBound("data-db-0") // so that only the node can wake the pod
	w.addPod("db-0", "data-db-0")
	w.expectRefusal("db-0", "HomeNotReady")
	w.setReady("n2", corev1.ConditionTrue)
	w.expectNode("db-0", "n2")
}

// TestSharedHome is kubernetes#121436: an old binding left the volumes of two
// members on one node. The second waits until somebody accepts that by name.
func TestSharedHome(t *testing.T) {
	w := newWorld(t)
	w.storageNode("n1", "900Gi")
	w.storageNode("n2", "900Gi")
	w.addVolume("data-db-0", "n1", nil)
	w.addVolume("data-db-1", "n1", nil)
	w.addMember("db-0")
	w.addMember("db-1")
	w.expectNode("db-0", "n1")
	w.expectRefusal("db-1", "HomeShared")
	api := w.client.CoreV1().PersistentVolumeClaims(namespace)
	w.awaitBound("data-db-1")
	claim, err := api.Get(w.ctx, "data-db-1", metav1.GetOptions{})
	must(w, err)
	metav1.SetMetaDataAnnotation(&claim.ObjectMeta, placement.ShareAnnotation, "db-0")
	_, err = api.Update(w.ctx, claim, metav1.UpdateOptions{})
	must(w, err)
	w.expectNode("db-1", "n1")
}

// TestOutOfService has an administrator declare the home dead, and take that back.
func TestOutOfService(t *testing.T) {
	w := newWorld(t)
	w.storageNode("n1", "900Gi")
	w.storageNode("n2", "900Gi")
	taint := func(taints ...corev1.Taint) {
		node, err := w.client.CoreV1().Nodes().Get(w.ctx, "n1", metav1.GetOptions{})
		must(w, err)
		node.Spec.Taints = taints
		_, err = w.client.CoreV1().Nodes().Update(w.ctx, node, metav1.UpdateOptions{})
		must(w, err)
	}
	taint(corev1.Taint{Key: placement.OutOfServiceTaint, Value: "nodeshutdown", Effect: corev1.TaintEffectNoExecute})
	w.addVolume("data-db-0", "n1", nil)
	w.addMember("db-0")
	w.expectRefusal("db-0", "HomeOutOfService")
	taint()
	w.expectNode("db-0", "n1")
}

// TestNewVolumeIsAnnounced reads the event that says which claims were new.
func TestNewVolumeIsAnnounced(t *testing.T) {
	w := newWorld(t)
	w.storageNode("n1", "900Gi")
	w.addMember("db-0")
	w.expectNode("db-0", "n1")
	for limit := time.After(patience); ; {
		list, err := w.client.EventsV1().Events(namespace).List(w.ctx, metav1.ListOptions{})
		must(w, err)
		for _, e := range list.Items {
			if e.Reason == "NewVolume" && strings.Contains(e.Note, "data-db-0") && strings.Contains(e.Note, "node n1") {
				return
			}
		}
		select {
		case <-time.After(50 * time.Millisecond): // the recorder tells nobody when it has written
		case <-limit:
			t.Fatalf("no event NewVolume among %v", list.Items)
		}
	}
}

func TestSilentNodeBlocksNewVolumes(t *testing.T) {
	w := newWorld(t)
	w.storageNode("n1", "900Gi")
	w.addNode("n2")
	w.addMember("db-0")
	w.expectRefusal("db-0", "NodeNotReported")
	w.report("n2", "20Gi")
	w.expectNode("db-0", "n1")
}

// TestMembersInFlight holds invariant I4 while nothing but the scheduler's own
// promises, and then the claims, tell where the siblings go.
func TestMembersInFlight(t *testing.T) {
	w := newWorld(t)
	w.halted = true
	for _, n := range []string{"n1", "n2", "n3"} {
		w.storageNode(n, "900Gi")
	}
	claims, err := w.client.CoreV1().PersistentVolumeClaims(namespace).Watch(w.ctx, metav1.ListOptions{})
	must(w, err)
	for i := range 3 {
		w.addMember(fmt.Sprintf("db-%d", i))
	}
	chosen := map[string]string{}
	for timeout := time.After(patience); len(chosen) < 3; {
		select {
		case e := <-claims.ResultChan():
			if c := e.Object.(*corev1.PersistentVolumeClaim); e.Type == watch.Modified {
				chosen[c.Name] = c.Annotations[storagevolume.AnnSelectedNode]
			}
		case <-timeout:
			t.Fatalf("no node was chosen for all three members: %v", chosen)
		}
	}
	w.resume()
	var nodes []string
	for i := range 3 {
		nodes = append(nodes, w.nodeOf(fmt.Sprintf("db-%d", i)))
	}
	slices.Sort(nodes)
	if want := []string{"n1", "n2", "n3"}; !slices.Equal(nodes, want) {
		t.Errorf("members are on %v, want %v", nodes, want)
	}
}

func TestFourthMemberFindsNoRoom(t *testing.T) {
	w := newWorld(t)
	w.storageNode("n1", "900Gi")
	w.storageNode("small", "5Gi")
	w.addVolume("data-db-0", "n1", nil)
	w.addMember("db-1")
	w.expectRefusal("db-1", "MemberOnNode")
	w.expectRefusal("db-1", "NoSpace")
}

func TestNewVolumeGoesWhereTheRoomIs(t *testing.T) {
	w := newWorld(t)
	w.storageNode("n1", "100Gi")
	w.storageNode("n2", "500Gi")
	w.storageNode("n3", "200Gi")
	w.addMember("db-0")
	w.expectNode("db-0", "n2")
}

// TestAlwaysHome is the drill of the design without the power cut: many claims
// are made again, and their volumes are reserved at about the same time as the
// pods arrive. The real VolumeBinding would take a blank volume for most.
func TestAlwaysHome(t *testing.T) {
	const clusters, members = 8, 3
	w := newWorld(t)
	home := map[string]string{}
	for m := range members {
		w.storageNode(fmt.Sprintf("n%d", m), "900Gi")
	}
	for c := range clusters {
		for m := range members {
			name, node := fmt.Sprintf("db%d-%d", c, m), fmt.Sprintf("n%d", (c+m)%members)
			home[name] = node
			w.addVolume("data-"+name, node, func(pv *corev1.PersistentVolume) {
				pv.Spec.ClaimRef.UID = "of-the-claim-that-was-deleted"
				pv.Status.Phase = corev1.VolumeReleased
			})
		}
	}
	for name := range home {
		w.addMember(name)
	}
	for name := range home {
		w.reserve("pv-data-" + name)
	}
	for name, node := range home {
		w.expectNode(name, node)
	}
	if n := w.volumesMade(); n != 0 {
		t.Errorf("agents made %d volumes, want none: all data is there", n)
	}
}

func TestForeignPodsPass(t *testing.T) {
	w := newWorld(t)
	w.addNode("silent") // would block a new volume of ours
	w.addPod("bare")
	w.expectNode("bare", "silent")

	const other = "other"
	_, err := w.client.StorageV1().StorageClasses().Create(w.ctx, &storagev1.StorageClass{
		ObjectMeta: metav1.ObjectMeta{Name: other}, Provisioner: "other.example.com",
		VolumeBindingMode: ptr.To(storagev1.VolumeBindingWaitForFirstConsumer),
	}, metav1.CreateOptions{})
	must(w, err)
	w.addVolume("foreign", "silent", func(pv *corev1.PersistentVolume) {
		delete(pv.Annotations, storagevolume.AnnDynamicallyProvisioned)
		pv.Spec.StorageClassName = other
	})
	claim := pvcOf("foreign")
	claim.Spec.StorageClassName = ptr.To(other)
	_, err = w.client.CoreV1().PersistentVolumeClaims(namespace).Create(w.ctx, claim, metav1.CreateOptions{})
	must(w, err)
	w.addPod("stateless", "foreign")
	w.expectNode("stateless", "silent")
}

func TestMissingThingsAreNamed(t *testing.T) {
	w := newWorld(t)
	w.storageNode("n1", "900Gi")
	w.addPod("db-0", "data-db-0")
	w.expectRefusal("db-0", "ClaimMissing")

	must(w, w.client.StorageV1().StorageClasses().Delete(w.ctx, class, metav1.DeleteOptions{}))
	w.addMember("db-1")
	w.expectRefusal("db-1", "ClassMissing")
	_, err := w.client.StorageV1().StorageClasses().Create(w.ctx, &storagev1.StorageClass{
		ObjectMeta: metav1.ObjectMeta{Name: class}, Provisioner: "lvm.berth.dev",
		VolumeBindingMode: ptr.To(storagev1.VolumeBindingWaitForFirstConsumer),
	}, metav1.CreateOptions{})
	must(w, err)
	w.expectNode("db-1", "n1")
}

// TestNominatedNode has somebody nominate a node for a member whose data is on another:
// the scheduler tries that node first, whatever PreFilter says. Its claim is not bound
// yet, so that VolumeBinding would have a blank volume made there.
func TestNominatedNode(t *testing.T) {
	w := newWorld(t)
	w.storageNode("n1", "900Gi")
	w.storageNode("n2", "900Gi")
	w.mu.Lock() // nobody binds a claim
	w.addVolume("data-db-0", "n1", nil)
	w.addClaim("data-db-0")
	w.addMember("web-0") // when its claim has been seen, the other one has
	w.awaitClaim("data-web-0", "sent to a node", func(c *corev1.PersistentVolumeClaim) bool { return c.Annotations[storagevolume.AnnSelectedNode] != "" })
	w.addNominated("db-0", "data-db-0", "n2")
	w.expectRefusal("db-0", "DataElsewhere")
	w.mu.Unlock()
	w.resume()
	w.expectNode("db-0", "n1")
	w.nodeOf("web-0")
	if n := w.volumesMade(); n != 1 {
		t.Errorf("agents made %d volumes, want the one of the other member", n)
	}
}

// TestNominatedBesideSibling is the same for a member without data.
func TestNominatedBesideSibling(t *testing.T) {
	w := newWorld(t)
	w.storageNode("n1", "900Gi")
	w.storageNode("n2", "900Gi")
	w.addVolume("data-db-0", "n2", nil)
	w.addClaim("data-db-1")
	w.addNominated("db-1", "data-db-1", "n2")
	w.expectNode("db-1", "n1")
}

func (w *world) addNominated(name, claim, node string) {
	w.Helper()
	pod := podOf(name, claim)
	pod.Status.NominatedNodeName = node
	_, err := w.client.CoreV1().Pods(namespace).Create(w.ctx, pod, metav1.CreateOptions{})
	must(w, err)
}

// TestOthersRefuseTheNamedNodes has other plugins refuse the nodes that VolumeHome would
// take: the pod is told why the rest will not do.
func TestOthersRefuseTheNamedNodes(t *testing.T) {
	w := newWorld(t)
	w.storageNode("n1", "900Gi")
	w.storageNode("n2", "1Gi")
	w.addVolume("data-db-0", "n1", nil)
	for _, x := range []struct{ name, only, want string }{
		{"db-0", "n2", "do not hold the data, which is on node n1; waits for node n1 to pass all other filters (DataElsewhere)"},
		{"web-0", "n2", "NoSpace"},
	} {
		w.addClaim("data-" + x.name)
		pod := podOf(x.name, "data-"+x.name)
		pod.Spec.NodeSelector = map[string]string{corev1.LabelHostname: "host-of-" + x.only}
		_, err := w.client.CoreV1().Pods(namespace).Create(w.ctx, pod, metav1.CreateOptions{})
		must(w, err)
		told := refusal(w.awaitPod(x.name, "refusal", func(p *corev1.Pod) bool { return strings.Contains(refusal(p), x.want) }))
		if !strings.Contains(told, "1 node(s) didn't match Pod's node affinity/selector") {
			t.Errorf("%s is told %q, and not which nodes others refused", x.name, told)
		}
	}
	if n := w.volumesMade(); n != 0 {
		t.Errorf("agents made %d volumes", n)
	}
}
