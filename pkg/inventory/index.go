package inventory

import (
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/client-go/tools/cache"
	storagevolume "k8s.io/component-helpers/storage/volume"

	"github.com/berth-dev/berth/pkg/placement"
	"github.com/berth-dev/berth/pkg/volume"
)

// Indexes of the informers' stores. The prefix keeps them apart from those that
// the scheduler and its other plugins add to the same informers.
const (
	indexClaim   = "berth.dev/claim"   // volume: namespace/name of its claim
	indexCluster = "berth.dev/cluster" // volume: namespace/StatefulSet
	indexStem    = "berth.dev/stem"    // volume: namespace/stem of its claim
	indexJournal = "berth.dev/journal" // everything: no key, see journal
)

func volumeIndexers() cache.Indexers {
	ofClaim := func(key func(ref *corev1.ObjectReference) string) cache.IndexFunc {
		return func(o any) ([]string, error) {
			pv, is := o.(*corev1.PersistentVolume)
			if !is || !isOurs(pv) || pv.Spec.ClaimRef == nil {
				return nil, nil
			}
			if k := key(pv.Spec.ClaimRef); k != "" {
				return []string{k}, nil
			}
			return nil, nil
		}
	}
	return cache.Indexers{
		indexClaim: ofClaim(func(ref *corev1.ObjectReference) string {
			return ref.Namespace + "/" + ref.Name
		}),
		indexStem: ofClaim(func(ref *corev1.ObjectReference) string {
			return stem(ref.Namespace, ref.Name)
		}),
		indexCluster: func(o any) ([]string, error) {
			pv, is := o.(*corev1.PersistentVolume)
			if !is || !isOurs(pv) || pv.Spec.ClaimRef == nil || pv.Annotations[volume.AnnotationStatefulSet] == "" {
				return nil, nil
			}
			return []string{clusterOf(memberOfVolume(pv))}, nil
		},
	}
}

// groupLabels are the labels of volume groups on a node, in order.
func groupLabels(n *corev1.Node) []string {
	var labels []string
	for label, value := range n.Labels {
		if strings.HasPrefix(label, volume.NodeLabelPrefix) && value == "true" {
			labels = append(labels, label)
		}
	}
	slices.Sort(labels)
	return labels
}

// Publisher is the node whose agent published the capacity, or "" for somebody
// else's.
func Publisher(c *storagev1.CSIStorageCapacity) string {
	if c.Namespace != volume.SystemNamespace {
		return ""
	}
	return c.Annotations[volume.AnnotationNode]
}

// clusterOf is namespace/StatefulSet, or "" for a member of none.
func clusterOf(m placement.Member) string {
	if !m.Known() {
		return ""
	}
	return m.Namespace + "/" + m.StatefulSet
}

// memberOfVolume reads the member from the annotations of a volume of ours.
func memberOfVolume(pv *corev1.PersistentVolume) placement.Member {
	ordinal, err := strconv.Atoi(pv.Annotations[volume.AnnotationOrdinal])
	if pv.Annotations[volume.AnnotationStatefulSet] == "" || err != nil {
		return placement.Member{}
	}
	return placement.Member{
		Namespace: pv.Spec.ClaimRef.Namespace, StatefulSet: pv.Annotations[volume.AnnotationStatefulSet], Ordinal: ordinal,
	}
}

func claimNameOf(ref *corev1.ObjectReference) placement.ClaimName {
	return placement.ClaimName{Namespace: ref.Namespace, Name: ref.Name}
}

func isOurs(pv *corev1.PersistentVolume) bool {
	return pv.Annotations[storagevolume.AnnDynamicallyProvisioned] == volume.Provisioner
}

// stem is what the claims of all members have in common: the claim's name
// without its ordinal. "" is a name that no StatefulSet gives. It tells siblings
// whose StatefulSet is not written anywhere, such as claims in the making.
func stem(namespace, claim string) string {
	name := strings.TrimRight(claim, "0123456789")
	if name == claim || !strings.HasSuffix(name, "-") {
		return ""
	}
	return namespace + "/" + strings.TrimSuffix(name, "-")
}

// PodKeys are the keys under which a pod is found by Keys of what concerns it: its
// claims, and what they have in common with those of its siblings.
func PodKeys(pod *corev1.Pod) []string {
	var keys []string
	for _, c := range ClaimsOf(pod) {
		keys = append(keys, c.String())
		if s := stem(c.Namespace, c.Name); s != "" {
			keys = append(keys, stemKey+s)
		}
	}
	if cluster := clusterOf(memberOf(pod)); cluster != "" && len(keys) > 0 {
		keys = append(keys, clusterKey+cluster)
	}
	return keys
}

// VolumeKeys are the keys of the pods that a volume concerns: those of its claim,
// and of the siblings of the member that it belongs to. None for a volume that is
// not ours.
func VolumeKeys(pv *corev1.PersistentVolume) []string {
	if !isOurs(pv) || pv.Spec.ClaimRef == nil {
		return nil
	}
	c := claimNameOf(pv.Spec.ClaimRef)
	keys := []string{c.String()}
	if s := stem(c.Namespace, c.Name); s != "" {
		keys = append(keys, stemKey+s)
	}
	if cluster := clusterOf(memberOfVolume(pv)); cluster != "" {
		keys = append(keys, clusterKey+cluster)
	}
	return keys
}

// KeyOfSiblings says that a key is one that all members of a cluster have, and not
// that of one claim.
func KeyOfSiblings(key string) bool { return strings.HasPrefix(key, "/") }

// A slash cannot begin a namespace, so that kinds of keys do not meet.
const (
	stemKey    = "/stem/"
	clusterKey = "/cluster/"
)

// provisioner returns the provisioner of a class.
func (i *Inventory) provisioner(class string) (string, bool) {
	sc, exists := get[*storagev1.StorageClass](i.classes, class)
	if !exists {
		return "", false
	}
	return sc.Provisioner, true
}

func get[T any](informer cache.SharedIndexInformer, key string) (T, bool) {
	o, exists, err := informer.GetIndexer().GetByKey(key)
	if err != nil || !exists {
		var none T
		return none, false
	}
	t, is := o.(T)
	return t, is
}

// byIndex returns what the index has under the key. The index exists, as New has
// added it, and that is the only error that the store knows.
func byIndex[T any](informer cache.SharedIndexInformer, index, key string) []T {
	objects, err := informer.GetIndexer().ByIndex(index, key)
	if err != nil {
		return nil
	}
	return typed[T](objects)
}

func typed[T any](objects []any) []T {
	all := make([]T, 0, len(objects))
	for _, o := range objects {
		if t, is := o.(T); is {
			all = append(all, t)
		}
	}
	return all
}
