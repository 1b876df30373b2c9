// Command lvm-provisioner keeps the logical volumes of one node and shows them
// to Kubernetes.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"k8s.io/klog/v2"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "lvm-provisioner:", err)
		stop()
		if errors.Is(err, errUnseen) {
			os.Exit(2)
		}
		os.Exit(1)
	}
}

func command() *cobra.Command {
	root := &cobra.Command{
		Use:   "lvm-provisioner",
		Short: "Keeps the logical volumes of one node and shows them to Kubernetes",
		Long: `lvm-provisioner makes LVM logical volumes for claims, and brings the volumes that
it finds on its disks back to the claims that they belong to. The disks are the
record: what Kubernetes has forgotten is published again from the tags on the
volumes.`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	var klogFlags flag.FlagSet
	klog.InitFlags(&klogFlags)
	root.PersistentFlags().AddGoFlag(klogFlags.Lookup("v"))
	root.AddCommand((&agentCommand{}).command(), (&inventoryCommand{}).command(), (&doctorCommand{}).command(), (&baseDirectoryCommand{}).command(), (&undeleteCommand{}).command(), (&adoptCommand{}).command(), (&abandonCommand{}).command())
	return root
}
