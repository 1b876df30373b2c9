package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/client-go/kubernetes"

	"github.com/berth-dev/berth/pkg/provisioner"
)

// undeleteCommand takes a volume out of this machine's trash.
type undeleteCommand struct {
	changes
	api
	withoutAPI bool
}

func (c *undeleteCommand) command() *cobra.Command {
	return about(&cobra.Command{
		Use:   "undelete NAMESPACE/CLAIM|LV-UUID",
		Short: "Take a deleted volume out of this machine's trash",
		Long: `Take a deleted volume out of this machine's trash, with its data, for the claim
that it belonged to. The agent publishes it within an interval. It works until the
deadline that lvm-provisioner inventory shows, and never once wiping has begun
(state wiping). It waits for the agent's pass to end. Where a PersistentVolume of
policy Delete still stands for the volume, it is set to Retain first; with
--without-api no API server is needed, and nobody looks for one.`,
		Example: "  lvm-provisioner undelete db/data-galera-0",
	}, c)
}

// Flags declares the flags.
func (c *undeleteCommand) Flags(f *pflag.FlagSet) {
	c.changes.Flags(f)
	c.api.Flags(f)
	f.BoolVar(&c.withoutAPI, "without-api", false, "leave the API server alone, as when there is none; a PersistentVolume of policy Delete that still stands for the volume has it put into the trash once more")
}

// Run undeletes and says what came back.
func (c *undeleteCommand) Run(ctx context.Context, which string, w io.Writer) error {
	var client kubernetes.Interface
	if !c.withoutAPI {
		var err error
		if client, err = c.Client(); err != nil {
			return fmt.Errorf("%w; where there is none, use --without-api", err)
		}
	}
	var v provisioner.Volume
	err := c.alone(ctx, func() (err error) {
		v, err = provisioner.Undelete(ctx, c.Writer(ctx), client, which)
		return err
	})
	if err != nil {
		return err
	}
	return c.Print(w, map[string]any{
		"volumeGroup": v.VG.Name, "name": v.LV.Name, "uuid": v.LV.UUID, "size": v.LV.Size,
		"namespace": v.Tags.Namespace, "claim": v.Tags.Claim, "state": v.State(),
	}, func(w io.Writer) {
		fmt.Fprintf(w, "%s/%s has its volume %s back (%s, LV UUID %s).\n", v.Tags.Namespace, v.Tags.Claim, v, size(v.LV.Size), v.LV.UUID)
	})
}
