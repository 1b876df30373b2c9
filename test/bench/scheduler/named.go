package main

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/sets"
	fwk "k8s.io/kube-scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/apis/config"
)

// named is a plugin that knows nothing and names one node after the other: what a pod
// costs with it is what stock's own plugins ask of it on a single node, and with that
// the most that any plugin can reach beside them.
type named struct {
	nodes fwk.NodeInfoLister
	next  int
}

const namedPlugin = "Named"

var _ fwk.PreFilterPlugin = &named{}

func newNamed(_ context.Context, _ runtime.Object, h fwk.Handle) (fwk.Plugin, error) {
	return &named{nodes: h.SnapshotSharedLister().NodeInfos()}, nil
}

func (*named) Name() string { return namedPlugin }

func (p *named) PreFilter(context.Context, fwk.CycleState, *corev1.Pod, []fwk.NodeInfo) (*fwk.PreFilterResult, *fwk.Status) {
	nodes, err := p.nodes.List()
	if err != nil {
		return nil, fwk.AsStatus(fmt.Errorf("list nodes: %w", err))
	}
	p.next = (p.next + 1) % len(nodes)
	return &fwk.PreFilterResult{NodeNames: sets.New(nodes[p.next].Node().Name)}, nil
}

func (*named) PreFilterExtensions() fwk.PreFilterExtensions { return nil }

// withNamed adds the plugin to stock's own.
func withNamed(profiles []config.KubeSchedulerProfile) []config.KubeSchedulerProfile {
	profiles = slices.Clone(profiles)
	for i := range profiles {
		profiles[i].Plugins = profiles[i].Plugins.DeepCopy()
		profiles[i].Plugins.PreFilter.Enabled = append(profiles[i].Plugins.PreFilter.Enabled, config.Plugin{Name: namedPlugin})
	}
	return profiles
}
