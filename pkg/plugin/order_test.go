package plugin_test

import (
	"strings"
	"testing"

	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/events"
	"k8s.io/kubernetes/pkg/scheduler"
	"k8s.io/kubernetes/pkg/scheduler/apis/config"
	frameworkruntime "k8s.io/kubernetes/pkg/scheduler/framework/runtime"
	"k8s.io/kubernetes/pkg/scheduler/profile"

	"github.com/berth-dev/berth/pkg/plugin"
)

// TestPreemptionMayNotComeFirst starts the real scheduler with the configuration
// that is shipped, and with one that somebody has written without its postFilter.
func TestPreemptionMayNotComeFirst(t *testing.T) {
	start := func(c *config.KubeSchedulerConfiguration) error {
		client := fake.NewClientset()
		broadcaster := events.NewBroadcaster(&events.EventSinkImpl{Interface: client.EventsV1()})
		t.Cleanup(broadcaster.Shutdown)
		_, err := scheduler.New(t.Context(), client, scheduler.NewInformerFactory(client, 0, nil), nil, profile.NewRecorderFactory(broadcaster),
			scheduler.WithProfiles(c.Profiles...),
			scheduler.WithFrameworkOutOfTreeRegistry(frameworkruntime.Registry{plugin.Name: plugin.New}))
		return err
	}
	if err := start(manifest(t)); err != nil {
		t.Errorf("the configuration that is shipped: %v", err)
	}
	c := manifest(t)
	c.Profiles[0].Plugins.PostFilter = config.PluginSet{}
	if err := start(c); err == nil || !strings.Contains(err.Error(), "plugins.postFilter.enabled") {
		t.Errorf("the scheduler starts with preemption before VolumeHome, or does not say what to change: %v", err)
	}
}
