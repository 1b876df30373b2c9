package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/berth-dev/berth/pkg/provisioner"
)

// adoptCommand decides which of several volumes serves a claim.
type adoptCommand struct {
	changes
	api
	yes bool
}

func (c *adoptCommand) command() *cobra.Command {
	return about(&cobra.Command{
		Use:   "adopt VG/LV|LV-UUID",
		Short: "Name the volume of this machine that serves its claim",
		Long: `Name the volume of this machine that serves its claim, when several say that they
do, or when a superseded one is wanted back. It gets a higher generation than all
others; their agents fence those, and keep them. Without --yes it only says what
it would do. It refuses while another volume of the claim is in use.`,
		Example: "  lvm-provisioner adopt berth/berth-0123 --yes",
	}, c)
}

// Flags declares the flags.
func (c *adoptCommand) Flags(f *pflag.FlagSet) {
	c.changes.Flags(f)
	c.api.Flags(f)
	f.BoolVar(&c.yes, "yes", false, "do it; without this flag nothing is changed")
}

// Run adopts, or says what adopting would do.
func (c *adoptCommand) Run(ctx context.Context, which string, w io.Writer) error {
	client, err := c.Client()
	if err != nil {
		return err
	}
	var plan provisioner.Adoption
	err = c.alone(ctx, func() (err error) {
		system := c.Writer(ctx)
		plan, err = provisioner.PlanAdopt(ctx, system, client, which)
		if err != nil || !c.yes {
			return err
		}
		return plan.Adopt(ctx, system, client)
	})
	if err != nil {
		return err
	}
	v := plan.Volume
	return c.Print(w, map[string]any{
		"done": c.yes, "volumeGroup": v.VG.Name, "name": v.LV.Name, "uuid": v.LV.UUID, "namespace": v.Tags.Namespace, "claim": v.Tags.Claim,
		"generation": plan.Generation, "others": append([]string{}, plan.Others...),
	}, func(w io.Writer) {
		verb := "would serve"
		if c.yes {
			verb = "serves"
		}
		fmt.Fprintf(w, "%s (LV UUID %s) %s claim %s/%s in generation %d.\n", v, v.LV.UUID, verb, v.Tags.Namespace, v.Tags.Claim, plan.Generation)
		if len(plan.Others) > 0 {
			fmt.Fprintf(w, "Their agents fence, and keep: %s.\n", strings.Join(plan.Others, ", "))
		}
		if !c.yes {
			fmt.Fprintln(w, "Nothing was changed: repeat with --yes.")
		}
	})
}
