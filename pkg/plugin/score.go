package plugin

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	fwk "k8s.io/kube-scheduler/framework"

	"github.com/berth-dev/berth/pkg/placement"
)

// scores are the scores of the nodes that are left, kept for Score.
type scores map[string]int64

const scoresKey = Name + "/scores"

// Clone returns the same value, which nobody changes.
func (s scores) Clone() fwk.StateData { return s }

// skip is shared: the framework does not change it.
var skip = fwk.NewStatus(fwk.Skip)

// PreScore ranks the nodes that are left for new volumes. There is nothing to
// score for a pod that is not ours or has one node only.
func (p *VolumeHome) PreScore(_ context.Context, state fwk.CycleState, pod *corev1.Pod, infos []fwk.NodeInfo) *fwk.Status {
	c := read(state, pod)
	if c == nil || c.verdict.Action != placement.Allow {
		return skip
	}
	judgements := make([]placement.Judgement, len(infos))
	for i, info := range infos {
		judgements[i] = c.verdict.Judge(p.inventory.Room(info.Node().Name))
	}
	ranked := make(scores, len(infos))
	for i, score := range placement.Scores(judgements) {
		ranked[infos[i].Node().Name] = score
	}
	state.Write(scoresKey, ranked)
	return nil
}

// Score is the node's rank.
func (p *VolumeHome) Score(_ context.Context, state fwk.CycleState, _ *corev1.Pod, info fwk.NodeInfo) (int64, *fwk.Status) {
	data, err := state.Read(scoresKey)
	if err != nil {
		return 0, fwk.AsStatus(fmt.Errorf("read the scores of %s: %w", Name, err))
	}
	ranked, is := data.(scores)
	if !is {
		return 0, fwk.AsStatus(fmt.Errorf("read the scores of %s: they are a %T", Name, data))
	}
	return ranked[info.Node().Name], nil
}

// ScoreExtensions is nil: scores are from 0 to 100 as they are.
func (p *VolumeHome) ScoreExtensions() fwk.ScoreExtensions { return nil }
