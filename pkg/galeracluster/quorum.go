package galeracluster

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/berth-dev/berth/pkg/rebuild"
)

// Quorum says which members are synced and serve, and of how many.
type Quorum struct {
	Synced   []int
	Replicas int
}

// Majority says that more than half of the cluster is synced.
func (q Quorum) Majority() bool { return 2*len(q.Synced) > q.Replicas }

// Quorum asks for the members of a cluster that are synced in the Primary
// component: by their sidecar's word on the pod, by kubelet's or the node
// controller's that it is so still, and by the report of this very pod. What
// cannot be read is an error, never "not synced".
func (w *Workload) Quorum(ctx context.Context, c rebuild.Cluster, name string) (Quorum, error) {
	shape, err := w.Shape(ctx, name)
	if err != nil {
		return Quorum{}, err
	}
	q := Quorum{Replicas: max(shape.Replicas, c.Replicas)}
	for i := range q.Replicas {
		ordinal := shape.FirstOrdinal + i
		synced, err := w.synced(ctx, c, fmt.Sprintf("%s-%d", name, ordinal), ordinal)
		if err != nil {
			return Quorum{}, err
		}
		if synced {
			q.Synced = append(q.Synced, ordinal)
		}
	}
	return q, nil
}

func (w *Workload) synced(ctx context.Context, c rebuild.Cluster, name string, ordinal int) (bool, error) {
	u, err := w.client.Resource(pods).Namespace(w.namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read pod %s/%s: %w", w.namespace, name, err)
	}
	var pod corev1.Pod
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &pod); err != nil {
		return false, fmt.Errorf("decode pod %s/%s: %w", w.namespace, name, err)
	}
	ready := false
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			ready = condition.Status == corev1.ConditionTrue
		}
	}
	r, reported := c.Member(ordinal)
	return ready && pod.DeletionTimestamp == nil && pod.Labels[ReadyLabel] == "true" &&
		reported && r.State == rebuild.Started && r.Joined && r.PodUID == string(pod.UID), nil
}
