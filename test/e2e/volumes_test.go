//go:build outages

package e2e

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-dev/berth/pkg/volume"
)

const (
	volumesNamespace = "volumes"
	volumesNode      = "node1"
)

// What volumes do on a real device-mapper, which tests on disks in memory take for
// granted.

// TestVolumeLayouts makes a volume of each layout, grows it in use, has the API
// forget it, and finds it again with what was in it.
func TestVolumeLayouts(t *testing.T) {
	startVolumes(t)
	execute(t, volumesNode, "lvm", "lvcreate", "-q", "-y", "--type", "thin-pool", "-L", "400m", "-n", "pool", "berth")
	t.Cleanup(func() {
		if _, err := suite.bed.Exec(context.Background(), volumesNode, "lvm", "lvremove", "-q", "-y", "berth/pool"); err != nil {
			t.Error(err)
		}
	})
	for _, test := range []struct {
		name, parameters, request, larger string
		segment                           string // as lvm reports it: type and stripes
	}{
		{"linear", "fsType: xfs", "300Mi", "400Mi", "linear 1"},
		{"striped", `type: striped, stripes: "2", fsType: ext4`, "64Mi", "128Mi", "striped 2"},
		{"raid1", "type: raid1, fsType: ext4", "64Mi", "128Mi", "raid1 2"},
		{"thin", "type: thin, fsType: xfs", "300Mi", "360Mi", "thin 0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			class(t, test.name, test.parameters)
			v := placed(t, test.name, test.name, test.request)
			if segment := strings.Join(strings.Fields(v.lvs(t, "segtype,stripes")), " "); segment != test.segment {
				t.Errorf("lvm says %q of it, expected %q", segment, test.segment)
			}
			v.write(t)
			v.grow(t, test.larger)
			v.forget(t)
			v.comesBack(t, test.larger).remove(t)
		})
	}
}

// startVolumes applies what volumes need.
func startVolumes(t *testing.T) {
	t.Helper()
	startVolumesBy(t, "base")
}

// startVolumesBy does so by manifests/base, or by a variant of it.
func startVolumesBy(t *testing.T, manifests string) {
	t.Helper()
	apply(t, "", "-k", filepath.Join(suite.root, "manifests", manifests))
	apply(t, "{apiVersion: v1, kind: Namespace, metadata: {name: volumes}}", "-f", "-")
	removeAfter(t, "namespace", volumesNamespace)
}

// class makes a StorageClass on the nodes' volume group.
func class(t *testing.T, name, parameters string) {
	t.Helper()
	storageClass(t, name, "volumeGroup: berth, "+parameters)
}

// storageClass makes one of Berth's, whose name begins with volumes-.
func storageClass(t *testing.T, name, parameters string) {
	t.Helper()
	apply(t, fmt.Sprintf("{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: volumes-%s}, provisioner: lvm.berth.dev, "+
		"parameters: {%s}, reclaimPolicy: Retain, volumeBindingMode: WaitForFirstConsumer, allowVolumeExpansion: true}", name, parameters), "-f", "-")
	removeAfter(t, "storageclass", "volumes-"+name)
}

// offers are the free bytes that the node offers, by class.
func offers(ctx context.Context) (map[string]int64, error) {
	all, err := suite.client.StorageV1().CSIStorageCapacities(volume.SystemNamespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	free := map[string]int64{}
	for _, c := range all.Items {
		if c.Annotations[volume.AnnotationNode] == volumesNode {
			free[c.StorageClassName] = c.Capacity.Value()
		}
	}
	return free, nil
}

// used is a claim's volume that a pod has mounted.
type used struct {
	claim, class       string
	pv, lvUUID, lvName string
	dir                string // on the node, where kubelet mounted it
}

// request makes a claim whose node is selected, and a pod on that node that uses
// it. No scheduler is asked: this is about the volume.
func request(t *testing.T, claim, className, size string) {
	t.Helper()
	ask(t, claim, className, size, "volume.kubernetes.io/selected-node: "+volumesNode, "nodeName: "+volumesNode)
}

// ask makes a claim with an annotation, and a pod that uses it, placed by nodeName
// or schedulerName.
func ask(t *testing.T, claim, className, size, annotation, place string) {
	t.Helper()
	apply(t, fmt.Sprintf(`
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: %[1]s, namespace: volumes, annotations: {%[4]s}}
spec: {storageClassName: volumes-%[2]s, accessModes: [ReadWriteOnce], resources: {requests: {storage: %[3]s}}}
---
apiVersion: v1
kind: Pod
metadata: {name: %[1]s, namespace: volumes}
spec:
  %[5]s
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 0
  containers:
  - {name: pause, image: "berth.local/pause:dev", imagePullPolicy: IfNotPresent, volumeMounts: [{name: data, mountPath: /data}]}
  volumes:
  - {name: data, persistentVolumeClaim: {claimName: %[1]s}}
`, claim, className, size, annotation, place), "-f", "-")
}

// placed makes claim and pod and waits until the volume is in use.
func placed(t *testing.T, claim, className, size string) used {
	t.Helper()
	request(t, claim, className, size)
	return mounted(t, claim, className)
}

// mounted waits until a claim's pod runs, and finds its volume.
func mounted(t *testing.T, claim, className string) used {
	t.Helper()
	v := used{claim: claim, class: className}
	eventually(t, "pod "+claim+" runs", func(ctx context.Context) error {
		pod, err := suite.client.CoreV1().Pods(volumesNamespace).Get(ctx, claim, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if pod.Status.Phase != corev1.PodRunning {
			return fmt.Errorf("it is %s", pod.Status.Phase)
		}
		c, err := suite.client.CoreV1().PersistentVolumeClaims(volumesNamespace).Get(ctx, claim, metav1.GetOptions{})
		if err != nil {
			return err
		}
		pv, err := suite.client.CoreV1().PersistentVolumes().Get(ctx, c.Spec.VolumeName, metav1.GetOptions{})
		if err != nil {
			return err
		}
		v.pv, v.lvUUID, v.lvName = pv.Name, pv.Annotations[volume.AnnotationLVUUID], pv.Annotations[volume.AnnotationLVName]
		v.dir = fmt.Sprintf("/var/lib/kubelet/pods/%s/volumes/kubernetes.io~local-volume/%s", pod.UID, pv.Name)
		return nil
	})
	return v
}

// lvs asks lvm for columns of the volume.
func (v used) lvs(t *testing.T, columns string) string {
	t.Helper()
	return strings.TrimSpace(execute(t, volumesNode, "lvm", "lvs", "--noheadings", "--units", "b", "--nosuffix", "-o", columns, "-S", "lv_uuid="+v.lvUUID))
}

// pattern fills the file; it is looked for on the disk.
const pattern = "berth-was-here"

func (v used) write(t *testing.T) {
	t.Helper()
	execute(t, volumesNode, "sh", "-c", `yes `+pattern+` | head -c 4194304 >"$1/file" && sync -f "$1/file"`, "sh", v.dir)
}

// whole compares the file with what was written.
func (v used) whole(ctx context.Context) error {
	_, err := suite.bed.Exec(ctx, volumesNode, "sh", "-c", `yes `+pattern+` | head -c 4194304 | cmp - "$1/file"`, "sh", v.dir)
	return err
}

// holds sees that the file is whole.
func (v used) holds(t *testing.T) {
	t.Helper()
	if err := v.whole(t.Context()); err != nil {
		t.Errorf("the file in the volume of %s is not what was written: %v", v.claim, err)
	}
}

// comesBack makes the claim again: it has its volume, with what was in it.
func (v used) comesBack(t *testing.T, size string) used {
	t.Helper()
	again := placed(t, v.claim, v.class, size)
	if again.lvUUID != v.lvUUID {
		t.Errorf("claim %s has volume %s, and had %s", v.claim, again.lvUUID, v.lvUUID)
	}
	again.holds(t)
	return again
}

// grow asks for more while the pod runs, and waits until the file system has it.
func (v used) grow(t *testing.T, to string) {
	t.Helper()
	bytes := func() int64 {
		out := execute(t, volumesNode, "stat", "-f", "-c", "%b %S", v.dir)
		var blocks, size int64
		if _, err := fmt.Sscan(out, &blocks, &size); err != nil {
			t.Fatalf("stat says %q: %v", out, err)
		}
		return blocks * size
	}
	before := bytes()
	eventually(t, "the claim asks for "+to, func(ctx context.Context) error {
		return kubectl(ctx, "", "patch", "pvc", v.claim, "-n", volumesNamespace, "-p", `{"spec":{"resources":{"requests":{"storage":"`+to+`"}}}}`)
	})
	eventually(t, "the file system has grown", func(context.Context) error {
		if after := bytes(); after <= before {
			return fmt.Errorf("it has %d bytes, and had %d", after, before)
		}
		return nil
	})
	v.holds(t)
}

// forget deletes pod, claim and PersistentVolume: the API knows nothing any more.
func (v used) forget(t *testing.T) {
	t.Helper()
	v.deleteClaim(t)
	eventually(t, "the PersistentVolume is deleted", func(ctx context.Context) error {
		return kubectl(ctx, "", "delete", "pv", v.pv, "--ignore-not-found", "--timeout=20s")
	})
}

func (v used) deleteClaim(t *testing.T) {
	t.Helper()
	eventually(t, "pod and claim are deleted", func(ctx context.Context) error {
		return kubectl(ctx, "", "delete", "pod,pvc", v.claim, "-n", volumesNamespace, "--ignore-not-found", "--timeout=60s")
	})
}

// disown sets the policy of somebody who does not want the data any more.
func (v used) disown(t *testing.T) {
	t.Helper()
	eventually(t, "the policy is Delete", func(ctx context.Context) error {
		return kubectl(ctx, "", "patch", "pv", v.pv, "-p", `{"spec":{"persistentVolumeReclaimPolicy":"Delete"}}`)
	})
}

// trash deletes the claim, and its volume with it.
func (v used) trash(t *testing.T) {
	t.Helper()
	v.disown(t)
	v.deleteClaim(t)
	eventually(t, "the volume is in the trash, its PersistentVolume gone", func(ctx context.Context) error {
		_, err := suite.client.CoreV1().PersistentVolumes().Get(ctx, v.pv, metav1.GetOptions{})
		if tags := v.lvs(t, "lv_tags"); !strings.Contains(tags, volume.StateTag(volume.Trash)) || !apierrors.IsNotFound(err) {
			return fmt.Errorf("tags %s, PersistentVolume: %v", tags, err)
		}
		return nil
	})
}

// remove ends the volume's time in the trash, and waits until its space is free.
func (v used) remove(t *testing.T) {
	t.Helper()
	v.trash(t)
	var deadline string
	for _, tag := range strings.Split(v.lvs(t, "lv_tags"), ",") {
		if strings.HasPrefix(tag, "berth.dev/deadline=") {
			deadline = tag
		}
	}
	execute(t, volumesNode, "lvm", "lvchange", "-q", "--deltag", deadline, "--addtag", "berth.dev/deadline=1", "-S", "lv_uuid="+v.lvUUID, "berth")
	eventually(t, "the volume is removed", func(context.Context) error {
		if left := v.lvs(t, "lv_name"); left != "" {
			return fmt.Errorf("%s is there", left)
		}
		return nil
	})
}
