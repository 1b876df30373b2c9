package scheduling

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	"github.com/berth-dev/berth/pkg/volume"
	"github.com/berth-dev/berth/test/controlplane"
)

const (
	namespace = "shop"
	class     = "berth"
	gibi      = int64(1) << 30
)

// yard is a control plane with its machines and schedulers.
type yard struct {
	*testing.T
	control *controlplane.ControlPlane
	client  kubernetes.Interface
	dir     string
	agent   *agent
}

func newYard(t *testing.T) *yard {
	t.Helper()
	dir := t.TempDir()
	control := controlplane.ForTest(t, controlplane.Config{
		Dir: dir, Controllers: []string{"persistentvolume-binder-controller"},
		// A claim that is deleted is gone: nobody mounts anything here.
		APIServer: []string{"--disable-admission-plugins=StorageObjectInUseProtection", "--enable-priority-and-fairness=false"},
		Manager:   []string{"--kube-api-qps=2000", "--kube-api-burst=4000"},
	})
	config := control.Config()
	config.QPS, config.Burst = 2000, 4000
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	y := &yard{T: t, control: control, client: client, dir: dir}
	for _, name := range []string{namespace, volume.SystemNamespace} {
		_, err := client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		y.must(err)
	}
	_, err = client.StorageV1().StorageClasses().Create(t.Context(), &storagev1.StorageClass{
		ObjectMeta: metav1.ObjectMeta{Name: class}, Provisioner: volume.Provisioner,
		ReclaimPolicy:     ptr.To(corev1.PersistentVolumeReclaimRetain),
		VolumeBindingMode: ptr.To(storagev1.VolumeBindingWaitForFirstConsumer),
	}, metav1.CreateOptions{})
	y.must(err)
	system, err := client.CoreV1().Namespaces().Get(t.Context(), metav1.NamespaceSystem, metav1.GetOptions{})
	y.must(err)
	y.agent = newAgent(client, string(system.UID))
	return y
}

func (y *yard) must(err error) {
	y.Helper()
	if err != nil && y.Context().Err() == nil {
		y.Fatal(err)
	}
}

// machine adds a node with a volume group of the size, and has it report.
func (y *yard) machine(name string, size int64) {
	y.Helper()
	room := corev1.ResourceList{
		corev1.ResourcePods: resource.MustParse("250"), corev1.ResourceCPU: resource.MustParse("64"), corev1.ResourceMemory: resource.MustParse("512Gi"),
	}
	_, err := y.client.CoreV1().Nodes().Create(y.Context(), &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{
			volume.NodeLabel(vgOf(name)): "true", corev1.LabelHostname: name,
		}},
		Status: corev1.NodeStatus{
			Capacity: room, Allocatable: room,
			Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "KubeletReady"}},
		},
	}, metav1.CreateOptions{})
	y.must(err)
	y.must(y.agent.report(y.Context(), name, size))
}

// claim is a claim of the class for 10 GiB.
func (y *yard) claim(name, class string) {
	y.Helper()
	_, err := y.client.CoreV1().PersistentVolumeClaims(namespace).Create(y.Context(), &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace},
		Spec: corev1.PersistentVolumeClaimSpec{
			StorageClassName: ptr.To(class), AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("10Gi")}},
		},
	}, metav1.CreateOptions{})
	y.must(err)
}

// member is the pod of a StatefulSet, with its claim, and with others that are there.
func (y *yard) member(set string, ordinal int, others ...string) {
	y.Helper()
	name := fmt.Sprintf("%s-%d", set, ordinal)
	y.claim("data-"+name, class)
	var volumes []corev1.Volume
	for _, claim := range append([]string{"data-" + name}, others...) {
		volumes = append(volumes, corev1.Volume{Name: claim, VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim},
		}})
	}
	_, err := y.client.CoreV1().Pods(namespace).Create(y.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace, OwnerReferences: []metav1.OwnerReference{{
			APIVersion: "apps/v1", Kind: "StatefulSet", Name: set, UID: "set", Controller: ptr.To(true),
		}}},
		Spec: corev1.PodSpec{
			SchedulerName: volume.SchedulerName,
			Containers:    []corev1.Container{{Name: "c", Image: "i"}},
			Volumes:       volumes,
		},
	}, metav1.CreateOptions{})
	y.must(err)
}

// pods returns the node of each pod, "" for one that waits, and what it was told.
func (y *yard) pods(ctx context.Context) (nodes, told map[string]string) {
	y.Helper()
	list, err := y.client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
	y.must(err)
	nodes, told = map[string]string{}, map[string]string{}
	for _, p := range list.Items {
		nodes[p.Name] = p.Spec.NodeName
		for _, c := range p.Status.Conditions {
			if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
				told[p.Name] = c.Message
			}
		}
	}
	return nodes, told
}

// await watches the pods until done says so.
func (y *yard) await(what string, limit time.Duration, done func(nodes, told map[string]string) bool) {
	y.Helper()
	ctx, cancel := context.WithTimeout(y.Context(), limit)
	defer cancel()
	events, err := y.client.CoreV1().Pods(namespace).Watch(ctx, metav1.ListOptions{})
	y.must(err)
	defer events.Stop()
	for {
		nodes, told := y.pods(ctx)
		if done(nodes, told) {
			return
		}
		select {
		case <-events.ResultChan():
		case <-ctx.Done():
			nodes, told := y.pods(y.Context())
			y.Fatalf("no %s within %s: nodes %v, told %v", what, limit, nodes, told)
		}
	}
}

// placed counts the pods with a node.
func placed(nodes map[string]string) int {
	n := 0
	for _, node := range nodes {
		if node != "" {
			n++
		}
	}
	return n
}

// scheduler is one process of the scheduler's program.
type scheduler struct {
	cmd *exec.Cmd
	log string
}

// start runs one more scheduler, with the configuration in the manifest, changed
// only in where the API server is.
func (y *yard) start(name string, args ...string) *scheduler {
	y.Helper()
	config := y.manifest()
	config["clientConnection"] = map[string]any{"kubeconfig": y.control.Kubeconfig(), "qps": 2000, "burst": 4000}
	file, err := json.Marshal(config)
	y.must(err)
	path := filepath.Join(y.dir, "scheduler.yaml")
	y.must(os.WriteFile(path, file, 0o600))
	bin, err := controlplane.Binaries()
	y.must(err)
	s := &scheduler{log: filepath.Join(y.dir, name+".log")}
	log, err := os.Create(s.log)
	y.must(err)
	defer log.Close()
	s.cmd = exec.Command(filepath.Join(bin, "scheduler-plugin"), append([]string{"--config=" + path, "--secure-port=0", "--v=2"}, args...)...)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := s.cmd.Start(); err != nil {
		y.Fatalf("start the scheduler (run `make build`): %v", err)
	}
	y.Cleanup(func() {
		s.kill()
		if y.Failed() {
			text, _ := os.ReadFile(s.log)
			y.Logf("%s: %s", name, text[max(0, len(text)-8000):])
		}
	})
	return s
}

// awaitLeader waits until a scheduler leads.
func (y *yard) awaitLeader() {
	y.Helper()
	ctx, cancel := context.WithTimeout(y.Context(), time.Minute)
	defer cancel()
	leases := y.client.CoordinationV1().Leases(volume.SystemNamespace)
	events, err := leases.Watch(ctx, metav1.ListOptions{})
	y.must(err)
	defer events.Stop()
	for {
		list, err := leases.List(ctx, metav1.ListOptions{})
		y.must(err)
		if len(list.Items) > 0 && ptr.Deref(list.Items[0].Spec.HolderIdentity, "") != "" {
			return
		}
		select {
		case <-events.ResultChan():
		case <-ctx.Done():
			y.Fatal("no scheduler leads")
		}
	}
}

// kill ends the process as a power cut does. It may be called more than once.
func (s *scheduler) kill() {
	_ = s.cmd.Process.Kill()
	_, _ = s.cmd.Process.Wait()
}

// manifest is the scheduler's configuration as it is shipped.
func (y *yard) manifest() map[string]any {
	y.Helper()
	path, err := controlplane.Repository("manifests/base/scheduler.yaml")
	y.must(err)
	file, err := os.ReadFile(path)
	y.must(err)
	for document := range strings.SplitSeq(string(file), "\n---\n") {
		var m corev1.ConfigMap
		if err := yaml.Unmarshal([]byte(document), &m); err != nil || m.Kind != "ConfigMap" {
			continue
		}
		config := map[string]any{}
		y.must(yaml.Unmarshal([]byte(m.Data["scheduler.yaml"]), &config))
		return config
	}
	y.Fatal("manifests/base/scheduler.yaml has no ConfigMap")
	return nil
}
