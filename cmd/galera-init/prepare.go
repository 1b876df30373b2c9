package main

import (
	"context"

	"github.com/spf13/cobra"
)

// Prepare finds out what the volume holds and waits for the verdict.
type Prepare struct {
	memberFlags
}

func newPrepareCommand() *cobra.Command {
	var p Prepare
	cmd := &cobra.Command{
		Use:   "prepare [flags] -- SERVER [ARGUMENT…]",
		Short: "Look at the volume, recover the position, report, wait for the verdict",
		Long: `prepare runs as an init container with the database's own image. It locks the volume,
reports the evidence it finds, has the server recover its position when it was not stopped
in order, checks the data, reports again, and waits until this member is told to join or to
bootstrap. SERVER is the server's command as exec will run it: its configuration counts for
the recovery as well.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := p.Validate(args); err != nil {
				return usageError{err}
			}
			return p.Run(cmd.Context())
		},
	}
	p.Flags(cmd.Flags())
	return cmd
}

// Run prepares the member.
func (p *Prepare) Run(ctx context.Context) error {
	m, err := p.Member()
	if err != nil {
		return err
	}
	return m.Prepare(ctx)
}
