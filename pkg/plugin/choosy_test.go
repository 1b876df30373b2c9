package plugin

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestChoosy(t *testing.T) {
	term := func(topology string) corev1.PodAffinityTerm { return corev1.PodAffinityTerm{TopologyKey: topology} }
	for _, test := range []struct {
		name string
		want bool
		spec corev1.PodSpec
	}{
		{"no wishes", false, corev1.PodSpec{}},
		{"its nodes' labels", false, corev1.PodSpec{NodeSelector: map[string]string{"disk": "fast"}, Affinity: &corev1.Affinity{
			NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{}},
		}}},
		{"none of its siblings on its node", false, corev1.PodSpec{Affinity: &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{
			RequiredDuringSchedulingIgnoredDuringExecution:  []corev1.PodAffinityTerm{term(corev1.LabelHostname)},
			PreferredDuringSchedulingIgnoredDuringExecution: []corev1.WeightedPodAffinityTerm{{PodAffinityTerm: term(corev1.LabelHostname)}},
		}}}},
		{"none of its siblings in its zone", true, corev1.PodSpec{Affinity: &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{
			RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{term(corev1.LabelHostname), term(corev1.LabelTopologyZone)},
		}}}},
		{"rather none of its siblings in its zone", true, corev1.PodSpec{Affinity: &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{
			PreferredDuringSchedulingIgnoredDuringExecution: []corev1.WeightedPodAffinityTerm{{PodAffinityTerm: term(corev1.LabelTopologyZone)}},
		}}}},
		{"near another pod", true, corev1.PodSpec{Affinity: &corev1.Affinity{PodAffinity: &corev1.PodAffinity{}}}},
		{"rather some nodes", true, corev1.PodSpec{Affinity: &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
			PreferredDuringSchedulingIgnoredDuringExecution: []corev1.PreferredSchedulingTerm{{Weight: 1}},
		}}}},
		{"spread over zones", true, corev1.PodSpec{TopologySpreadConstraints: []corev1.TopologySpreadConstraint{{TopologyKey: corev1.LabelTopologyZone}}}},
	} {
		if got := choosy(&corev1.Pod{Spec: test.spec}); got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}
