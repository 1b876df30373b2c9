package inventory

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	storagevolume "k8s.io/component-helpers/storage/volume"

	"github.com/berth-dev/berth/pkg/placement"
	"github.com/berth-dev/berth/pkg/volume"
)

// proveTimeout bounds one comparison of reports with the API server.
const proveTimeout = 30 * time.Second

// Inventory is safe for concurrent use.
type Inventory struct {
	client     kubernetes.Interface
	volumes    cache.SharedIndexInformer
	claims     cache.SharedIndexInformer
	classes    cache.SharedIndexInformer
	capacities cache.SharedIndexInformer
	nodes      cache.SharedIndexInformer

	oracle  oracle
	proving sync.Mutex // held while reports are compared
	kicked  chan struct{}
	filled  atomic.Bool // synced was true once

	journal journal
	mu      sync.RWMutex
	ledger  *ledger
}

// New adds the inventory's indexes to the factory's informers, which the caller
// starts. One factory serves one Inventory. Somebody has to call Run or LiveFacts,
// or no node ever counts as reported.
func New(client kubernetes.Interface, factory informers.SharedInformerFactory) (*Inventory, error) {
	core, storage := factory.Core().V1(), factory.Storage().V1()
	i := &Inventory{
		client:     client,
		volumes:    core.PersistentVolumes().Informer(),
		claims:     core.PersistentVolumeClaims().Informer(),
		classes:    storage.StorageClasses().Informer(),
		capacities: storage.CSIStorageCapacities().Informer(),
		nodes:      core.Nodes().Informer(),
		oracle:     oracle{client: client},
		kicked:     make(chan struct{}, 1),
		ledger:     newLedger(),
	}
	for _, x := range []struct {
		what     string
		kind     kind
		informer cache.SharedIndexInformer
		indexers cache.Indexers
	}{
		{"volumes", volumes, i.volumes, volumeIndexers()},
		{"claims", claims, i.claims, cache.Indexers{}},
		{"capacities", capacities, i.capacities, cache.Indexers{}},
		{"nodes", nodes, i.nodes, cache.Indexers{}},
		{"classes", classes, i.classes, cache.Indexers{}},
	} {
		x.indexers[indexJournal] = i.journal.indexer(x.kind)
		if err := x.informer.AddIndexers(x.indexers); err != nil {
			return nil, fmt.Errorf("index %s: %w", x.what, err)
		}
		if _, err := x.informer.AddEventHandler(i.journal.handler(x.kind)); err != nil {
			return nil, fmt.Errorf("follow %s: %w", x.what, err)
		}
	}
	// A report is compared when it comes, not when the first pod asks for it.
	if _, err := i.capacities.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: func(any) { i.kick() }}); err != nil {
		return nil, fmt.Errorf("follow capacities: %w", err)
	}
	return i, nil
}

// synced says that every store holds the API server's first list.
func (i *Inventory) synced() bool {
	if i.filled.Load() {
		return true
	}
	for _, informer := range []cache.SharedIndexInformer{i.volumes, i.claims, i.classes, i.capacities, i.nodes} {
		if !informer.HasSynced() {
			return false
		}
	}
	i.filled.Store(true)
	return true
}

// Request looks at a pod's claims. It returns no claims for a pod that is none
// of our business, and a reason for one of which that cannot be said yet: to
// skip such a pod would leave it to the other plugins, which may see its claim
// a moment later and give it a blank volume.
func (i *Inventory) Request(pod *corev1.Pod) (placement.Request, *placement.Reason) {
	var r placement.Request
	for _, name := range ClaimsOf(pod) {
		pvc, exists := get[*corev1.PersistentVolumeClaim](i.claims, name.String())
		if !exists || pvc.DeletionTimestamp != nil {
			reason := placement.ClaimMissing(name, exists)
			return placement.Request{}, &reason
		}
		ours, reason := i.ours(pvc)
		if reason != nil {
			return placement.Request{}, reason
		}
		if ours {
			r.Claims = append(r.Claims, claimOf(pvc))
		}
	}
	if len(r.Claims) > 0 {
		r.Member = memberOf(pod)
	}
	return r, nil
}

// ours says that the claim's class is served by our provisioner, or, when the
// class is gone, that the claim's volume is.
func (i *Inventory) ours(pvc *corev1.PersistentVolumeClaim) (bool, *placement.Reason) {
	className := storagevolume.GetPersistentVolumeClaimClass(pvc)
	if className == "" {
		return false, nil
	}
	if provisioner, exists := i.provisioner(className); exists {
		return provisioner == volume.Provisioner, nil
	}
	if pvc.Spec.VolumeName != "" {
		pv, exists := get[*corev1.PersistentVolume](i.volumes, pvc.Spec.VolumeName)
		return exists && isOurs(pv), nil
	}
	for _, pv := range byIndex[*corev1.PersistentVolume](i.volumes, indexClaim, keyOf(pvc)) {
		if pv.Spec.StorageClassName == className {
			return true, nil
		}
	}
	reason := placement.ClassMissing(nameOf(pvc), className)
	return false, &reason
}

// ClaimsOf names the claims that a pod's volumes use. Those of generic ephemeral
// volumes are named after the pod.
func ClaimsOf(pod *corev1.Pod) []placement.ClaimName {
	var names []placement.ClaimName
	for _, v := range pod.Spec.Volumes {
		switch {
		case v.PersistentVolumeClaim != nil:
			names = append(names, placement.ClaimName{Namespace: pod.Namespace, Name: v.PersistentVolumeClaim.ClaimName})
		case v.Ephemeral != nil:
			names = append(names, placement.ClaimName{Namespace: pod.Namespace, Name: pod.Name + "-" + v.Name})
		}
	}
	return names
}

// HasClaims says whether ClaimsOf names any. It allocates nothing.
func HasClaims(pod *corev1.Pod) bool {
	for i := range pod.Spec.Volumes {
		if v := &pod.Spec.Volumes[i]; v.PersistentVolumeClaim != nil || v.Ephemeral != nil {
			return true
		}
	}
	return false
}

// memberOf reads the pod's place in its StatefulSet, if it has one.
func memberOf(pod *corev1.Pod) placement.Member {
	owner := metav1.GetControllerOf(pod)
	if owner == nil || owner.Kind != "StatefulSet" {
		return placement.Member{}
	}
	text, follows := strings.CutPrefix(pod.Name, owner.Name+"-")
	ordinal, err := strconv.Atoi(text)
	if !follows || err != nil {
		return placement.Member{}
	}
	return placement.Member{Namespace: pod.Namespace, StatefulSet: owner.Name, Ordinal: ordinal}
}

func claimOf(pvc *corev1.PersistentVolumeClaim) placement.Claim {
	request := pvc.Spec.Resources.Requests[corev1.ResourceStorage]
	return placement.Claim{
		ClaimName:    nameOf(pvc),
		UID:          string(pvc.UID),
		Class:        storagevolume.GetPersistentVolumeClaimClass(pvc),
		Bytes:        request.Value(),
		VolumeName:   pvc.Spec.VolumeName,
		SelectedNode: pvc.Annotations[storagevolume.AnnSelectedNode],
		SharesWith:   pvc.Annotations[placement.ShareAnnotation],
		Abandoned:    volume.Abandoned(pvc.Annotations),
	}
}

func nameOf(o metav1.Object) placement.ClaimName {
	return placement.ClaimName{Namespace: o.GetNamespace(), Name: o.GetName()}
}

func keyOf(o metav1.Object) string { return nameOf(o).String() }
