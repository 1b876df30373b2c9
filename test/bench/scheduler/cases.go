package main

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
)

// kind is a kind of pod that is measured.
type kind struct {
	name string
	// pod makes the n-th pod of a round.
	pod func(n int) *corev1.Pod
	// home is the only node that is right for the n-th pod, "" when many are.
	home func(w world, n int) string
	ours bool // the pod has a claim of Berth's class
	// faster is how many times stock's speed ours has to reach in a large cluster.
	faster float64
}

func anywhere(world, int) string { return "" }

// boundVolume is a member whose claim is bound to the volume with its data.
func boundVolume() kind {
	return kind{
		name: "bound volume", ours: true, faster: 60,
		pod:  func(n int) *corev1.Pod { return memberPod(member{"db", n}) },
		home: func(w world, n int) string { return w.home(member{"db", n}) },
	}
}

// What a new volume has to reach in a large cluster where the class has no volume yet,
// and where it has many: VolumeBinding looks up all of them for the pod, on whose part
// nearly all of the cycle then goes, whatever we do.
const (
	newAmongNone = 400
	newAmongMany = 150
)

// newVolume is a member whose claim has no volume.
func newVolume(faster float64) kind {
	return kind{
		name: "new volume", ours: true, faster: faster, home: anywhere,
		pod: func(n int) *corev1.Pod { return memberPod(member{"new", n}) },
	}
}

// noVolume is a pod of somebody else's, without a claim.
func noVolume() kind {
	return kind{
		name: "foreign, no volume", home: anywhere,
		pod: func(n int) *corev1.Pod { return pod(fmt.Sprintf("web-%d", n)) },
	}
}

// foreignVolume is a pod of somebody else's, with a volume of another provisioner.
func foreignVolume() kind {
	return kind{
		name: "foreign, network volume", home: anywhere,
		pod: func(n int) *corev1.Pod {
			return withClaim(pod(fmt.Sprintf("app-%d", n)), fmt.Sprintf("network-%d", n))
		},
	}
}

func pod(name string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace, UID: types.UID(name), Labels: map[string]string{"app": "web"}},
		Spec: corev1.PodSpec{
			Containers: []corev1.Container{{Name: "c", Image: "i", Resources: corev1.ResourceRequirements{
				Requests: corev1.ResourceList{
					corev1.ResourceCPU:    resource.MustParse("100m"),
					corev1.ResourceMemory: resource.MustParse("128Mi"),
				},
			}}},
		},
	}
}

func memberPod(m member) *corev1.Pod {
	p := withClaim(pod(m.pod()), m.claim())
	p.Labels = map[string]string{"app": m.set()}
	p.OwnerReferences = []metav1.OwnerReference{{
		APIVersion: "apps/v1", Kind: "StatefulSet", Name: m.set(), UID: types.UID(m.set()), Controller: ptr.To(true),
	}}
	return p
}

func withClaim(p *corev1.Pod, claim string) *corev1.Pod {
	p.Spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{
		PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim},
	}}}
	return p
}
