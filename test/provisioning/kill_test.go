package provisioning

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"

	"github.com/berth-dev/berth/pkg/lvm"
	"github.com/berth-dev/berth/pkg/volume"
	"github.com/berth-dev/berth/test/knob"
)

// slaughter kills an agent, or what it runs, in the middle of what users do.
type slaughter struct {
	*machine
	client kubernetes.Interface
	rand   *rand.Rand
	homes  map[string]string   // LV UUID by claim
	sums   map[string][32]byte // of what was written, by LV UUID
	trash  map[string]bool     // LV UUIDs
	did    map[string]int
}

// TestKilled kills the real agent with SIGKILL at every kind of moment: before and
// after each of its commands, at random, and its child alone. After each kill it
// is started again, and has to serve the claim; then no volume is lost, none is
// there twice, all are known, and what was written is unchanged. KILLS is how many
// (200 for make volumes-kill), SEED the first.
func TestKilled(t *testing.T) {
	kills, seed := knob.Number[uint64](t, "KILLS", 12), knob.Number[uint64](t, "SEED", 1)
	s := &slaughter{machine: newMachine(t), rand: rand.New(rand.NewPCG(seed, 0)),
		homes: map[string]string{}, sums: map[string][32]byte{}, trash: map[string]bool{}, did: map[string]int{}}
	var err error
	if s.client, err = kubernetes.NewForConfig(s.cp.Config()); err != nil {
		t.Fatal(err)
	}
	s.start()
	for i := range kills {
		name := fmt.Sprintf("claim-%d", s.rand.IntN(8))
		what := s.act(name, func(what string) string { return what + s.strike() })
		t.Logf("%d: %s", i, what)
		s.until(name+" is bound", func() bool { return s.bound(name) })
		s.judge(name)
	}
	t.Logf("seed %d: %v; %d volumes with %d checksums, %d in the trash", seed, s.did, len(s.homes), len(s.sums), len(s.trash))
}

// act has users do something with a claim, strikes meanwhile, and leaves the claim
// in place.
func (s *slaughter) act(name string, strike func(what string) string) string {
	uuid, there := s.homes[name]
	switch {
	case !there:
		s.make(name)
		return strike(name + " is made")
	case s.rand.IntN(3) == 0:
		s.policy(uuid, corev1.PersistentVolumeReclaimDelete)
		s.delete(name)
		what := strike(name + " is deleted with its volume")
		s.until("volume of "+name+" in the trash", func() bool {
			for _, v := range s.volumes() {
				if v.LV.UUID == uuid {
					return v.Tags.State == volume.Trash && v.LV.Name == volume.TrashName(uuid)
				}
			}
			s.t.Fatalf("volume %s of %s is gone", uuid, name)
			return false
		})
		s.trash[uuid] = true
		delete(s.homes, name)
		s.make(name)
		return what
	case s.rand.IntN(2) == 0:
		s.delete(name)
		s.make(name)
		return strike(name + " is made again")
	default:
		s.delete(name)
		err := s.client.CoreV1().PersistentVolumes().Delete(s.t.Context(), volume.PVName(uuid), metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			s.t.Fatal(err)
		}
		s.make(name)
		return strike(name + " and its PV are lost")
	}
}

// strike kills in one of the ways, and starts the agent again.
func (s *slaughter) strike() string {
	moment := time.After(time.Duration(s.rand.IntN(1500)) * time.Millisecond)
	var how string
	switch s.rand.IntN(4) {
	case 0:
		how = "agent at random"
		<-moment
	case 1:
		how = "child"
		<-moment
		ctx, cancel := context.WithTimeout(s.t.Context(), 3*time.Second)
		defer cancel()
		for !s.killChild() && ctx.Err() == nil { // an idle agent has one every second
			time.Sleep(time.Millisecond)
		}
		s.did[how]++
		return ", its child is killed"
	default:
		when := []string{"before", "after"}[s.rand.IntN(2)]
		n := 1 + s.rand.IntN(9)
		how = "agent " + when + " a command"
		s.countdown(n, when)
		select {
		case <-s.ended:
		case <-time.After(20 * time.Second): // nine commands take an idle agent nine seconds
			s.t.Fatalf("the agent does not come to its command %d", n)
		}
	}
	s.did[how]++
	s.kill()
	s.start()
	return ", " + how
}

func (s *slaughter) make(name string) {
	s.t.Helper()
	claim := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{"volume.kubernetes.io/selected-node": node}},
		Spec: corev1.PersistentVolumeClaimSpec{
			StorageClassName: ptr.To("berth"), AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("8Mi")}},
		},
	}
	if _, err := s.client.CoreV1().PersistentVolumeClaims("default").Create(s.t.Context(), claim, metav1.CreateOptions{}); err != nil {
		s.t.Fatal(err)
	}
}

func (s *slaughter) delete(name string) {
	s.t.Helper()
	if err := s.client.CoreV1().PersistentVolumeClaims("default").Delete(s.t.Context(), name, metav1.DeleteOptions{}); err != nil {
		s.t.Fatal(err)
	}
	s.until(name+" is gone", func() bool {
		_, err := s.client.CoreV1().PersistentVolumeClaims("default").Get(s.t.Context(), name, metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	})
}

func (s *slaughter) policy(uuid string, policy corev1.PersistentVolumeReclaimPolicy) {
	s.t.Helper()
	patch := fmt.Appendf(nil, `{"spec":{"persistentVolumeReclaimPolicy":%q}}`, policy)
	if _, err := s.client.CoreV1().PersistentVolumes().Patch(s.t.Context(), volume.PVName(uuid), types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		s.t.Fatal(err)
	}
}

func (s *slaughter) bound(name string) bool {
	claim, err := s.client.CoreV1().PersistentVolumeClaims("default").Get(s.t.Context(), name, metav1.GetOptions{})
	return err == nil && claim.Status.Phase == corev1.ClaimBound
}

// judge compares the disk with what is known of it.
func (s *slaughter) judge(name string) {
	s.t.Helper()
	report, err := lvm.New(s.run, lvm.MetadataOnly()).Report(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	found := map[string]string{}
	all := s.volumes()
	if len(all) != len(report.VGs[0].LVs) {
		s.t.Errorf("%d of %d volumes are known", len(all), len(report.VGs[0].LVs))
	}
	trash := 0
	for _, v := range all {
		switch {
		case v.Err != nil:
			s.t.Errorf("%s: %v", v, v.Err)
		case v.Tags.State == volume.Trash:
			trash++
		case v.Tags.State != volume.Ready || found[v.Tags.Claim] != "":
			s.t.Errorf("%s of %s is %s, beside %q", v, v.Tags.Claim, v.Tags.State, found[v.Tags.Claim])
		default:
			found[v.Tags.Claim] = v.LV.UUID
		}
	}
	if s.homes[name] == "" {
		s.homes[name] = found[name]
		s.sums[found[name]] = s.write(found[name], name+" "+found[name]+"\n")
	}
	for claim, uuid := range s.homes {
		if found[claim] != uuid {
			s.t.Errorf("the volume of %s was %s and is %s", claim, uuid, found[claim])
		}
		if got := s.read(uuid); got != s.sums[uuid] {
			s.t.Errorf("the content of %s on %s has changed", claim, uuid)
		}
	}
	if len(found) != len(s.homes) || trash != len(s.trash) {
		s.t.Errorf("%d volumes in use and %d in the trash, want %d and %d", len(found), trash, len(s.homes), len(s.trash))
	}
	if s.t.Failed() {
		s.t.FailNow()
	}
}
