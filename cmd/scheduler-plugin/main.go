// Command scheduler-plugin is kube-scheduler with the plugin VolumeHome, which
// sends each database member home to the node that holds its volume.
package main

import (
	"os"

	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"          // --logging-format=json
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // client and work queue metrics
	_ "k8s.io/component-base/metrics/prometheus/version"  // build_info
	"k8s.io/kubernetes/cmd/kube-scheduler/app"

	"github.com/berth-dev/berth/pkg/plugin"
)

func main() { os.Exit(cli.Run(newCommand())) }

func newCommand() *cobra.Command {
	cmd := app.NewSchedulerCommand(app.WithPlugin(plugin.Name, plugin.New))
	cmd.Use = "scheduler-plugin"
	cmd.Short = "Schedule database members to the nodes that hold their volumes"
	cmd.Long = `scheduler-plugin is kube-scheduler with one more plugin, VolumeHome. It takes all
of kube-scheduler's flags; the plugin itself is enabled in the file that --config
names:

  apiVersion: kubescheduler.config.k8s.io/v1
  kind: KubeSchedulerConfiguration
  profiles:
  - schedulerName: berth-scheduler
    plugins:
      multiPoint: {enabled: [{name: VolumeHome}]}
      preFilter:  {enabled: [{name: VolumeHome}]}  # first: its reason is the one that is shown
      postFilter: {enabled: [{name: VolumeHome}]}  # first: it looks wider before anybody is evicted

Pods ask for it with spec.schedulerName: berth-scheduler. A pod that has to wait
says why in its events: kubectl describe pod NAME.`
	cmd.AddCommand((&extenderCommand{}).command())
	cmd.Example = "  scheduler-plugin --config /etc/berth/scheduler.yaml --secure-port 10359"
	return cmd
}
