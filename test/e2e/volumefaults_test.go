//go:build outages

package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-dev/berth/pkg/provisioner"
	"github.com/berth-dev/berth/pkg/volume"
)

// TestVolumeFaults makes a volume's device fail below the agent and sees that
// nothing is written, published or made on a bad answer.
func TestVolumeFaults(t *testing.T) {
	startVolumes(t)
	execute(t, volumesNode, "modprobe", "-a", "dm-flakey", "dm-dust")
	for _, fault := range []string{"error", "flakey"} {
		t.Run("a volume that is ready, "+fault, func(t *testing.T) { failingReady(t, fault) })
	}
	t.Run("a volume that was never finished", failingCreating)
	t.Run("one copy of a raid1 volume", failingCopy)
}

// badTables print the table by which a linear one is replaced, from its $size,
// $dev and $off: reads fail.
var badTables = map[string]string{
	"error":  `echo "0 $size error"`,
	"flakey": `echo "0 $size flakey $dev $off 0 60"`,
	// The first two MiB cannot be read, until they are written: a mkfs would succeed.
	"dust": `echo "0 $size dust $dev $off 1048576"`,
}

// badStart tells a dust target which blocks are bad.
const badStart = `for block in 0 1; do dmsetup message "$n" 0 addbadblock $block; done; dmsetup message "$n" 0 enable`

// mapped is the name of a logical volume's device.
func mapped(lvName string) string { return "berth-" + strings.ReplaceAll(lvName, "-", "--") }

// fail gives a device a table of badTables, and runs a script on it, as $n. mend
// gives it back the one that it had.
func fail(t *testing.T, lvName, fault, script string) (mend func()) {
	t.Helper()
	const swap = `
n=$1
saved=$(dmsetup table "$n")
set -- $saved
size=$2 dev=$4 off=$5
%s | dmsetup load "$n"
dmsetup suspend "$n"
dmsetup resume "$n"
%s
echo "$saved"`
	saved := strings.TrimSpace(execute(t, volumesNode, "sh", "-euc", fmt.Sprintf(swap, badTables[fault], script), "sh", mapped(lvName)))
	return func() {
		t.Helper()
		execute(t, volumesNode, "sh", "-euc", `echo "$2" | dmsetup load "$1"; dmsetup suspend "$1"; dmsetup resume "$1"`, "sh", mapped(lvName), saved)
	}
}

// restartAgent starts the node's agent anew: it forgets what it has verified.
func restartAgent(t *testing.T) {
	t.Helper()
	eventually(t, "the agent is started anew", func(ctx context.Context) error {
		return kubectl(ctx, "", "delete", "pod", "-n", volume.SystemNamespace, "-l", "app.kubernetes.io/name=lvm-provisioner",
			"--field-selector=spec.nodeName="+volumesNode, "--grace-period=5", "--timeout=60s")
	})
}

// failingReady has a volume that cannot be read when the API has forgotten it.
// Its claim, which comes meanwhile, gets no other one.
func failingReady(t *testing.T, fault string) {
	name := "failing-" + fault
	class(t, name, "fsType: ext4")
	v := placed(t, name, name, "64Mi")
	v.write(t)
	v.deleteClaim(t)
	before, since := v.lvs(t, "vg_seqno,lv_tags"), metav1.Now()
	mend := fail(t, v.lvName, fault, "")
	restartAgent(t)
	wantEventSince(t, since.Time, metav1.NamespaceDefault, "Node", volumesNode, "VolumeNotAvailable", v.lvName)
	v.forget(t)
	eventually(t, "no free space is offered while a volume is not on the API", func(ctx context.Context) error {
		free, err := offers(ctx)
		if err == nil && len(free) > 0 {
			err = fmt.Errorf("it offers %v", free)
		}
		return err
	})
	request(t, name, name, "64Mi")
	wantEventSince(t, since.Time, volumesNamespace, "PersistentVolumeClaim", name, "ProvisioningFailed", v.lvName, "is not served")
	never(t, hold, "a PersistentVolume or a link of a volume that cannot be read", func(ctx context.Context) (bool, error) {
		_, err := suite.client.CoreV1().PersistentVolumes().Get(ctx, v.pv, metav1.GetOptions{})
		if !apierrors.IsNotFound(err) {
			return err == nil, err
		}
		links, err := suite.bed.Exec(ctx, volumesNode, "ls", provisioner.DefaultLinkDir)
		return strings.Contains(links, v.lvUUID), err
	})
	if after := v.lvs(t, "vg_seqno,lv_tags"); after != before {
		t.Errorf("the metadata changed from %s to %s", before, after)
	}
	mend()
	v.comesBack(t, "64Mi").remove(t)
}

// failingCreating has somebody's file system on a volume in state creating, and
// reads that fail where it is recognised.
func failingCreating(t *testing.T) {
	class(t, "half", "fsType: ext4")
	const claim, foreign = "half", "11111111-2222-3333-4444-555555555555"
	tags := volume.Tags{Namespace: volumesNamespace, Claim: claim, Class: "volumes-half", FSType: "ext4", FSUUID: "99999999-2222-3333-4444-555555555555",
		State: volume.Creating, Generation: 1, APIServer: "former"}
	name := volume.LVName(volumesNamespace, claim)
	create := []string{"lvm", "lvcreate", "-q", "-y", "-l", "16", "-n", name}
	for _, tag := range tags.Encode() {
		create = append(create, "--addtag", tag)
	}
	execute(t, volumesNode, append(create, "berth")...)
	t.Cleanup(func() {
		if _, err := suite.bed.Exec(context.Background(), volumesNode, "lvm", "lvremove", "-q", "-y", "berth/"+name); err != nil {
			t.Error(err)
		}
	})
	device := "/dev/mapper/" + mapped(name)
	execute(t, volumesNode, "mkfs.ext4", "-q", "-U", foreign, device)
	sum := func() string {
		return execute(t, volumesNode, "sh", "-c", `dd if="$1" iflag=direct bs=1M status=none | sha256sum`, "sh", device)
	}
	before, since := sum(), metav1.Now()
	mend := fail(t, name, "dust", badStart)
	request(t, claim, "half", "64Mi")
	wantEventSince(t, since.Time, volumesNamespace, "PersistentVolumeClaim", claim, "ProvisioningFailed", name, "is not served")
	mend()
	wantEventSince(t, since.Time, volumesNamespace, "PersistentVolumeClaim", claim, "ProvisioningFailed", "holds ext4 with UUID "+foreign)
	if after := sum(); after != before {
		t.Error("the device was written to")
	}
	used{claim: claim}.deleteClaim(t)
}

// wantUnhealthy reads the metrics of the node's agent for the volumes that it does not
// count as healthy.
func wantUnhealthy(ctx context.Context, want ...string) error {
	node, err := suite.client.CoreV1().Nodes().Get(ctx, volumesNode, metav1.GetOptions{})
	if err != nil {
		return err
	}
	i := slices.IndexFunc(node.Status.Addresses, func(a corev1.NodeAddress) bool { return a.Type == corev1.NodeInternalIP })
	if i < 0 {
		return fmt.Errorf("node %s has no address", volumesNode)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(node.Status.Addresses[i].Address, "9750")+"/metrics", nil)
	if err != nil {
		return err
	}
	client := http.Client{Transport: &http.Transport{DialContext: suite.bed.DialContext, DisableKeepAlives: true}}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	all, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		return fmt.Errorf("read the agent's metrics: %s, %v", answer.Status, err)
	}
	var found []string
	for line := range strings.Lines(string(all)) {
		if strings.HasPrefix(line, "berth_volumes_unhealthy{") {
			found = append(found, strings.TrimSpace(line))
		}
	}
	if !slices.Equal(found, want) {
		return fmt.Errorf("the agent counts %q, expected %q", found, want)
	}
	return nil
}

// failingCopy has one copy of a mirrored volume fail while a pod writes. The pod
// notices nothing; the agent tells it, for as long as it lasts, and a person has the
// copy brought up to date when its disk is well.
func failingCopy(t *testing.T) {
	class(t, "copies", "type: raid1, fsType: ext4")
	v := placed(t, "copies", "copies", "64Mi")
	eventually(t, "both copies are the same", v.mirrored)
	since := metav1.Now()
	mend := fail(t, v.lvName+"_rimage_1", "error", "")
	v.write(t)
	v.holds(t)
	if health := v.lvs(t, "lv_health_status"); health != "refresh needed" {
		t.Errorf("lvm says %q of a volume of which one copy has failed", health)
	}
	wantEventSince(t, since.Time, metav1.NamespaceDefault, "Node", volumesNode, "VolumeDegraded", "berth/"+v.lvName+" ("+volumesNamespace+"/copies)",
		`"refresh needed"`, "lvchange --refresh berth/"+v.lvName)
	eventually(t, "the agent counts it", func(ctx context.Context) error {
		return wantUnhealthy(ctx, `berth_volumes_unhealthy{health="refresh needed",vg="berth"} 1`)
	})
	if shown := execute(t, volumesNode, "/run/bed/bin/lvm-provisioner", "inventory"); !strings.Contains(shown, "refresh needed") {
		t.Errorf("inventory does not show it:\n%s", shown)
	}
	if free, err := offers(t.Context()); err != nil || free["volumes-copies"] == 0 {
		t.Errorf("free space beside it is offered no more: %v, %v", free, err)
	}
	mend()
	execute(t, volumesNode, "lvm", "lvchange", "-q", "--refresh", "berth/"+v.lvName)
	eventually(t, "both copies are the same again", v.mirrored)
	eventually(t, "the agent counts it no more", func(ctx context.Context) error { return wantUnhealthy(ctx) })
	v.holds(t)
	v.remove(t)
}
