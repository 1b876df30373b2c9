//go:build controlplane

package galeracluster

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/berth-dev/berth/pkg/datadir"
	"github.com/berth-dev/berth/pkg/rebuild"
	"github.com/berth-dev/berth/test/controlplane"
)

// These tests show that a real API server holds the same lines as the code, and
// with the rights that the manifests give to members:
//
//	go test -tags controlplane -run ControlPlane ./pkg/galeracluster

const uuid = "aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa"

type world struct {
	*controlplane.ControlPlane
	store  *Store
	client dynamic.Interface // of a member
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{ControlPlane: controlplane.ForTest(t, controlplane.Config{})}
	w.kubectl(t, "apply", "-f", "../../manifests/base/crd.yaml")
	w.kubectl(t, "wait", "--for=condition=Established", "crd/galeraclusters.berth.dev")
	w.kubectl(t, "apply", "-f", "../../manifests/galera/namespace.yaml", "-f", "../../manifests/galera/rbac.yaml")
	config := w.Config()
	config.Impersonate.UserName = "system:serviceaccount:galera:galera"
	var err error
	if w.client, err = dynamic.NewForConfig(config); err != nil {
		t.Fatal(err)
	}
	w.store = NewStore(w.client, "galera", "galera")
	return w
}

func (w *world) kubectl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := w.Kubectl(t.Context(), "", args...)
	if err != nil {
		t.Fatalf("kubectl %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return out
}

func (w *world) update(t *testing.T, change func(*rebuild.Cluster) bool) rebuild.Cluster {
	t.Helper()
	c, err := w.store.Update(t.Context(), change)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func waiting(ordinal int, seqno int64) rebuild.Report {
	pod := []string{"galera-0", "galera-1", "galera-2"}[ordinal]
	return rebuild.Report{Ordinal: ordinal, Pod: pod, PodUID: "uid-" + pod, Start: "start-" + pod, Volume: "pv-" + pod, Address: "10.0.0.1",
		State: rebuild.Waiting, Class: datadir.Crashed, Position: datadir.Position{UUID: uuid, Seqno: seqno}}
}

// TestControlPlaneRefuses tries on the API server what a member with a fault in
// its code might write.
func TestControlPlaneRefuses(t *testing.T) {
	w := newWorld(t)
	ids := 0
	fresh := func() string { ids++; return strings.Repeat("e", ids) }
	w.update(t, func(c *rebuild.Cluster) bool {
		c.Replicas = 2
		c.Put(waiting(0, 10))
		c.Put(waiting(1, 11))
		return true
	})
	issue := func(c *rebuild.Cluster) bool { return c.Issue(rebuild.Decide(*c), fresh) }
	w.update(t, issue)
	w.update(t, func(c *rebuild.Cluster) bool { // the chosen one starts again: a second attempt
		r := waiting(1, 11)
		r.Start = "again"
		c.Put(r)
		return issue(c)
	})
	grant := func(c *rebuild.Cluster, attempt int64) *rebuild.Grant {
		i := slices.IndexFunc(c.Grants, func(g rebuild.Grant) bool { return g.Attempt == attempt })
		return &c.Grants[i]
	}
	another := func(c *rebuild.Cluster, attempt int64) {
		g := *grant(c, 2)
		g.Attempt, g.ID = attempt, fresh()
		c.Grants = append(c.Grants, g)
	}
	type attempt struct {
		name   string
		change func(*rebuild.Cluster)
		want   string
	}
	refused := func(tests []attempt) {
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				_, err := w.store.Update(t.Context(), func(c *rebuild.Cluster) bool { test.change(c); return true })
				if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), test.want) {
					t.Errorf("error %v, expected a refusal that says %q", err, test.want)
				}
			})
		}
	}
	refused([]attempt{
		{"two grants at once", func(c *rebuild.Cluster) { another(c, 3); another(c, 4) }, "one grant at a time"},
		{"a second grant for an attempt", func(c *rebuild.Cluster) { another(c, 2) }, "Duplicate value"},
		{"an attempt below the last", func(c *rebuild.Cluster) { c.Grants = c.Grants[:1] }, "attempts only grow"},
		{"the last grant taken back for a lower one", func(c *rebuild.Cluster) { another(c, 1); c.Grants = c.Grants[2:] }, "attempts only grow"},
		{"all grants forgotten", func(c *rebuild.Cluster) { c.Grants = nil }, "grants are never forgotten"},
		{"born consumed", func(c *rebuild.Cluster) { another(c, 3); grant(c, 3).Consumed = true }, "only after it was issued"},
		{"an overtaken grant consumed", func(c *rebuild.Cluster) { grant(c, 1).Consumed = true }, "only the newest grant"},
		{"another member", func(c *rebuild.Cluster) { grant(c, 2).Member = 0 }, "a grant never changes"},
		{"another start", func(c *rebuild.Cluster) { grant(c, 2).Start = "x" }, "a grant never changes"},
		{"another position", func(c *rebuild.Cluster) { grant(c, 2).Position.Seqno++ }, "a grant never changes"},
		{"another epoch", func(c *rebuild.Cluster) { grant(c, 2).ID = "x" }, "a grant never changes"},
	})
	c := w.update(t, func(c *rebuild.Cluster) bool {
		v := rebuild.Decide(*c)
		r := waiting(1, 11)
		r.Start = "again"
		agreed := c.Agree(waiting(0, 10), v) && c.Agree(r, v)
		return agreed && c.Consume(r, 2) == nil
	})
	if g, found := c.Running(); !found || g.Attempt != 2 {
		t.Fatalf("grants %+v, expected the second to be consumed", c.Grants)
	}
	refused([]attempt{
		{"consumed no more", func(c *rebuild.Cluster) { grant(c, 2).Consumed = false }, "once consumed it stays consumed"},
		{"consumed and another position", func(c *rebuild.Cluster) { grant(c, 2).Position.Seqno = 5 }, "a grant never changes"},
		{"consumed and another volume", func(c *rebuild.Cluster) { grant(c, 2).Volume = "x" }, "a grant never changes"},
	})
	if c, err := w.store.Get(t.Context()); err != nil || len(c.Grants) != 2 {
		t.Errorf("%d grants, %v; expected that no refused write left anything", len(c.Grants), err)
	}
}

// TestControlPlaneSummary shows what people see, and what only people may write.
func TestControlPlaneSummary(t *testing.T) {
	w := newWorld(t)
	w.update(t, func(c *rebuild.Cluster) bool { c.Replicas = 2; c.Put(waiting(0, 10)); return true })
	if got := w.kubectl(t, "get", "galeraclusters", "-n", "galera", "galera", "-o", "wide"); !hasFields(got, "PHASE", "REPORTED", "LEADER", "POSITION", "BLOCKED", "AGE", "Gathering", "1/2", "MissingMembers") {
		t.Errorf("kubectl get shows:\n%s", got)
	}
	if got := w.kubectl(t, "wait", "-n", "galera", "galeracluster/galera", "--for=condition=Blocked", "--timeout=5s"); !strings.Contains(got, "condition met") {
		t.Errorf("kubectl wait says %s", got)
	}

	o, err := w.client.Resource(Resource).Namespace("galera").Get(t.Context(), "galera", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	o.Object["spec"] = map[string]any{"policy": map[string]any{"missingMembers": "AllowMajority"}}
	if _, err := w.client.Resource(Resource).Namespace("galera").Update(t.Context(), o, metav1.UpdateOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("a member writes the spec: %v, expected that it is forbidden", err)
	}
	for name, spec := range map[string]string{
		"no reason":   `{"overrides":[{"attempt":1,"member":0,"position":"` + uuid + `:10","reason":""}]}`,
		"no position": `{"overrides":[{"attempt":1,"member":0,"position":"10","reason":"x"}]}`,
		"no attempt":  `{"overrides":[{"member":0,"position":"` + uuid + `:10","reason":"x"}]}`,
		"policy":      `{"policy":{"missingMembers":"Hope"}}`,
		"lost":        `{"lost":[{"member":0,"volume":"","reason":"x"}]}`,
	} {
		out, err := w.Kubectl(t.Context(), "", "patch", "galeracluster", "galera", "-n", "galera", "--type=merge", "-p", `{"spec":`+spec+`}`)
		if err == nil {
			t.Errorf("%s: accepted: %s", name, out)
		}
	}

	// The command that a verdict names is taken as it is, and works.
	c, err := w.store.Get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	v := rebuild.Decide(c)
	command := v.Reason.Unblock[strings.Index(v.Reason.Unblock, "kubectl patch"):]
	_, patch, _ := strings.Cut(command, "-p '")
	w.kubectl(t, "patch", "galeracluster", "galera", "-n", "galera", "--type=merge", "-p", strings.TrimSuffix(patch, "'"))
	if c, err = w.store.Get(t.Context()); err != nil {
		t.Fatal(err)
	}
	if v := rebuild.Decide(c); v.Action != rebuild.Bootstrap || v.Rule != rebuild.ByOverride || v.Override != "WHY" {
		t.Errorf("after %s the verdict is %+v", command, v)
	}
}

func hasFields(text string, fields ...string) bool {
	return !slices.ContainsFunc(fields, func(f string) bool { return !slices.Contains(strings.Fields(text), f) })
}

// TestControlPlaneQuorum shows who counts as synced by what a real API server keeps.
func TestControlPlaneQuorum(t *testing.T) {
	w := newWorld(t)
	w.kubectl(t, "apply", "-f", "../../manifests/galera/statefulset.yaml")
	client, err := kubernetes.NewForConfig(w.Config())
	if err != nil {
		t.Fatal(err)
	}
	objects, err := dynamic.NewForConfig(w.Config())
	if err != nil {
		t.Fatal(err)
	}
	workload := NewWorkload(objects, "galera")
	for _, ordinal := range []string{"0", "1"} {
		pod := podOf(ordinal, "true", corev1.ConditionTrue)
		pod.UID, pod.Spec.Containers = "", []corev1.Container{{Name: "mariadb", Image: "x"}}
		status := pod.Status
		if pod, err = client.CoreV1().Pods("galera").Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		pod.Status = status
		if _, err := client.CoreV1().Pods("galera").UpdateStatus(t.Context(), pod, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		w.update(t, func(c *rebuild.Cluster) bool {
			r := waiting(int(ordinal[0]-'0'), 10)
			r.State, r.Joined, r.PodUID = rebuild.Started, true, string(pod.UID)
			c.Replicas = 3
			c.Put(r)
			return true
		})
	}
	cluster, err := w.store.Get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if q, err := workload.Quorum(t.Context(), cluster, "galera"); err != nil || !q.Majority() || q.Replicas != 3 {
		t.Errorf("two of three are synced: %+v, %v", q, err)
	}
	w.kubectl(t, "label", "pod", "-n", "galera", "galera-1", ReadyLabel+"=false", "--overwrite")
	if q, err := workload.Quorum(t.Context(), cluster, "galera"); err != nil || q.Majority() {
		t.Errorf("one of three is synced: %+v, %v", q, err)
	}
	if _, err := workload.Quorum(t.Context(), cluster, "unknown"); err == nil {
		t.Error("no StatefulSet is no error")
	}
}
