package plugin

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	fwk "k8s.io/kube-scheduler/framework"
)

// PreScore has nothing to score for a pod that is not ours or has one node only.
func (p *VolumeHome) PreScore(_ context.Context, state fwk.CycleState, _ *corev1.Pod, _ []fwk.NodeInfo) *fwk.Status {
	if c, err := read(state); err != nil || len(c.verdict.Nodes) == 0 {
		return fwk.NewStatus(fwk.Skip)
	}
	return nil
}

// Score is the free space, in mebibytes, after the new volumes are made.
func (p *VolumeHome) Score(_ context.Context, state fwk.CycleState, _ *corev1.Pod, info fwk.NodeInfo) (int64, *fwk.Status) {
	c, err := read(state)
	if err != nil {
		return 0, fwk.AsStatus(err)
	}
	return c.verdict.Nodes[info.Node().Name].FreeAfter >> 20, nil
}

// ScoreExtensions returns the plugin, which normalizes.
func (p *VolumeHome) ScoreExtensions() fwk.ScoreExtensions { return p }

// NormalizeScore gives the emptiest node the best score and the others their
// share of it.
func (p *VolumeHome) NormalizeScore(_ context.Context, _ fwk.CycleState, _ *corev1.Pod, scores fwk.NodeScoreList) *fwk.Status {
	var most int64
	for _, s := range scores {
		most = max(most, s.Score)
	}
	if most == 0 {
		return nil
	}
	for i := range scores {
		scores[i].Score = int64(float64(scores[i].Score) / float64(most) * float64(fwk.MaxNodeScore))
	}
	return nil
}
