package plugin_test

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	fwk "k8s.io/kube-scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/apis/config"
	"k8s.io/kubernetes/pkg/scheduler/apis/config/latest"
	"k8s.io/kubernetes/pkg/scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/feature"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/volumebinding"
	frameworkruntime "k8s.io/kubernetes/pkg/scheduler/framework/runtime"
	"k8s.io/utils/ptr"

	"github.com/berth-dev/berth/pkg/plugin"
	"github.com/berth-dev/berth/pkg/volume"
)

// TestBesideVolumeBinding holds what VolumeBinding of v1.37 says about a retained
// volume, through its public API, and what we say about the same: three nodes, the
// data on node-1, and a claim that was made again. It is why the plugin exists;
// when a row of stock changes, so do the reasons in docs/decisions/0003.
func TestBesideVolumeBinding(t *testing.T) {
	for _, x := range []struct {
		name             string
		released, roomy  bool // the old claim's UID is still there; 1000 GiB are free everywhere
		request          string
		stock            [3]string
		ours             string
		oursIsTheRefusal bool
	}{
		{name: "released", released: true, request: "100Gi", stock: [3]string{"pass 0", "pass 0", "pass 0"},
			ours: "VolumeUnverified", oursIsTheRefusal: true},
		{name: "reserved", request: "100Gi", stock: [3]string{"pass 0", "pass 0", "pass 0"}, ours: "node-1"},
		{name: "reserved, room everywhere", roomy: true, request: "100Gi", stock: [3]string{"pass 0", "pass 90", "pass 90"}, ours: "node-1"},
		{name: "reserved, too small", request: "120Gi", stock: [3]string{"pass 0", "pass 0", "pass 0"}, ours: "node-1"},
		{name: "released, room everywhere", released: true, roomy: true, request: "100Gi", stock: [3]string{"pass 90", "pass 90", "pass 90"},
			ours: "VolumeUnverified", oursIsTheRefusal: true},
	} {
		t.Run(x.name, func(t *testing.T) {
			b := newBench(t, x.released, x.roomy, x.request)
			for n, want := range x.stock {
				if got := b.stock(n); got != want {
					t.Errorf("VolumeBinding says %q of node-%d, want %q", got, n+1, want)
				}
			}
			result, status := b.home.PreFilter(t.Context(), framework.NewCycleState(), b.pod, b.nodes)
			switch {
			case x.oursIsTheRefusal:
				if status.IsSuccess() || !strings.Contains(status.Message(), "("+x.ours+")") {
					t.Errorf("VolumeHome says %v, want refusal %s", status, x.ours)
				}
			case !status.IsSuccess() || result == nil || len(result.NodeNames) != 1 || !result.NodeNames.Has(x.ours):
				t.Errorf("VolumeHome says %v, %v, want %s alone", result, status, x.ours)
			}
		})
	}
}

// bench is the two plugins beside each other.
type bench struct {
	*testing.T
	binding fwk.Plugin
	home    fwk.PreFilterPlugin
	pod     *corev1.Pod
	nodes   []fwk.NodeInfo
}

func newBench(t *testing.T, released, roomy bool, request string) *bench {
	t.Helper()
	objects := []runtime.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: metav1.NamespaceSystem, UID: "now"}},
		&storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: class}, Provisioner: volume.Provisioner,
			VolumeBindingMode: ptr.To(storagev1.VolumeBindingWaitForFirstConsumer)},
	}
	b := &bench{T: t, pod: podOf("db-0", "data-db-0")}
	for n := range 3 {
		name := fmt.Sprintf("node-%d", n+1)
		node := &corev1.Node{
			ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{volume.NodeLabel(vgOf(name)): "true"}},
			Status:     corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}},
		}
		info := framework.NewNodeInfo()
		info.SetNode(node)
		b.nodes = append(b.nodes, info)
		objects = append(objects, node)
		if roomy {
			objects = append(objects, &storagev1.CSIStorageCapacity{
				ObjectMeta: metav1.ObjectMeta{Name: "berth-" + name, Namespace: volume.SystemNamespace, UID: "report", Annotations: map[string]string{
					volume.AnnotationNode: name, volume.AnnotationVGUUID: vgOf(name), volume.AnnotationVGSeqno: "9",
				}},
				StorageClassName: class, Capacity: ptr.To(resource.MustParse("1000Gi")),
				NodeTopology: &metav1.LabelSelector{MatchLabels: map[string]string{volume.NodeLabel(vgOf(name)): "true"}},
			})
		}
	}
	if roomy {
		objects = append(objects, &storagev1.CSIDriver{
			ObjectMeta: metav1.ObjectMeta{Name: volume.Provisioner}, Spec: storagev1.CSIDriverSpec{StorageCapacity: ptr.To(true)},
		})
	}
	pv := volumeOf("data-db-0", "node-1")
	pv.Spec.Capacity[corev1.ResourceStorage] = resource.MustParse("100Gi")
	if released {
		pv.Spec.ClaimRef.UID, pv.Status.Phase = "of-the-claim-that-was-deleted", corev1.VolumeReleased
	}
	pvc := pvcOf("data-db-0")
	pvc.Spec.Resources.Requests[corev1.ResourceStorage] = resource.MustParse(request)
	objects = append(objects, pv, pvc)

	client := fake.NewClientset(objects...)
	factory := informers.NewSharedInformerFactory(client, 0)
	h, err := frameworkruntime.NewFramework(t.Context(), frameworkruntime.Registry{}, &config.KubeSchedulerProfile{SchedulerName: "bench"},
		frameworkruntime.WithClientSet(client), frameworkruntime.WithInformerFactory(factory))
	if err == nil {
		b.binding, err = volumebinding.New(t.Context(), bindingArgs(t), h, feature.Features{EnableStorageCapacityScoring: true})
	}
	if err != nil {
		t.Fatal(err)
	}
	home, err := plugin.New(t.Context(), nil, h)
	if err != nil {
		t.Fatal(err)
	}
	b.home = home.(fwk.PreFilterPlugin)
	factory.Start(t.Context().Done())
	factory.WaitForCacheSync(t.Context().Done())
	return b
}

// bindingArgs are VolumeBinding's defaults.
func bindingArgs(t *testing.T) runtime.Object {
	t.Helper()
	c, err := latest.Default()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range c.Profiles[0].PluginConfig {
		if p.Name == volumebinding.Name {
			args := p.Args.(*config.VolumeBindingArgs)
			if len(args.Shape) == 0 {
				args.Shape = []config.UtilizationShapePoint{{Utilization: 0, Score: 10}, {Utilization: 100, Score: 0}}
			}
			return args
		}
	}
	t.Fatal("VolumeBinding has no default args")
	return nil
}

// stock runs VolumeBinding alone on one node.
func (b *bench) stock(n int) string {
	b.Helper()
	state := framework.NewCycleState()
	if _, status := b.binding.(fwk.PreFilterPlugin).PreFilter(b.Context(), state, b.pod, b.nodes); !status.IsSuccess() {
		return status.Message()
	}
	for _, info := range b.nodes {
		if status := b.binding.(fwk.FilterPlugin).Filter(b.Context(), state, b.pod, info); !status.IsSuccess() && info == b.nodes[n] {
			return status.Message()
		}
	}
	score := int64(0)
	if status := b.binding.(fwk.PreScorePlugin).PreScore(b.Context(), state, b.pod, b.nodes); status.IsSuccess() {
		score, _ = b.binding.(fwk.ScorePlugin).Score(b.Context(), state, b.pod, b.nodes[n])
	}
	return fmt.Sprintf("pass %d", score)
}
