package plugin_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// TestNoWakeIsLost lets the real scheduler be told, again and again and in the middle
// of its attempts, of changes that may help a member and do not. Then comes the one
// that does. Every member is bound: one whose wake was lost would wait for the
// scheduler's own look after five minutes.
func TestNoWakeIsLost(t *testing.T) {
	const members = 24
	w := newWorld(t)
	for n := range members {
		node, claim := fmt.Sprintf("n%d", n), fmt.Sprintf("data-db%d-0", n)
		w.storageNode(node, "900Gi")
		switch n % 3 {
		case 0:
			w.setReady(node, corev1.ConditionUnknown)
		case 1:
			w.cordon(node, true)
		}
		w.addVolume(claim, node, func(pv *corev1.PersistentVolume) {
			if n%3 == 2 {
				pv.Spec.ClaimRef.UID = "of-the-claim-that-was-deleted"
				pv.Status.Phase = corev1.VolumeReleased
			}
		})
		w.addMember(fmt.Sprintf("db%d-0", n))
	}
	var done sync.WaitGroup
	for n := range members {
		random := rand.New(rand.NewPCG(uint64(n), 2))
		done.Go(func() {
			node, volume := fmt.Sprintf("n%d", n), fmt.Sprintf("pv-data-db%d-0", n)
			for k := range random.IntN(30) {
				w.remark(volume, k)
				time.Sleep(time.Duration(random.IntN(30)) * time.Millisecond)
			}
			switch n % 3 {
			case 0:
				w.setReady(node, corev1.ConditionTrue)
			case 1:
				w.cordon(node, false)
			case 2:
				w.reserve(volume)
			}
		})
	}
	done.Wait()
	for n := range members {
		w.expectNode(fmt.Sprintf("db%d-0", n), fmt.Sprintf("n%d", n))
	}
}

// remark changes a volume in what helps nobody.
func (w *world) remark(pv string, k int) {
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{"remark":"%d"}}}`, k)
	_, err := w.client.CoreV1().PersistentVolumes().Patch(w.ctx, pv, types.MergePatchType, patch, metav1.PatchOptions{})
	must(w, err)
}

func (w *world) cordon(node string, cordoned bool) {
	n, err := w.client.CoreV1().Nodes().Get(w.ctx, node, metav1.GetOptions{})
	must(w, err)
	n.Spec.Unschedulable = cordoned
	_, err = w.client.CoreV1().Nodes().Update(w.ctx, n, metav1.UpdateOptions{})
	must(w, err)
}
