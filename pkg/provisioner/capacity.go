package provisioner

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/berth-dev/berth/pkg/lvm"
	"github.com/berth-dev/berth/pkg/volume"
)

// capacity is the free space of a class on this node, and at the same time the
// marker that this node has published every volume of the volume group. It also
// says which volumes elsewhere its disks know of that the API does not show.
func (a *Agent) capacity(c class, vg lvm.VG, missing []volume.Home) *storagev1.CSIStorageCapacity {
	room := c.Layout.Room(vg)
	if a.safety.refuses() != nil {
		room = 0 // the volumes that are there count, and no further one is made
	}
	sum := sha256.Sum256([]byte(a.node + "/" + c.Name))
	object := &storagev1.CSIStorageCapacity{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: volume.SystemNamespace,
			Name:      "berth-" + hex.EncodeToString(sum[:16]),
			Annotations: map[string]string{
				volume.AnnotationNode:      a.node,
				volume.AnnotationVGUUID:    vg.UUID,
				volume.AnnotationVGSeqno:   strconv.Itoa(vg.Seqno),
				volume.AnnotationAPIServer: a.life,
			},
		},
		StorageClassName: c.Name,
		NodeTopology:     &metav1.LabelSelector{MatchLabels: map[string]string{volume.NodeLabel(vg.UUID): "true"}},
		Capacity:         resource.NewQuantity(room, resource.BinarySI),
	}
	if len(missing) > 0 {
		texts := make([]string, len(missing))
		for i, h := range missing {
			texts[i] = h.String()
		}
		object.Annotations[volume.AnnotationHomes] = strings.Join(texts, " ")
	}
	return object
}

// publishCapacity makes the node's capacity objects what want says, and writes
// only what differs. An object of this node that is not wanted is a statement
// that no longer holds, and is withdrawn: the scheduler then takes the node for
// one that has not reported. Only a pass that has vouched for what it saw makes one.
func (a *Agent) publishCapacity(ctx context.Context, want []*storagev1.CSIStorageCapacity, fresh bool) error {
	have, err := a.capacities.CSIStorageCapacities(volume.SystemNamespace).List(labels.Everything())
	if err != nil {
		return fmt.Errorf("list capacity: %w", err)
	}
	stale := map[string]*storagev1.CSIStorageCapacity{}
	for _, c := range have {
		if c.Annotations[volume.AnnotationNode] == a.node {
			stale[c.Name] = c
		}
	}
	api := a.client.StorageV1().CSIStorageCapacities(volume.SystemNamespace)
	create := func(c *storagev1.CSIStorageCapacity) error {
		a.vouchAgain()
		_, err := api.Create(ctx, c, metav1.CreateOptions{})
		return err
	}
	var problems []error
	for _, c := range want {
		old, found := stale[c.Name]
		delete(stale, c.Name)
		switch {
		case !fresh && (!found || !sameTopology(old, c) || old.Annotations[volume.AnnotationAPIServer] != a.life):
			a.vouched = false // also when another agent of this node has, for a later API server
			err = errNotVouched
		case !found:
			err = create(c)
		case sameCapacity(old, c):
			continue
		case !sameTopology(old, c):
			// Class and topology are immutable; the volume group was made anew.
			if err = api.Delete(ctx, c.Name, metav1.DeleteOptions{}); err == nil {
				err = create(c)
			}
		default:
			next := old.DeepCopy()
			next.Annotations, next.Capacity = c.Annotations, c.Capacity
			_, err = api.Update(ctx, next, metav1.UpdateOptions{})
		}
		// Each of these says that the cache was behind: the next pass sees it.
		if err != nil && !apierrors.IsAlreadyExists(err) && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
			problems = append(problems, fmt.Errorf("publish capacity of class %s: %w", c.StorageClassName, err))
		}
	}
	for _, c := range stale {
		if err := api.Delete(ctx, c.Name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			problems = append(problems, fmt.Errorf("withdraw capacity of class %s: %w", c.StorageClassName, err))
		}
	}
	return errors.Join(problems...)
}

func sameTopology(a, b *storagev1.CSIStorageCapacity) bool {
	return a.StorageClassName == b.StorageClassName && equality.Semantic.DeepEqual(a.NodeTopology, b.NodeTopology)
}

func sameCapacity(a, b *storagev1.CSIStorageCapacity) bool {
	return sameTopology(a, b) && equality.Semantic.DeepEqual(a.Capacity, b.Capacity) &&
		equality.Semantic.DeepEqual(a.Annotations, b.Annotations)
}
