//go:build outages

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"strings"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-dev/berth/pkg/volume"
)

const (
	// baseDirectory is where manifests/directory has the agents keep volumes. Behind
	// it is a directory of the node's own disk.
	baseDirectory = "/srv/berth"
	ownDirectory  = "/var/lib/directories"
	// dirVariant is the variant of the manifests, and the test's StorageClass.
	dirVariant = "directory"
)

// TestVolumeDirectory has a node without lvm, as manifests/directory makes it, keep a
// claim's files through everything that happens to volumes. Berth's scheduler chooses
// the node, and kubelet mounts the directory that was made first, and never another.
func TestVolumeDirectory(t *testing.T) {
	startDirectories(t)
	v := scheduled(t, "files", "64Mi")
	v.write(t)
	v.seenByPod(t)
	made := directories(t)

	v.deleteClaim(t)
	v = v.returns(t, made, "64Mi")

	v.deleteClaim(t)
	eventually(t, "no agent runs, and none has said anything", forgetAgent)
	v.forget(t)
	apply(t, "", "-k", path.Join(suite.root, "manifests", dirVariant))
	v = v.returns(t, made, "64Mi")

	v.growDirectory(t, "128Mi")
	v.disown(t)
	v.staysWhileMounted(t, made)
	v.trashed(t)
	// In the agent's pod, as somebody does who has no shell on the machine.
	if err := kubectl(t.Context(), "", "exec", "--namespace="+volume.SystemNamespace, "daemonset/lvm-provisioner", "--",
		"lvm-provisioner", "undelete", "--lvm=none", "--directory="+baseDirectory, volumesNamespace+"/"+v.claim); err != nil {
		t.Fatal(err)
	}
	v.returns(t, made, "128Mi").removeDirectory(t)
}

// startDirectories makes a base directory as a person does, once an agent has said
// that there is none.
func startDirectories(t *testing.T) {
	t.Helper()
	// The root file system is read-only here, and gone with the power.
	execute(t, volumesNode, "sh", "-euc", `mount -t tmpfs tmpfs "${1%/*}"; mkdir "$1" "$2"; mount --bind "$2" "$1"`, "sh", baseDirectory, ownDirectory)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
		defer cancel()
		// What tests come after starts with agents of its own.
		if err := forgetAgent(ctx); err != nil {
			t.Error(err)
		}
		if _, err := suite.bed.Exec(ctx, volumesNode, "sh", "-euc", `umount "$1" "${1%/*}"; rm -r "$2"`, "sh", baseDirectory, ownDirectory); err != nil {
			t.Error(err)
		}
	})
	eventually(t, "no agent runs, and none has said anything", forgetAgent)
	since := time.Now()
	startVolumesBy(t, dirVariant)
	storageClass(t, dirVariant, "backend: dir")
	wantEventSince(t, since, metav1.NamespaceDefault, "Node", volumesNode, "VolumeGroupMissing", "has no base directory")
	if found := execute(t, volumesNode, "ls", "-A", baseDirectory); found != "" {
		t.Fatalf("a directory that nobody has marked holds %q", found)
	}
	t.Log(execute(t, volumesNode, "/run/bed/bin/lvm-provisioner", "base-directory", baseDirectory))
}

// forgetAgent takes the agent away, with all that it has told the API of its node,
// and the StorageClass of the manifests, whose parameters are not to be changed.
func forgetAgent(ctx context.Context) error {
	node, err := suite.client.CoreV1().Nodes().Get(ctx, volumesNode, metav1.GetOptions{})
	if err != nil {
		return err
	}
	for _, args := range [][]string{
		{"daemonset", "lvm-provisioner", "--namespace=" + volume.SystemNamespace, "--cascade=foreground", "--timeout=2m"},
		{"csistoragecapacities", "--all", "--namespace=" + volume.SystemNamespace},
		{"storageclass", "berth"},
	} {
		if err := kubectl(ctx, "", append([]string{"delete", "--ignore-not-found"}, args...)...); err != nil {
			return err
		}
	}
	for label := range node.Labels {
		if strings.HasPrefix(label, volume.NodeLabelPrefix) {
			if err := kubectl(ctx, "", "label", "node", volumesNode, label+"-"); err != nil {
				return err
			}
		}
	}
	return nil
}

// scheduled makes claim and pod, and waits until the volume is in use on the node
// that Berth's scheduler has chosen.
func scheduled(t *testing.T, claim, size string) used {
	t.Helper()
	ask(t, claim, dirVariant, size, "", "schedulerName: berth-scheduler")
	return mounted(t, claim, dirVariant)
}

// directories are the names and inodes of all volumes, and of their data.
func directories(t *testing.T) string {
	t.Helper()
	found, err := findDirectories(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func findDirectories(ctx context.Context) (string, error) {
	return suite.bed.Exec(ctx, volumesNode, "sh", "-euc", `find "$1" -mindepth 1 -maxdepth 2 -type d -printf '%P %i\n' | sort`, "sh", baseDirectory)
}

// seenByPod reads the file where a process of the pod finds it.
func (v used) seenByPod(t *testing.T) {
	t.Helper()
	execute(t, volumesNode, "sh", "-euc", `
mounts=$(grep -ls "/$1/data /data " /proc/[0-9]*/mountinfo | head -n 1)
test -n "$mounts"
cmp "$2/file" "${mounts%/mountinfo}/root/data/file"`, "sh", v.lvName, v.dir)
}

// returns makes the claim again: the directories are those that were made, and the
// pod has its own.
func (v used) returns(t *testing.T, made, size string) used {
	t.Helper()
	again := scheduled(t, v.claim, size)
	if found := directories(t); found != made || again.lvUUID != v.lvUUID {
		t.Errorf("claim %s has volume %s, and had %s; the directories are %q, and were %q", v.claim, again.lvUUID, v.lvUUID, found, made)
	}
	again.holds(t)
	return again
}

// growDirectory asks for more while the pod runs. A directory has no size of its own:
// what grows is what its record, PersistentVolume and claim say.
func (v used) growDirectory(t *testing.T, to string) {
	t.Helper()
	eventually(t, "the claim asks for "+to, func(ctx context.Context) error {
		return kubectl(ctx, "", "patch", "pvc", v.claim, "-n", volumesNamespace, "-p", `{"spec":{"resources":{"requests":{"storage":"`+to+`"}}}}`)
	})
	want := resource.MustParse(to)
	eventually(t, "PersistentVolume and claim say "+to, func(ctx context.Context) error {
		claim, err := suite.client.CoreV1().PersistentVolumeClaims(volumesNamespace).Get(ctx, v.claim, metav1.GetOptions{})
		if err != nil {
			return err
		}
		pv, err := suite.client.CoreV1().PersistentVolumes().Get(ctx, v.pv, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if is, shown := pv.Spec.Capacity.Storage(), claim.Status.Capacity.Storage(); is.Cmp(want) != 0 || shown.Cmp(want) != 0 {
			return fmt.Errorf("the PersistentVolume says %s, the claim %s", is, shown)
		}
		return nil
	})
	var record struct{ Size int64 }
	if raw := execute(t, volumesNode, "cat", path.Join(baseDirectory, v.lvName, "volume.json")); json.Unmarshal([]byte(raw), &record) != nil || record.Size != want.Value() {
		t.Errorf("the record is %s", raw)
	}
	v.holds(t)
}

// staysWhileMounted deletes pod and claim while kubelet hangs, so that the pod runs
// on: its directory stays where it is, with what is in it.
func (v used) staysWhileMounted(t *testing.T, made string) {
	t.Helper()
	goOn := sync.OnceFunc(func() {
		if _, err := suite.bed.Exec(context.Background(), volumesNode, "pkill", "-CONT", "-x", "kubelet"); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(goOn)
	execute(t, volumesNode, "pkill", "-STOP", "-x", "kubelet")
	since := time.Now()
	eventually(t, "the pod is deleted without a word of its kubelet", func(ctx context.Context) error {
		return kubectl(ctx, "", "delete", "pod", v.claim, "-n", volumesNamespace, "--force", "--grace-period=0", "--ignore-not-found")
	})
	v.deleteClaim(t)
	wantEventSince(t, since, metav1.NamespaceDefault, "PersistentVolume", v.pv, "VolumeFailedDelete", "is mounted ("+v.dir)
	never(t, hold/2, "a directory that moved while a pod has it mounted", func(ctx context.Context) (bool, error) {
		if err := v.whole(ctx); err != nil {
			return false, err
		}
		found, err := findDirectories(ctx)
		return found != made, err
	})
	goOn()
}

// trashed waits until the directory is in the trash, whole, and nothing stands for it.
func (v used) trashed(t *testing.T) {
	t.Helper()
	kept := v
	kept.dir = path.Join(baseDirectory, volume.TrashName(v.lvUUID), "data")
	eventually(t, "the directory is in the trash, its PersistentVolume gone", func(ctx context.Context) error {
		if _, err := suite.client.CoreV1().PersistentVolumes().Get(ctx, v.pv, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			return fmt.Errorf("PersistentVolume: %v", err)
		}
		_, err := suite.bed.Exec(ctx, volumesNode, "test", "-d", kept.dir)
		return err
	})
	kept.holds(t)
}

// removeDirectory deletes the volume, ends its time in the trash, and waits until
// it is removed.
func (v used) removeDirectory(t *testing.T) {
	t.Helper()
	v.disown(t)
	v.deleteClaim(t)
	v.trashed(t)
	record := path.Join(baseDirectory, volume.TrashName(v.lvUUID), "volume.json")
	execute(t, volumesNode, "flock", baseDirectory, "sed", "-i", `s|\(berth.dev/deadline=\)[0-9]*|\11|`, record)
	eventually(t, "the directory is removed", func(ctx context.Context) error {
		left, err := findDirectories(ctx)
		if err == nil && left != "" {
			err = fmt.Errorf("there is %q", left)
		}
		return err
	})
}
