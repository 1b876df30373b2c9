package plugin_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/events"
	storagevolume "k8s.io/component-helpers/storage/volume"
	"k8s.io/kubernetes/pkg/scheduler"
	"k8s.io/kubernetes/pkg/scheduler/apis/config"
	"k8s.io/kubernetes/pkg/scheduler/apis/config/scheme"
	frameworkruntime "k8s.io/kubernetes/pkg/scheduler/framework/runtime"
	"k8s.io/kubernetes/pkg/scheduler/profile"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	"github.com/berth-dev/berth/pkg/plugin"
	"github.com/berth-dev/berth/pkg/volume"
)

const (
	namespace = "shop"
	class     = "berth"
	patience  = 30 * time.Second
)

// world is the real scheduler of v1.37 with its real plugins and ours, as the
// manifest configures it, on a fake API server. The world also plays the two
// that answer to the scheduler: the PV controller, which binds a volume to the
// claim that it is reserved for, and the agents, which make volumes.
type world struct {
	*testing.T
	ctx    context.Context
	client *fake.Clientset

	mu     sync.Mutex
	made   int  // volumes made by agents
	halted bool // agents make nothing
}

func newWorld(t *testing.T) *world {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	w := &world{T: t, ctx: ctx, client: fake.NewClientset()}
	watching := w.countWatches()
	w.client.PrependReactor("create", "pods", w.bind)
	must(w, w.client.Tracker().Add(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: metav1.NamespaceSystem, UID: "now"}}))
	must(w, w.client.Tracker().Add(&storagev1.StorageClass{
		ObjectMeta:        metav1.ObjectMeta{Name: class},
		Provisioner:       volume.Provisioner,
		VolumeBindingMode: ptr.To(storagev1.VolumeBindingWaitForFirstConsumer),
	}))

	factory := scheduler.NewInformerFactory(w.client, 0, nil)
	broadcaster := events.NewBroadcaster(&events.EventSinkImpl{Interface: w.client.EventsV1()})
	t.Cleanup(broadcaster.Shutdown)
	must(w, broadcaster.StartRecordingToSinkWithContext(ctx))
	sched, err := scheduler.New(ctx, w.client, factory, nil, profile.NewRecorderFactory(broadcaster),
		scheduler.WithProfiles(manifest(t).Profiles...),
		scheduler.WithFrameworkOutOfTreeRegistry(frameworkruntime.Registry{plugin.Name: plugin.New}))
	must(w, err)
	w.play(factory)
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	must(w, sched.WaitForHandlersSync(ctx))
	// The fake API server forgets what happens between a list and its watch.
	for _, r := range []string{"pods", "nodes", "persistentvolumes", "persistentvolumeclaims", "csistoragecapacities", "storageclasses"} {
		watching(r)
	}
	var done sync.WaitGroup
	done.Go(func() { sched.Run(ctx) })
	t.Cleanup(func() { cancel(); done.Wait() })
	return w
}

// manifest reads the scheduler's configuration out of the manifest that is shipped.
func manifest(t *testing.T) *config.KubeSchedulerConfiguration {
	t.Helper()
	file, err := os.ReadFile("../../manifests/base/scheduler.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for document := range strings.SplitSeq(string(file), "\n---\n") {
		var m corev1.ConfigMap
		if err := yaml.Unmarshal([]byte(document), &m); err != nil || m.Kind != "ConfigMap" {
			continue
		}
		o, _, err := scheme.Codecs.UniversalDecoder().Decode([]byte(m.Data["scheduler.yaml"]), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		return o.(*config.KubeSchedulerConfiguration)
	}
	t.Fatal("manifests/base/scheduler.yaml has no ConfigMap")
	return nil
}

// countWatches returns a function that waits for a watch of a resource.
func (w *world) countWatches() func(resource string) {
	var mu sync.Mutex
	begun := map[string]chan struct{}{}
	of := func(resource string) chan struct{} {
		mu.Lock()
		defer mu.Unlock()
		if begun[resource] == nil {
			begun[resource] = make(chan struct{}, 64)
		}
		return begun[resource]
	}
	w.client.PrependWatchReactor("*", func(a clienttesting.Action) (bool, watch.Interface, error) {
		stream, err := w.client.Tracker().Watch(a.GetResource(), a.GetNamespace())
		of(a.GetResource().Resource) <- struct{}{}
		return true, stream, err
	})
	return func(resource string) {
		select {
		case <-of(resource):
		case <-time.After(patience):
			w.Fatalf("nobody watches %s", resource)
		}
	}
}

// bind does what the API server does with a Binding.
func (w *world) bind(a clienttesting.Action) (bool, runtime.Object, error) {
	if a.GetSubresource() != "binding" {
		return false, nil, nil
	}
	binding := a.(clienttesting.CreateAction).GetObject().(*corev1.Binding)
	pods := corev1.SchemeGroupVersion.WithResource("pods")
	o, err := w.client.Tracker().Get(pods, a.GetNamespace(), binding.Name)
	if err != nil {
		return true, nil, err
	}
	pod := o.(*corev1.Pod).DeepCopy()
	pod.Spec.NodeName = binding.Target.Name
	return true, binding, w.client.Tracker().Update(pods, pod, a.GetNamespace())
}

// play runs the PV controller and the agents.
func (w *world) play(factory informers.SharedInformerFactory) {
	again := func(any) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.act()
	}
	handler := cache.ResourceEventHandlerFuncs{AddFunc: again, UpdateFunc: func(_, o any) { again(o) }}
	for _, informer := range []cache.SharedIndexInformer{
		factory.Core().V1().PersistentVolumes().Informer(),
		factory.Core().V1().PersistentVolumeClaims().Informer(),
	} {
		_, err := informer.AddEventHandler(handler)
		must(w, err)
	}
}

func (w *world) act() {
	claims, err := w.client.CoreV1().PersistentVolumeClaims(namespace).List(w.ctx, metav1.ListOptions{})
	if err != nil {
		return // the world has ended
	}
	for i := range claims.Items {
		claim := &claims.Items[i]
		if claim.Spec.VolumeName != "" {
			continue
		}
		if pv := w.reservedFor(claim); pv != nil {
			w.marry(claim, pv)
		} else if node := claim.Annotations[storagevolume.AnnSelectedNode]; node != "" && !w.halted {
			w.made++
			// To itself the agent reserves the volume; the PV controller binds it.
			w.addVolume(claim.Name, node, func(pv *corev1.PersistentVolume) { pv.Name = fmt.Sprintf("made-%d", w.made) })
		}
	}
}

func (w *world) reservedFor(claim *corev1.PersistentVolumeClaim) *corev1.PersistentVolume {
	pvs, err := w.client.CoreV1().PersistentVolumes().List(w.ctx, metav1.ListOptions{})
	if err != nil {
		return nil
	}
	for i := range pvs.Items {
		ref := pvs.Items[i].Spec.ClaimRef
		if ref != nil && ref.Name == claim.Name && (ref.UID == "" || ref.UID == claim.UID) {
			return &pvs.Items[i]
		}
	}
	return nil
}

func (w *world) marry(claim *corev1.PersistentVolumeClaim, pv *corev1.PersistentVolume) {
	pv.Spec.ClaimRef.UID = claim.UID
	pv.Status.Phase = corev1.VolumeBound
	if _, err := w.client.CoreV1().PersistentVolumes().Update(w.ctx, pv, metav1.UpdateOptions{}); err != nil {
		return
	}
	claim.Spec.VolumeName = pv.Name
	claim.Status.Phase = corev1.ClaimBound
	metav1.SetMetaDataAnnotation(&claim.ObjectMeta, storagevolume.AnnBindCompleted, "yes")
	_, _ = w.client.CoreV1().PersistentVolumeClaims(namespace).Update(w.ctx, claim, metav1.UpdateOptions{})
}

// resume lets halted agents work.
func (w *world) resume() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.halted = false
	w.act()
}

func (w *world) volumesMade() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.made
}

// storageNode adds a node with a volume group that its agent has reported.
func (w *world) storageNode(name string, free string) {
	w.addNode(name)
	w.report(name, free)
}

func (w *world) addNode(name string) {
	_, err := w.client.CoreV1().Nodes().Create(w.ctx, &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{
			volume.NodeLabel(vgOf(name)): "true",
			// Of another name than the node, as after a rename.
			corev1.LabelHostname: "host-of-" + name,
		}},
		Status: corev1.NodeStatus{
			Allocatable: corev1.ResourceList{corev1.ResourcePods: resource.MustParse("100")},
			Conditions:  []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}},
		},
	}, metav1.CreateOptions{})
	must(w, err)
}

func (w *world) report(node, free string) {
	_, err := w.client.StorageV1().CSIStorageCapacities(volume.SystemNamespace).Create(w.ctx, &storagev1.CSIStorageCapacity{
		ObjectMeta: metav1.ObjectMeta{
			Name: "berth-" + node, Namespace: volume.SystemNamespace, UID: types.UID("capacity-" + node),
			Annotations: map[string]string{
				volume.AnnotationNode:    node,
				volume.AnnotationVGUUID:  vgOf(node),
				volume.AnnotationVGSeqno: "1",
			},
		},
		StorageClassName: class,
		Capacity:         ptr.To(resource.MustParse(free)),
	}, metav1.CreateOptions{})
	must(w, err)
}

func (w *world) setReady(node string, ready corev1.ConditionStatus) {
	n, err := w.client.CoreV1().Nodes().Get(w.ctx, node, metav1.GetOptions{})
	must(w, err)
	n.Status.Conditions[0].Status = ready
	_, err = w.client.CoreV1().Nodes().UpdateStatus(w.ctx, n, metav1.UpdateOptions{})
	must(w, err)
}

// addVolume publishes a volume that is reserved for the claim, unless change says
// otherwise.
func (w *world) addVolume(claim, node string, change func(*corev1.PersistentVolume)) {
	pv := volumeOf(claim, node)
	if change != nil {
		change(pv)
	}
	_, err := w.client.CoreV1().PersistentVolumes().Create(w.ctx, pv, metav1.CreateOptions{})
	must(w, err)
}

func volumeOf(claim, node string) *corev1.PersistentVolume {
	v := volume.Volume{
		VGUUID: vgOf(node), VGName: "berth", VGSeqno: 2, LVUUID: "lv-" + claim, LVName: "berth-x",
		Tags: volume.Tags{FSUUID: "fs", Generation: 1, APIServer: "now"},
	}
	if set, ordinal, is := cutOrdinal(claim); is {
		v.Tags.Member = volume.Member{StatefulSet: set, Ordinal: ordinal, Replicas: 3}
	}
	pv := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: "pv-" + claim, UID: types.UID("pv-" + claim), Annotations: v.Annotations()},
		Spec: corev1.PersistentVolumeSpec{
			StorageClassName: class,
			AccessModes:      []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Capacity:         corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("10Gi")},
			ClaimRef:         &corev1.ObjectReference{Namespace: namespace, Name: claim},
			NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{
				NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{{
					Key: volume.NodeLabel(vgOf(node)), Operator: corev1.NodeSelectorOpIn, Values: []string{"true"},
				}}}},
			}},
		},
		Status: corev1.PersistentVolumeStatus{Phase: corev1.VolumeAvailable},
	}
	pv.Annotations[storagevolume.AnnDynamicallyProvisioned] = volume.Provisioner
	return pv
}

// reserve is what an agent does with a Released volume that it has verified.
func (w *world) reserve(pvName string) {
	pv, err := w.client.CoreV1().PersistentVolumes().Get(w.ctx, pvName, metav1.GetOptions{})
	must(w, err)
	pv.Spec.ClaimRef.UID = ""
	pv.Status.Phase = corev1.VolumeAvailable
	_, err = w.client.CoreV1().PersistentVolumes().Update(w.ctx, pv, metav1.UpdateOptions{})
	must(w, err)
}

func (w *world) addClaim(name string) {
	_, err := w.client.CoreV1().PersistentVolumeClaims(namespace).Create(w.ctx, pvcOf(name), metav1.CreateOptions{})
	must(w, err)
}

func pvcOf(name string) *corev1.PersistentVolumeClaim {
	return &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace, UID: types.UID("claim-" + name)},
		Spec: corev1.PersistentVolumeClaimSpec{
			StorageClassName: ptr.To(class),
			AccessModes:      []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:        corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("10Gi")}},
		},
		Status: corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimPending},
	}
}

// addMember adds the claim and the pod of a member, such as db-0.
func (w *world) addMember(name string) {
	w.addClaim("data-" + name)
	w.addPod(name, "data-"+name)
}

func (w *world) addPod(name string, claims ...string) {
	pod := podOf(name, claims...)
	_, err := w.client.CoreV1().Pods(namespace).Create(w.ctx, pod, metav1.CreateOptions{})
	must(w, err)
}

func podOf(name string, claims ...string) *corev1.Pod {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace, UID: types.UID("pod-" + name)},
		Spec: corev1.PodSpec{
			SchedulerName: volume.SchedulerName,
			Containers:    []corev1.Container{{Name: "c", Image: "i"}},
		},
	}
	if set, _, is := cutOrdinal("data-" + name); is {
		pod.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "StatefulSet", Name: set, UID: "set", Controller: ptr.To(true)}}
	}
	for _, claim := range claims {
		pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: claim, VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim},
		}})
	}
	return pod
}

// expectNode waits until the pod is bound and checks where.
func (w *world) expectNode(pod, node string) {
	w.Helper()
	if got := w.nodeOf(pod); got != node {
		w.Errorf("pod %s is on node %s, want %s", pod, got, node)
	}
}

func (w *world) nodeOf(pod string) string {
	w.Helper()
	return w.awaitPod(pod, "a node", func(p *corev1.Pod) bool { return p.Spec.NodeName != "" }).Spec.NodeName
}

// expectRefusal waits until the pod is refused and for this reason.
func (w *world) expectRefusal(pod, code string) {
	w.Helper()
	p := w.awaitPod(pod, "refusal "+code, func(p *corev1.Pod) bool {
		return p.Spec.NodeName != "" || strings.Contains(refusal(p), "("+code+")")
	})
	if p.Spec.NodeName != "" {
		w.Fatalf("pod %s is on node %s, want refusal %s", pod, p.Spec.NodeName, code)
	}
	if message := refusal(p); strings.HasSuffix(message, "not found") {
		w.Errorf("pod %s is told, after the reason, that something is not found: %s", pod, message)
	}
}

func refusal(p *corev1.Pod) string {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return c.Message
		}
	}
	return ""
}

func (w *world) awaitPod(name, what string, done func(*corev1.Pod) bool) *corev1.Pod {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	stream, err := w.client.CoreV1().Pods(namespace).Watch(ctx, metav1.ListOptions{})
	must(w, err)
	defer stream.Stop()
	pod, err := w.client.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{})
	must(w, err)
	for !done(pod) {
		select {
		case e := <-stream.ResultChan():
			if p, is := e.Object.(*corev1.Pod); is && p.Name == name {
				pod = p
			}
		case <-ctx.Done():
			w.Fatalf("pod %s has no %s; it was last told: %s", name, what, refusal(pod))
		}
	}
	return pod
}

func (w *world) awaitBound(claim string) {
	w.Helper()
	w.awaitClaim(claim, "bound", func(c *corev1.PersistentVolumeClaim) bool { return c.Status.Phase == corev1.ClaimBound })
}

func (w *world) awaitClaim(claim, what string, done func(*corev1.PersistentVolumeClaim) bool) {
	w.Helper()
	api := w.client.CoreV1().PersistentVolumeClaims(namespace)
	stream, err := api.Watch(w.ctx, metav1.ListOptions{})
	must(w, err)
	defer stream.Stop()
	pvc, err := api.Get(w.ctx, claim, metav1.GetOptions{})
	must(w, err)
	for timeout := time.After(patience); !done(pvc); {
		select {
		case e := <-stream.ResultChan():
			if c, is := e.Object.(*corev1.PersistentVolumeClaim); is && c.Name == claim {
				pvc = c
			}
		case <-timeout:
			w.Fatalf("claim %s is not %s", claim, what)
		}
	}
}

func vgOf(node string) string { return "vg-of-" + node }

// cutOrdinal reads "data-db-0".
func cutOrdinal(claim string) (set string, ordinal int, is bool) {
	name, is := strings.CutPrefix(claim, "data-")
	i := strings.LastIndex(name, "-")
	if !is || i < 0 {
		return "", 0, false
	}
	_, err := fmt.Sscan(name[i+1:], &ordinal)
	return name[:i], ordinal, err == nil
}

func must(w *world, err error) {
	w.Helper()
	if err != nil && w.ctx.Err() == nil {
		w.Fatal(err)
	}
}
