package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/test/testbed"
)

// options are shared by all commands that work on a bed.
type options struct {
	dir, out string
}

func (o *options) bed() (*testbed.Bed, error) {
	bed, err := testbed.New(o.dir, testbed.DefaultPaths(o.out))
	if err != nil {
		return nil, err
	}
	bed.Logf = progress()
	return bed, nil
}

func progress() func(string, ...any) {
	start := time.Now()
	return func(format string, args ...any) {
		fmt.Fprintf(os.Stderr, "%6.1fs  %s\n", time.Since(start).Seconds(), fmt.Sprintf(format, args...))
	}
}

func root() *cobra.Command {
	o := &options{}
	cmd := &cobra.Command{
		Use:   "testbed",
		Short: "A Kubernetes cluster of machines that can lose power, on this machine",
		Long: `testbed runs a Kubernetes cluster on this machine: a real control plane in a
network namespace, and nodes that each have their own kernel (User-Mode Linux),
kubelet, containerd, disks and volume group. It needs root, and what make deps
and make bed-build leave behind. Everything lives below --dir.`,
		Example: `  testbed up
  testbed kubectl get nodes
  testbed power-off node2 && testbed power-on node2
  testbed exec node1 -- lvs
  testbed down`,
		TraverseChildren: true, // flags of testbed also before the word kubectl
		SilenceUsage:     true,
		SilenceErrors:    true,
	}
	cmd.PersistentFlags().StringVar(&o.dir, "dir", "_out/bed", "directory of the bed; down removes it")
	cmd.PersistentFlags().StringVar(&o.out, "build", "_out", "directory of the build: bin, cache and images below it")
	cmd.AddCommand(build(o), up(o), down(o), state(o), execute(o), kubectl(o), load(o), guestAgent())
	cmd.AddCommand(switches(o)...)
	return cmd
}

func build(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "build",
		Short: "Make the nodes' root file system and the container images from Debian packages and the build",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return testbed.Build(cmd.Context(), testbed.DefaultPaths(o.out), progress())
		},
	}
}

func up(o *options) *cobra.Command {
	var config testbed.Config
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Start a bed and wait until its nodes are Ready",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			bed, err := o.bed()
			if err != nil {
				return err
			}
			return bed.Up(cmd.Context(), config)
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&config.Nodes, "nodes", 3, "number of nodes")
	flags.IntVar(&config.MemoryMB, "memory", 2048, "memory of each node in MB")
	flags.IntVar(&config.Disks, "disks", 2, "physical volumes of each node")
	flags.IntVar(&config.DiskGB, "disk-size", 2, "size of each physical volume in GB (sparse)")
	flags.StringVar(&config.VG, "vg", "berth", "name of the volume group on each node")
	flags.StringSliceVar(&config.NoVG, "no-vg", nil, "nodes that get no volume group")
	return cmd
}

func down(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "down",
		Short: "End a bed and remove everything it made",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			bed, err := o.bed()
			if err != nil {
				return err
			}
			return bed.Down(cmd.Context())
		},
	}
}

func state(o *options) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the programs of the control plane and the nodes",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			bed, err := o.bed()
			if err != nil {
				return err
			}
			parts, err := bed.Status(cmd.Context())
			if err != nil {
				return err
			}
			switch output {
			case "json":
				encoder := json.NewEncoder(os.Stdout)
				encoder.SetIndent("", "  ")
				return encoder.Encode(parts)
			case "table":
				printParts(os.Stdout, parts)
				return nil
			}
			return fmt.Errorf("--output is %q: give table or json", output)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	return cmd
}

func printParts(w io.Writer, parts []testbed.Part) {
	t := table.NewWriter()
	t.SetOutputMirror(w)
	t.AppendHeader(table.Row{"part", "pid", "power", "address", "kubernetes"})
	for _, p := range parts {
		power := "off"
		if p.PID != 0 {
			power = "on"
		}
		t.AppendRow(table.Row{p.Name, p.PID, power, p.Address, p.Ready})
	}
	t.Render()
}

// switches are the commands that change a running bed and print nothing.
func switches(o *options) []*cobra.Command {
	atLeastOne, none := cobra.MinimumNArgs(1), cobra.NoArgs
	list := []struct {
		use, short string
		args       cobra.PositionalArgs
		run        func(context.Context, *testbed.Bed, []string) error
	}{
		{"power-off NODE...", "Cut the power of nodes: what they had not written to disk is gone", atLeastOne,
			func(_ context.Context, b *testbed.Bed, names []string) error { return b.PowerOff(names...) }},
		{"power-on NODE...", "Boot nodes and wait until they are Ready", atLeastOne,
			func(ctx context.Context, b *testbed.Bed, names []string) error {
				if err := b.PowerOn(ctx, names...); err != nil {
					return err
				}
				return b.WaitReady(ctx, names...)
			}},
		{"partition NODE...", "Cut nodes off from the control plane and from the nodes not named", atLeastOne,
			func(ctx context.Context, b *testbed.Bed, names []string) error { return b.Partition(ctx, names...) }},
		{"heal", "End every partition", none,
			func(ctx context.Context, b *testbed.Bed, _ []string) error { return b.Heal(ctx) }},
		{"wipe-api", "Empty etcd: the API server forgets everything", none,
			func(ctx context.Context, b *testbed.Bed, _ []string) error { return b.WipeAPI(ctx) }},
	}
	var commands []*cobra.Command
	for _, s := range list {
		commands = append(commands, &cobra.Command{
			Use: s.use, Short: s.short, Args: s.args,
			RunE: func(cmd *cobra.Command, args []string) error {
				bed, err := o.bed()
				if err != nil {
					return err
				}
				return s.run(cmd.Context(), bed, args)
			},
		})
	}
	return commands
}

func load(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "load",
		Short: "Load the container images of the build into all nodes again",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			bed, err := o.bed()
			if err != nil {
				return err
			}
			config, err := bed.Config()
			if err != nil {
				return err
			}
			return bed.LoadImages(cmd.Context(), config.NodeNames()...)
		},
	}
}

func execute(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "exec NODE -- COMMAND [ARG...]",
		Short: "Run a command in a node, also while it is partitioned; exits as the command does",
		Args:  cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			bed, err := o.bed()
			if err != nil {
				return err
			}
			return bed.ExecStream(cmd.Context(), args[0], args[1:], nil, os.Stdout, os.Stderr)
		},
	}
}

func kubectl(o *options) *cobra.Command {
	return &cobra.Command{
		Use:                "kubectl [ARG...]",
		Short:              "Run kubectl as administrator of the bed (flags of testbed go before the word kubectl)",
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			bed, err := o.bed()
			if err != nil {
				return err
			}
			run, err := bed.Kubectl(cmd.Context(), args...)
			if err != nil {
				return err
			}
			run.Stdin, run.Stdout, run.Stderr = os.Stdin, os.Stdout, os.Stderr
			return run.Run()
		},
	}
}

func guestAgent() *cobra.Command {
	var listen string
	cmd := &cobra.Command{
		Use:    "guest-agent",
		Short:  "Answer exec requests inside a node (started by the node's init)",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE:   func(cmd *cobra.Command, _ []string) error { return testbed.ServeGuest(cmd.Context(), listen) },
	}
	cmd.Flags().StringVar(&listen, "listen", "", "address to listen on")
	return cmd
}
