package scheduling

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	storagevolume "k8s.io/component-helpers/storage/volume"
	"k8s.io/utils/ptr"

	"github.com/berth-dev/berth/pkg/volume"
	"github.com/berth-dev/berth/test/played"
)

// agent plays lvm-provisioner on all machines.
type agent struct {
	client   kubernetes.Interface
	identity string
	slow     time.Duration // the longest that a volume, a look or a report takes

	mu         sync.Mutex
	groups     map[string]*group
	volumes    map[string]string // claim: node
	overbooked []string          // claims that were sent where there was no room
	made       int
}

// group is a volume group, as it is on the disk.
type group struct {
	size, used int64
	seqno      int
}

func newAgent(client kubernetes.Interface, identity string) *agent {
	return &agent{client: client, identity: identity, slow: 200 * time.Millisecond, groups: map[string]*group{}, volumes: map[string]string{}}
}

// run works until the context ends.
func (a *agent) run(ctx context.Context) error {
	factory := informers.NewSharedInformerFactory(a.client, 0)
	later := func(f func(context.Context) error) {
		go func() {
			select {
			case <-time.After(rand.N(a.slow + 1)):
				_ = f(ctx) // what fails is seen again when it changes
			case <-ctx.Done():
			}
		}()
	}
	for _, x := range []struct {
		informer cache.SharedIndexInformer
		seen     func(o any)
	}{
		{factory.Core().V1().PersistentVolumes().Informer(), func(o any) {
			if pv := o.(*corev1.PersistentVolume); pv.Status.Phase == corev1.VolumeReleased {
				later(func(ctx context.Context) error { return played.Reserve(ctx, a.client, pv) })
			}
		}},
		{factory.Core().V1().PersistentVolumeClaims().Informer(), func(o any) {
			pvc := o.(*corev1.PersistentVolumeClaim)
			if pvc.Spec.VolumeName == "" && pvc.Annotations[storagevolume.AnnSelectedNode] != "" && pvc.Annotations[storagevolume.AnnStorageProvisioner] == volume.Provisioner {
				later(func(ctx context.Context) error { return a.provision(ctx, pvc) })
			}
		}},
	} {
		if _, err := x.informer.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: x.seen, UpdateFunc: func(_, o any) { x.seen(o) }}); err != nil {
			return err
		}
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	return nil
}

// provision makes the claim's volume on the node that was chosen for it. Where
// there is no room it gives the node back, as the library does.
func (a *agent) provision(ctx context.Context, pvc *corev1.PersistentVolumeClaim) error {
	node, size := pvc.Annotations[storagevolume.AnnSelectedNode], pvc.Spec.Resources.Requests[corev1.ResourceStorage]
	a.mu.Lock()
	if _, done := a.volumes[pvc.Name]; done {
		a.mu.Unlock()
		return nil
	}
	g := a.groups[node]
	if g.used+size.Value() > g.size {
		a.overbooked = append(a.overbooked, pvc.Name+" on "+node)
		a.mu.Unlock()
		next := pvc.DeepCopy()
		delete(next.Annotations, storagevolume.AnnSelectedNode)
		_, err := a.client.CoreV1().PersistentVolumeClaims(namespace).Update(ctx, next, metav1.UpdateOptions{})
		return err
	}
	g.used += size.Value()
	g.seqno += 2
	a.volumes[pvc.Name] = node
	a.made++
	seqno := g.seqno
	a.mu.Unlock()
	if err := a.publish(ctx, pvc.Name, node, seqno); err != nil {
		return err
	}
	// The next pass over the node comes a while after the volume.
	time.Sleep(rand.N(a.slow + 1))
	return a.capacity(ctx, node)
}

// publish makes the volume's object, reserved for the claim.
func (a *agent) publish(ctx context.Context, claim, node string, seqno int) error {
	set, ordinal := cutOrdinal(claim)
	v := volume.Volume{
		VGUUID: vgOf(node), VGName: "berth", VGSeqno: seqno, LVUUID: "lv-" + claim, LVName: volume.LVName(namespace, claim),
		Tags: volume.Tags{
			FSUUID: "fs", Generation: 1, APIServer: a.identity,
			Member: volume.Member{StatefulSet: set, Ordinal: ordinal, Replicas: 3},
		},
	}
	pv := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: "lv-" + claim, Annotations: v.Annotations()},
		Spec: corev1.PersistentVolumeSpec{
			StorageClassName: class, PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
			AccessModes:            []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Capacity:               corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("10Gi")},
			ClaimRef:               &corev1.ObjectReference{Kind: "PersistentVolumeClaim", APIVersion: "v1", Namespace: namespace, Name: claim},
			PersistentVolumeSource: corev1.PersistentVolumeSource{Local: &corev1.LocalVolumeSource{Path: "/dev/disk/by-berth/lv-" + claim}},
			NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{
				NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{{
					Key: volume.NodeLabel(vgOf(node)), Operator: corev1.NodeSelectorOpIn, Values: []string{"true"},
				}}}},
			}},
		},
	}
	pv.Annotations[storagevolume.AnnDynamicallyProvisioned] = volume.Provisioner
	_, err := a.client.CoreV1().PersistentVolumes().Create(ctx, pv, metav1.CreateOptions{})
	return err
}

// retain is a volume that is there from the start.
func (a *agent) retain(ctx context.Context, claim, node string) error {
	a.mu.Lock()
	g := a.groups[node]
	g.used += 10 * gibi
	g.seqno += 2
	a.volumes[claim] = node
	seqno := g.seqno
	a.mu.Unlock()
	if err := a.publish(ctx, claim, node, seqno); err != nil {
		return err
	}
	return a.capacity(ctx, node)
}

// report makes the machine's volume group, and publishes it.
func (a *agent) report(ctx context.Context, node string, size int64) error {
	a.mu.Lock()
	a.groups[node] = &group{size: size, seqno: 1}
	a.mu.Unlock()
	return a.capacity(ctx, node)
}

// extend is vgextend.
func (a *agent) extend(ctx context.Context, node string, bytes int64) error {
	a.mu.Lock()
	a.groups[node].size += bytes
	a.groups[node].seqno++
	a.mu.Unlock()
	return a.capacity(ctx, node)
}

// capacity publishes what is left on a node, as of now.
func (a *agent) capacity(ctx context.Context, node string) error {
	api := a.client.StorageV1().CSIStorageCapacities(volume.SystemNamespace)
	for {
		old, err := api.Get(ctx, "berth-"+node, metav1.GetOptions{})
		absent := apierrors.IsNotFound(err)
		if err != nil && !absent {
			return err
		}
		a.mu.Lock()
		g := a.groups[node]
		next := &storagev1.CSIStorageCapacity{
			ObjectMeta: metav1.ObjectMeta{Name: "berth-" + node, Namespace: volume.SystemNamespace, Annotations: map[string]string{
				volume.AnnotationNode: node, volume.AnnotationVGUUID: vgOf(node), volume.AnnotationVGSeqno: strconv.Itoa(g.seqno),
			}},
			StorageClassName: class,
			NodeTopology:     &metav1.LabelSelector{MatchLabels: map[string]string{volume.NodeLabel(vgOf(node)): "true"}},
			Capacity:         ptr.To(*resource.NewQuantity(g.size-g.used, resource.BinarySI)),
		}
		a.mu.Unlock()
		if absent {
			_, err = api.Create(ctx, next, metav1.CreateOptions{})
		} else {
			next.ResourceVersion = old.ResourceVersion
			_, err = api.Update(ctx, next, metav1.UpdateOptions{})
		}
		if !apierrors.IsConflict(err) {
			return err
		}
	}
}

// homes is where each claim's volume is.
func (a *agent) homes() map[string]string {
	a.mu.Lock()
	defer a.mu.Unlock()
	homes := map[string]string{}
	for claim, node := range a.volumes {
		homes[strings.TrimPrefix(claim, "data-")] = node
	}
	return homes
}

// truth says what is wrong on the disks, if anything is.
func (a *agent) truth() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.overbooked) > 0 {
		return fmt.Errorf("claims were sent where there was no room: %v", a.overbooked)
	}
	lodgers := map[string]string{}
	for claim, node := range a.volumes {
		set, _ := cutOrdinal(claim)
		if other, taken := lodgers[set+" on "+node]; taken {
			return fmt.Errorf("%s and %s of one cluster are both on %s", claim, other, node)
		}
		lodgers[set+" on "+node] = claim
	}
	return nil
}

func cutOrdinal(claim string) (set string, ordinal int) {
	name := strings.TrimPrefix(claim, "data-")
	i := strings.LastIndex(name, "-")
	ordinal, err := strconv.Atoi(name[i+1:])
	if err != nil {
		panic(err)
	}
	return name[:i], ordinal
}

// vgOf is a UUID, made of the node's name.
func vgOf(node string) string { return "vg-of-" + node }
