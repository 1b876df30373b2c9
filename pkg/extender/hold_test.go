package extender

import (
	"errors"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	extenderv1 "k8s.io/kube-scheduler/extender/v1"
)

// fakeAPI is an API server that is a map.
type fakeAPI struct{ *fake.Clientset }

// TestMembersInFlight holds invariant I4 while nothing but the extender's own
// promises tell where the siblings go.
func TestMembersInFlight(t *testing.T) {
	w := quiet(3)
	e := New(Config{Inventory: newInventory(t, w.client())})
	var taken []string
	for _, pod := range w.pods {
		names := w.names()
		got := e.Filter(t.Context(), extenderv1.ExtenderArgs{Pod: pod, NodeNames: &names})
		taken = append(taken, *got.NodeNames...)
	}
	slices.Sort(taken)
	if want := []string{"n0", "n1", "n2"}; !slices.Equal(taken, want) {
		t.Errorf("three members were given %v, want %v", taken, want)
	}
}

// TestSweep takes back what was promised to a pod that is gone, and only that.
func TestSweep(t *testing.T) {
	for _, x := range []struct {
		name  string
		fate  func(*testing.T, world, *fakeAPI)
		freed bool
	}{
		{"the pod waits", func(*testing.T, world, *fakeAPI) {}, false},
		{"the pod is gone", func(t *testing.T, w world, api *fakeAPI) { api.delete(t, w.pods[0]) }, true},
		{"another pod of its name", func(t *testing.T, w world, api *fakeAPI) {
			api.delete(t, w.pods[0])
			again := w.pods[0].DeepCopy()
			again.UID = "another"
			api.create(t, again)
		}, true},
		{"the API server does not answer", func(t *testing.T, w world, api *fakeAPI) {
			api.delete(t, w.pods[0])
			api.PrependReactor("get", "pods", func(clienttesting.Action) (bool, runtime.Object, error) {
				return true, nil, errors.New("no answer")
			})
		}, false},
	} {
		t.Run(x.name, func(t *testing.T) {
			w := quiet(1) // so that a promise to one member leaves no node for the next
			api := &fakeAPI{w.client()}
			api.create(t, w.pods[0])
			e := New(Config{Inventory: newInventory(t, api.Clientset)})
			names := w.names()
			left := func(n int) int {
				got := e.Filter(t.Context(), extenderv1.ExtenderArgs{Pod: w.pods[n], NodeNames: &names})
				return len(*got.NodeNames)
			}
			if left(0) != 1 || left(1) != 0 {
				t.Fatal("the first member is not given the node, or the second is, too")
			}
			x.fate(t, w, api)
			e.sweep(t.Context(), api)
			if freed := left(1) == 1; freed != x.freed {
				t.Errorf("the node is free for the next member: %t, want %t", freed, x.freed)
			}
		})
	}
}

func (api *fakeAPI) create(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	if _, err := api.CoreV1().Pods(pod.Namespace).Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func (api *fakeAPI) delete(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	if err := api.CoreV1().Pods(pod.Namespace).Delete(t.Context(), pod.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
}
