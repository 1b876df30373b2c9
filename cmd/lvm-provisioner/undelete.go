package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/pkg/provisioner"
)

// undeleteCommand takes a volume out of this machine's trash.
type undeleteCommand struct{ changes }

func (c *undeleteCommand) command() *cobra.Command {
	return about(&cobra.Command{
		Use:   "undelete NAMESPACE/CLAIM|LV-UUID",
		Short: "Take a deleted volume out of this machine's trash",
		Long: `Take a deleted volume out of this machine's trash, with its data, for the claim
that it belonged to. The agent publishes it within an interval. It works until the
deadline that lvm-provisioner inventory shows, and never once wiping has begun
(state wiping). It waits for the agent's pass to end, and needs no API server.`,
		Example: "  lvm-provisioner undelete db/data-galera-0",
	}, c)
}

// Run undeletes and says what came back.
func (c *undeleteCommand) Run(ctx context.Context, which string, w io.Writer) error {
	var v provisioner.Volume
	err := c.alone(ctx, func() (err error) {
		v, err = provisioner.Undelete(ctx, c.Writer(ctx), which)
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
