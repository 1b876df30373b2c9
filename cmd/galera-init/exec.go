package main

import (
	"context"

	"github.com/spf13/cobra"
)

// Exec acts on the verdict and becomes the server.
type Exec struct {
	memberFlags
}

func newExecCommand() *cobra.Command {
	var e Exec
	cmd := &cobra.Command{
		Use:   "exec [flags] -- SERVER [ARGUMENT…]",
		Short: "Act on the verdict and become the server",
		Long: `exec is the entrypoint of the database's container. It uses what prepare handed over, once;
when the container was started again, and no init container ran, it prepares itself. Then it
writes what the server needs to start at its own position, and replaces itself by SERVER with
--wsrep-new-cluster or the members' addresses appended.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := e.Validate(args); err != nil {
				return usageError{err}
			}
			return e.Run(cmd.Context())
		},
	}
	e.Flags(cmd.Flags())
	return cmd
}

// Run starts the member; it returns only with an error.
func (e *Exec) Run(ctx context.Context) error {
	m, err := e.Member()
	if err != nil {
		return err
	}
	return m.Launch(ctx)
}
