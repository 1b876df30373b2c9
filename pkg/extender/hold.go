package extender

import (
	"context"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"
	extenderv1 "k8s.io/kube-scheduler/extender/v1"
	"k8s.io/utils/clock"

	"github.com/berth-dev/berth/pkg/placement"
)

// holding is a promise that was made in the name of a pod whose further fate
// nobody tells an extender.
type holding struct {
	pod    types.NamespacedName
	uid    types.UID
	claims []placement.Claim
}

// choose leaves the best of the nodes and promises its room, in place of what was
// promised to these claims before. A node whose room somebody else was promised
// meanwhile goes to the failed ones.
func (e *Extender) choose(pod *corev1.Pod, m placement.Member, v placement.Verdict, nodes []string, failed extenderv1.FailedNodesMap) []string {
	scores := make([]int64, len(nodes)) // of a pinned pod's one node: none is needed
	if v.Action == placement.Allow {
		scores = e.scores(v, nodes)
	}
	for len(nodes) > 0 {
		// The first of equals: kube-scheduler begins its list at another node each time.
		best := slices.Index(scores, slices.Max(scores))
		node := nodes[best]
		reason := e.inventory.Promise(m, node, v)
		if reason == nil {
			e.held[v.Blank[0].ClaimName] = holding{
				pod: types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}, uid: pod.UID, claims: v.Blank,
			}
			return []string{node}
		}
		failed[node] = reason.String()
		nodes, scores = slices.Delete(nodes, best, best+1), slices.Delete(scores, best, best+1)
	}
	return nodes
}

// Sweep takes back, every so often, what was promised to pods that are gone. The
// inventory ends a promise whose volume is made or whose claim is gone; but a
// pod can go and leave its claim, and the room would be kept for nobody. That
// the pod is gone is asked of the API server itself: an error is no answer.
func (e *Extender) Sweep(ctx context.Context, client kubernetes.Interface, every time.Duration, c clock.WithTicker) {
	ticker := c.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C():
			e.sweep(ctx, client)
		}
	}
}

func (e *Extender) sweep(ctx context.Context, client kubernetes.Interface) {
	for name, h := range e.holdings() {
		pod, err := client.CoreV1().Pods(h.pod.Namespace).Get(ctx, h.pod.Name, metav1.GetOptions{})
		switch gone := apierrors.IsNotFound(err) || err == nil && pod.UID != h.uid; {
		case gone:
			e.drop(name, h, true)
			klog.FromContext(ctx).V(2).Info("Took a promise back: its pod is gone", "pod", h.pod, "claim", name)
		case err == nil && pod.Spec.NodeName != "":
			e.drop(name, h, false) // bound: the rest is the inventory's
		}
	}
}

func (e *Extender) holdings() map[placement.ClaimName]holding {
	e.mu.Lock()
	defer e.mu.Unlock()
	all := make(map[placement.ClaimName]holding, len(e.held))
	for name, h := range e.held {
		all[name] = h
	}
	return all
}

// drop forgets a holding, unless a newer pod has taken its place.
func (e *Extender) drop(name placement.ClaimName, h holding, release bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.held[name].uid != h.uid {
		return
	}
	delete(e.held, name)
	if release {
		e.inventory.Release(h.claims)
	}
}
