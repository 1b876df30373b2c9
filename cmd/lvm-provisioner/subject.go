package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// subject is a command that works on the one claim or volume that it is given.
type subject interface {
	Flags(f *pflag.FlagSet)
	Validate() error
	Run(ctx context.Context, which string, w io.Writer) error
}

// about completes such a command; nothing is done before its flags are checked.
func about(cmd *cobra.Command, s subject) *cobra.Command {
	cmd.Args = cobra.ExactArgs(1)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := s.Validate(); err != nil {
			return err
		}
		return s.Run(cmd.Context(), args[0], cmd.OutOrStdout())
	}
	s.Flags(cmd.Flags())
	return cmd
}
