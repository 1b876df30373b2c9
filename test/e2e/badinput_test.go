package e2e

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestBadInput makes the mistakes that people make, and sees that each gets an
// answer that names the fix.
func TestBadInput(t *testing.T) {
	t.Run("unknown flag", unknownFlag)
	apply(t, "", "-k", filepath.Join(suite.root, "manifests", "base"))
	apply(t, "{apiVersion: v1, kind: Namespace, metadata: {name: badinput}}", "-f", "-")
	removeAfter(t, "namespace", "badinput")
	t.Run("node without a volume group", nodeWithoutGroup)
	t.Run("StorageClass without a volume group", classWithoutGroup)
	t.Run("StatefulSet that starts one by one", oneByOne)
}

func unknownFlag(t *testing.T) {
	for _, test := range []struct {
		program string
		args    []string
		exit    int
		help    string // how the message says what flags there are; may be empty
	}{
		{"galera-init", []string{"prepare", "--colour"}, 64, "galera-init prepare --help"},
		{"lvm-provisioner", []string{"agent", "--colour"}, 1, ""},
		{"scheduler-plugin", []string{"--colour"}, 1, ""},
	} {
		t.Run(test.program, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			out, err := exec.CommandContext(ctx, filepath.Join(suite.bed.Paths.Bin, test.program), test.args...).CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != test.exit {
				t.Errorf("%v, expected exit status %d", err, test.exit)
			}
			if !holdsAll(string(out), []string{"unknown flag: --colour", test.help}) {
				t.Errorf("the message does not name the flag, or not %q:\n%s", test.help, out)
			}
		})
	}
}

// podWithClaim is a pod of Berth's scheduler with a new claim of the same name.
func podWithClaim(name, class, node string) string {
	selector := ""
	if node != "" {
		selector = "nodeSelector: {kubernetes.io/hostname: " + node + "}"
	}
	return fmt.Sprintf(`
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: %[1]s, namespace: badinput}
spec: {storageClassName: %[2]s, accessModes: [ReadWriteOnce], resources: {requests: {storage: 64Mi}}}
---
apiVersion: v1
kind: Pod
metadata: {name: %[1]s, namespace: badinput}
spec:
  schedulerName: berth-scheduler
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 0
  %[3]s
  containers:
  - {name: pause, image: "berth.local/pause:dev", imagePullPolicy: IfNotPresent, volumeMounts: [{name: data, mountPath: /data}]}
  volumes:
  - {name: data, persistentVolumeClaim: {claimName: %[1]s}}
`, name, class, selector)
}

// nodeWithoutGroup shows what is said of such a node; that nothing is made
// anywhere before somebody says that it holds no data; and that nothing is ever
// put there.
func nodeWithoutGroup(t *testing.T) {
	wantEvent(t, metav1.NamespaceDefault, "Node", bareNode, "VolumeGroupMissing", `no volume group "berth"`, "vgcreate berth")

	apply(t, podWithClaim("fresh", "berth", ""), "-f", "-")
	// The other nodes have reported, and this one alone holds the claim up.
	wantEvent(t, "badinput", "Pod", "fresh", "NodeNotReported", "not known to this API server: "+bareNode+";", "berth.dev/storage=none")
	if made := volumesOf(t, "badinput", "fresh"); len(made) > 0 {
		t.Errorf("a volume was made on %s before %s was accounted for", made, bareNode)
	}

	labelBareNode(t)
	eventually(t, "pod fresh runs", func(ctx context.Context) error {
		pod, err := suite.client.CoreV1().Pods("badinput").Get(ctx, "fresh", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if pod.Spec.NodeName == "" || pod.Status.Phase != "Running" {
			return fmt.Errorf("it is %s on node %q", pod.Status.Phase, pod.Spec.NodeName)
		}
		if pod.Spec.NodeName == bareNode {
			t.Fatalf("it was put on %s", bareNode)
		}
		return nil
	})

	apply(t, podWithClaim("pinned", "berth", bareNode), "-f", "-")
	wantEvent(t, "badinput", "Pod", "pinned", "NoVolumeGroup", "no volume group for class berth")
	if made := volumesOf(t, "badinput", "pinned"); len(made) > 0 {
		t.Errorf("a volume was made on %s for a pod that may run on %s only", made, bareNode)
	}
}

// labelBareNode says that the node holds no volumes.
func labelBareNode(t *testing.T) {
	t.Helper()
	eventually(t, bareNode+" is labelled", func(ctx context.Context) error {
		return kubectl(ctx, "", "label", "--overwrite", "node", bareNode, "berth.dev/storage=none")
	})
}

func classWithoutGroup(t *testing.T) {
	labelBareNode(t) // else the pod would wait for that node
	apply(t, `{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: nogroup}, provisioner: lvm.berth.dev,
reclaimPolicy: Retain, volumeBindingMode: WaitForFirstConsumer}`, "-f", "-")
	removeAfter(t, "storageclass", "nogroup")
	apply(t, podWithClaim("nogroup", "nogroup", ""), "-f", "-")
	wantEvent(t, metav1.NamespaceDefault, "StorageClass", "nogroup", "StorageClassInvalid", "parameter volumeGroup is missing")
	wantEvent(t, "badinput", "Pod", "nogroup", "NoVolumeGroup", "no volume group for class nogroup")
	if made := volumesOf(t, "badinput", "nogroup"); len(made) > 0 {
		t.Errorf("a volume was made on %s for a class that names no volume group", made)
	}
}

func oneByOne(t *testing.T) {
	labelBareNode(t)
	apply(t, "", "-k", "testdata/ordered")
	removeAfter(t, "namespace", "ordered")
	wantEvent(t, "ordered", "Pod", "galera-0", "OrderedReady", "`podManagementPolicy: Parallel`")
}

// volumesOf lists the nodes with a logical volume of a claim, as the disks say.
func volumesOf(t *testing.T, namespace, claim string) []string {
	t.Helper()
	var found []string
	for _, node := range suite.nodes {
		out := execute(t, node, "lvs", "--noheadings", "-o", "lv_tags")
		for _, line := range strings.Split(out, "\n") {
			tags := "," + strings.TrimSpace(line) + ","
			if holdsAll(tags, []string{",berth.dev/namespace=" + namespace + ",", ",berth.dev/claim=" + claim + ","}) {
				found = append(found, node)
			}
		}
	}
	return found
}

func execute(t *testing.T, node string, argv ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := suite.bed.Exec(ctx, node, argv...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
