package main

import (
	"flag"
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/klog/v2"
)

// usageError is a mistake in the command line.
type usageError struct{ error }

func (u usageError) Unwrap() error { return u.error }

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "galera-init",
		Short: "Bring a Galera member from its volume to its place in the cluster",
		Long: `galera-init makes the restart of a Galera cluster safe. In a pod it runs three times:

  install   (init container, this image)        copies this program for the next two
  prepare   (init container, database's image)  finds out what the volume holds, reports it into the
                                                GaleraCluster object, waits for the verdict
  exec      (the container's entrypoint)        acts on the verdict and becomes the server

sidecar stands beside the server: it answers probes, keeps the volume on disk, and notes how far the
server has come. For people:

  status    what the members reported, what is decided, why, and what would unblock it
  decide    the same from a saved object
  inspect   what a data directory is worth, without Kubernetes
  validate  a data directory, page by page`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cmd.Help()
		},
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w; see `%s --help`", err, cmd.CommandPath())}
	})
	verbosity := flag.NewFlagSet("klog", flag.ContinueOnError)
	klog.InitFlags(verbosity)
	level := verbosity.Lookup("v")
	level.Usage = "how much to log: 0 is what a person follows, 2 adds decisions"
	root.PersistentFlags().AddGoFlag(level)
	root.AddCommand(newInstallCommand(), newPrepareCommand(), newExecCommand(), newSidecarCommand(), newStatusCommand(), newDecideCommand(), newInspectCommand(), newValidateCommand())
	return root
}

// noArguments refuses arguments; on the root, they are unknown sub-commands.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("unknown command or argument %q; see `%s --help`", args[0], cmd.CommandPath())}
	}
	return nil
}
