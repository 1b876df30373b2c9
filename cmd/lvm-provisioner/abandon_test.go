//go:build controlplane

package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"

	"github.com/berth-dev/berth/pkg/galeracluster"
	"github.com/berth-dev/berth/pkg/rebuild"
	"github.com/berth-dev/berth/pkg/volume"
	"github.com/berth-dev/berth/test/controlplane"
)

// TestControlPlaneAbandon runs the command as a person does, against a real API
// server: it refuses without the object and without a majority, changes nothing
// without a reason, and writes down what it is told.
func TestControlPlaneAbandon(t *testing.T) {
	cp := controlplane.ForTest(t, controlplane.Config{})
	kubectl := func(args ...string) {
		t.Helper()
		if _, err := cp.Kubectl(t.Context(), "", args...); err != nil {
			t.Fatal(err)
		}
	}
	kubectl("apply", "-f", "../../manifests/base/crd.yaml")
	kubectl("wait", "--for=condition=Established", "crd/galeraclusters.berth.dev")
	kubectl("apply", "-f", "../../manifests/galera/namespace.yaml", "-f", "../../manifests/galera/statefulset.yaml")
	client, err := kubernetes.NewForConfig(cp.Config())
	if err != nil {
		t.Fatal(err)
	}
	objects, err := dynamic.NewForConfig(cp.Config())
	if err != nil {
		t.Fatal(err)
	}
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: "data-galera-2"}, Spec: corev1.PersistentVolumeClaimSpec{
		StorageClassName: ptr.To("berth"), AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
		Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
	}}
	if _, err := client.CoreV1().PersistentVolumeClaims("galera").Create(t.Context(), claim, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) (string, error) {
		var out bytes.Buffer
		cmd := command()
		cmd.SetArgs(append([]string{"abandon", "galera/data-galera-2", "--kubeconfig=" + cp.Kubeconfig(), "--output=json"}, args...))
		cmd.SetOut(&out)
		err := cmd.ExecuteContext(t.Context())
		return out.String(), err
	}
	refused := func(want string) {
		t.Helper()
		if _, err := run("--reason=test"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want a refusal that says %q", err, want)
		}
	}
	noted := func() string {
		t.Helper()
		got, err := client.CoreV1().PersistentVolumeClaims("galera").Get(t.Context(), "data-galera-2", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return got.Annotations[volume.AnnotationAbandoned] + " " + got.Annotations[volume.AnnotationAbandonedReason]
	}
	refused("read GaleraCluster galera/galera")
	store := galeracluster.NewStore(objects, "galera", "galera")
	join := func(ordinal int, name string) {
		t.Helper()
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{galeracluster.ReadyLabel: "true"}},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "mariadb", Image: "x"}}},
		}
		if pod, err = client.CoreV1().Pods("galera").Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
		if _, err := client.CoreV1().Pods("galera").UpdateStatus(t.Context(), pod, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		_, err := store.Update(t.Context(), func(c *rebuild.Cluster) bool {
			c.Replicas = 3
			c.Put(rebuild.Report{Ordinal: ordinal, Pod: name, PodUID: string(pod.UID), Start: "1", Volume: "pv-" + name, State: rebuild.Started, Joined: true})
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	join(0, "galera-0")
	refused("no majority")
	join(1, "galera-1")
	if out, err := run(); err != nil || noted() != " " {
		t.Errorf("without a reason: %v, %s, noted %q", err, out, noted())
	}
	out, err := run("--reason=disk died")
	var said map[string]any
	if err != nil || json.Unmarshal([]byte(out), &said) != nil || said["done"] != true || said["generation"] != 1.0 || said["ordinal"] != 2.0 {
		t.Errorf("%v: %s", err, out)
	}
	if noted() != "1 disk died" {
		t.Errorf("noted %q", noted())
	}
	join(2, "galera-2")
	refused("this member is synced")
}
