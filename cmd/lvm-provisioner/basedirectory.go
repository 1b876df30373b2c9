package main

import (
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/pkg/lvm/directory"
)

// baseDirectoryCommand marks a base directory, as vgcreate makes a volume group.
type baseDirectoryCommand struct{ output }

func (c *baseDirectoryCommand) command() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "base-directory DIR",
		Short: "Mark an empty directory of this machine as the base directory for backend dir",
		Long: `Mark an empty directory of this machine as the base directory in which volumes of
StorageClasses with backend dir are made. It is done once, by a person, when all
file systems are mounted: the agent makes none by itself, for an empty directory may
be the place of a disk that is away. The file system has to be ext4, xfs or btrfs.`,
		Example: "  mkdir /srv/berth && lvm-provisioner base-directory /srv/berth",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.Validate(); err != nil {
				return err
			}
			return c.Run(args[0], cmd.OutOrStdout())
		},
	}
	c.Flags(cmd.Flags())
	return cmd
}

// Run marks the directory and says what it became.
func (c *baseDirectoryCommand) Run(dir string, w io.Writer) error {
	if !filepath.IsAbs(dir) {
		return fmt.Errorf("base-directory: %q is not an absolute path", dir)
	}
	base := directory.New(dir, nil)
	if err := base.Make(); err != nil {
		return err
	}
	vg, err := base.Read()
	if err != nil {
		return err
	}
	return c.Print(w, map[string]any{"directory": vg.Dir, "uuid": vg.UUID, "size": vg.Size, "free": vg.Free}, func(w io.Writer) {
		fmt.Fprintf(w, "%s is a base directory (UUID %s, %s free): start the agent with --directory %s.\n", vg.Dir, vg.UUID, size(vg.Free), vg.Dir)
	})
}
