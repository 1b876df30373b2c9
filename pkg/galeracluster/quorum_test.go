package galeracluster

import (
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/scheme"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/utils/ptr"

	"github.com/berth-dev/berth/pkg/rebuild"
)

func podOf(ordinal string, label string, ready corev1.ConditionStatus) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "galera", Name: "galera-" + ordinal, UID: types.UID("uid-" + ordinal), Labels: map[string]string{ReadyLabel: label}},
		Status:     corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: ready}}},
	}
}

// Whoever is not known to be synced now is not counted, and what cannot be read is
// an error.
func TestQuorum(t *testing.T) {
	set := &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Namespace: "galera", Name: "galera"}, Spec: appsv1.StatefulSetSpec{Replicas: ptr.To[int32](3)}}
	report := func(ordinal int, uid string) rebuild.Report {
		return rebuild.Report{Ordinal: ordinal, PodUID: uid, State: rebuild.Started, Joined: true}
	}
	all := rebuild.Cluster{Replicas: 3, Members: []rebuild.Report{report(0, "uid-0"), report(1, "uid-1"), report(2, "uid-2")}}
	for name, c := range map[string]struct {
		pods    []runtime.Object
		cluster rebuild.Cluster
		want    []int
	}{
		"two of three":        {[]runtime.Object{podOf("0", "true", "True"), podOf("1", "true", "True")}, all, []int{0, 1}},
		"node controller":     {[]runtime.Object{podOf("0", "true", "True"), podOf("1", "true", "False")}, all, []int{0}},
		"not synced":          {[]runtime.Object{podOf("0", "true", "True"), podOf("1", "false", "True")}, all, []int{0}},
		"another pod's words": {[]runtime.Object{podOf("0", "true", "True"), podOf("1", "true", "True")}, rebuild.Cluster{Replicas: 3, Members: []rebuild.Report{report(0, "uid-0"), report(1, "uid-of-before")}}, []int{0}},
		"never joined":        {[]runtime.Object{podOf("0", "true", "True")}, rebuild.Cluster{Replicas: 3, Members: []rebuild.Report{{Ordinal: 0, PodUID: "uid-0", State: rebuild.Started}}}, nil},
		"no object":           {[]runtime.Object{podOf("0", "true", "True")}, rebuild.Cluster{}, nil},
	} {
		client := dynamicfake.NewSimpleDynamicClient(scheme.Scheme, append(c.pods, set)...)
		got, err := NewWorkload(client, "galera").Quorum(t.Context(), c.cluster, "galera")
		if err != nil || got.Replicas != 3 || !slices.Equal(got.Synced, c.want) || got.Majority() != (len(c.want) == 2) {
			t.Errorf("%s: %+v, %v; want %v", name, got, err, c.want)
		}
	}
	client := dynamicfake.NewSimpleDynamicClient(scheme.Scheme, set)
	client.PrependReactor("get", "pods", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewTimeoutError("no answer", 1)
	})
	if q, err := NewWorkload(client, "galera").Quorum(t.Context(), all, "galera"); err == nil {
		t.Errorf("no answer was taken for an answer: %+v", q)
	}
}
