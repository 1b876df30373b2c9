// Command scheduler-plugin is kube-scheduler with the plugin VolumeHome, which
// sends each database member home to the node that holds its volume.
package main

import (
	"context"
	"os"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"          // --logging-format=json
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // client and work queue metrics
	_ "k8s.io/component-base/metrics/prometheus/version"  // build_info
	fwk "k8s.io/kube-scheduler/framework"
	"k8s.io/kubernetes/cmd/kube-scheduler/app"

	"github.com/berth-dev/berth/pkg/plugin"
)

func main() { os.Exit(exitCode(cli.RunNoErrOutput(newCommand()))) }

func newCommand() *cobra.Command {
	var explainAddress string
	cmd := app.NewSchedulerCommand(app.WithPlugin(plugin.Name,
		func(ctx context.Context, configuration runtime.Object, h fwk.Handle) (fwk.Plugin, error) {
			p, err := plugin.New(ctx, configuration, h)
			if err != nil {
				return nil, err
			}
			return p, serveExplanations(ctx, explainAddress, p.(*plugin.VolumeHome))
		}))
	cmd.Flags().StringVar(&explainAddress, "explain-address", "", "where the sub-command explain asks, on loopback; empty for nowhere")
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
says why in its events (kubectl describe pod NAME), and of every node with

  scheduler-plugin explain NAME -n NAMESPACE

for which the scheduler has to run with --explain-address=127.0.0.1:10361.`
	cmd.AddCommand((&extenderCommand{}).command(), (&explainCommand{}).command())
	cmd.Example = "  scheduler-plugin --config /etc/berth/scheduler.yaml --secure-port 10359"
	return cmd
}
