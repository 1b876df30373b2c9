package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/berth-dev/berth/pkg/lvm"
	"github.com/berth-dev/berth/pkg/provisioner"
)

// undeleteCommand takes a volume out of this machine's trash.
type undeleteCommand struct {
	output       string
	metadataOnly bool
}

func (c *undeleteCommand) command() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "undelete NAMESPACE/CLAIM|LV-UUID",
		Short: "Take a deleted volume out of this machine's trash",
		Long: `Take a deleted volume out of this machine's trash, with its data, for the claim
that it belonged to. The agent publishes it within an interval. It works until the
deadline that lvm-provisioner inventory shows, and needs no API server.`,
		Example: "  lvm-provisioner undelete db/data-galera-0",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if c.output != "table" && c.output != "json" {
				return fmt.Errorf("--output is %q: use table or json", c.output)
			}
			return c.Run(cmd.Context(), args[0], cmd.OutOrStdout())
		},
	}
	c.Flags(cmd.Flags())
	return cmd
}

// Flags declares the flags.
func (c *undeleteCommand) Flags(f *pflag.FlagSet) {
	f.StringVarP(&c.output, "output", "o", "table", "table for people, json for programs")
	f.BoolVar(&c.metadataOnly, "metadata-only", false, "change the metadata without device-mapper")
}

// Run undeletes and says what came back.
func (c *undeleteCommand) Run(ctx context.Context, which string, w io.Writer) error {
	var options []lvm.Option
	if c.metadataOnly {
		options = append(options, lvm.MetadataOnly())
	}
	v, err := provisioner.Undelete(ctx, lvm.New(lvm.Exec{}, options...), which)
	if err != nil {
		return err
	}
	if c.output == "json" {
		return json.NewEncoder(w).Encode(map[string]any{
			"volumeGroup": v.VG.Name, "name": v.LV.Name, "uuid": v.LV.UUID, "size": v.LV.Size,
			"namespace": v.Tags.Namespace, "claim": v.Tags.Claim, "state": v.State(),
		})
	}
	_, err = fmt.Fprintf(w, "%s/%s has its volume %s back (%s, LV UUID %s).\n", v.Tags.Namespace, v.Tags.Claim, v, size(v.LV.Size), v.LV.UUID)
	return err
}
