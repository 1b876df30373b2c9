package provisioner

import (
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/utils/ptr"

	"github.com/berth-dev/berth/pkg/volume"
)

// strand makes a claim whose selected node is another one.
func (f *fixture) strand(name, node string) {
	f.t.Helper()
	claim := f.claim(name, "10Mi")
	claim.Annotations[annSelectedNode] = node
	if _, err := f.client.CoreV1().PersistentVolumeClaims("db").Update(f.t.Context(), claim, metav1.UpdateOptions{}); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) selected(name string) string {
	f.t.Helper()
	claim, err := f.client.CoreV1().PersistentVolumeClaims("db").Get(f.t.Context(), name, metav1.GetOptions{})
	if err != nil {
		f.t.Fatal(err)
	}
	return claim.Annotations[annSelectedNode]
}

// The choice of a node that has left is taken back, by the API server's own word
// and after a while; no volume is made for it here.
func TestStrandedClaim(t *testing.T) {
	f := newFixture(t)
	f.strand("data-galera-0", "gone")
	f.pass()
	if f.selected("data-galera-0") != "gone" {
		t.Error("taken back at once")
	}
	f.elapse(strandedAfter)
	f.pass()
	if got := f.selected("data-galera-0"); got != "" {
		t.Errorf("still selected: %s", got)
	}
	f.wantEvent(CodeNodeGone, "gone", "db/data-galera-0")
	if n := len(f.disk.Volumes()); n != 0 {
		t.Errorf("%d volumes were made", n)
	}
}

func TestStrandedClaimIsLeft(t *testing.T) {
	for name, prepare := range map[string]func(f *fixture){
		"node is there": func(f *fixture) { f.strand("data-galera-0", nodeName+"-other") },
		"silent API": func(f *fixture) {
			f.client.PrependReactor("get", "nodes", func(a clienttesting.Action) (bool, runtime.Object, error) {
				return true, nil, apierrors.NewTimeoutError("no answer", 1)
			})
		},
		"its data is known": func(f *fixture) { f.elsewhere("far", 1, "") },
		"another agent is elected": func(f *fixture) {
			lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: volume.SystemNamespace, Name: strandedLease, ResourceVersion: "7"},
				Spec: coordinationv1.LeaseSpec{HolderIdentity: ptr.To("n2")}}
			if err := f.client.Tracker().Add(lease); err != nil {
				f.t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			if name == "node is there" {
				node, err := f.client.CoreV1().Nodes().Get(t.Context(), nodeName, metav1.GetOptions{})
				if err != nil {
					t.Fatal(err)
				}
				node.Name += "-other"
				if err := f.client.Tracker().Add(node); err != nil {
					t.Fatal(err)
				}
			} else {
				f.strand("data-galera-0", "gone")
			}
			prepare(f)
			want := f.selected("data-galera-0")
			for range 2 {
				f.sync()
				_ = f.agent.Pass(t.Context()) // a silent API is an error, which is not the point
				f.elapse(strandedAfter)
			}
			if got := f.selected("data-galera-0"); got != want {
				t.Errorf("selected %q, want %q", got, want)
			}
			if name == "another agent is elected" { // and then falls silent
				f.elapse(strandedTerm)
				f.pass()
				if got := f.selected("data-galera-0"); got != "" {
					t.Errorf("nobody takes over: %q", got)
				}
			}
		})
	}
}
