package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"k8s.io/klog/v2"
)

// Install copies this program into a directory that the next containers share.
type Install struct {
	Dir string
}

func newInstallCommand() *cobra.Command {
	var i Install
	return &cobra.Command{
		Use:   "install DIR",
		Short: "Copy this program into DIR, so that containers with another image can run it",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{fmt.Errorf("install takes one directory, not %d; see `%s --help`", len(args), cmd.CommandPath())}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			i.Dir = args[0]
			if err := i.Validate(); err != nil {
				return usageError{err}
			}
			return i.Run(cmd.Context())
		},
	}
}

// Validate checks the directory.
func (i *Install) Validate() error {
	info, err := os.Stat(i.Dir)
	if err != nil {
		return fmt.Errorf("install: %w", err)
	}
	if !info.IsDir() {
		return fmt.Errorf("install: %s is not a directory", i.Dir)
	}
	return nil
}

// Run copies and puts the copy into its place in one step.
func (i *Install) Run(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("install: %w", err)
	}
	source, err := os.Open(self)
	if err != nil {
		return fmt.Errorf("install: %w", err)
	}
	defer source.Close()
	target := filepath.Join(i.Dir, "galera-init")
	partial := target + ".partial"
	copied, err := os.OpenFile(partial, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o755)
	if err != nil {
		return fmt.Errorf("install: %w", err)
	}
	_, err = io.Copy(copied, source)
	if err = errors.Join(err, copied.Close()); err != nil {
		return fmt.Errorf("install: %w", err)
	}
	if err := os.Rename(partial, target); err != nil {
		return fmt.Errorf("install: %w", err)
	}
	klog.FromContext(ctx).Info("Installed", "file", target)
	return nil
}
