package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/berth-dev/berth/pkg/galeracluster"
	"github.com/berth-dev/berth/pkg/rebuild"
)

// Status shows what the members reported and what was decided.
type Status struct {
	Namespace, Kubeconfig, Output string

	cluster string
}

func newStatusCommand() *cobra.Command {
	var s Status
	cmd := &cobra.Command{
		Use:   "status CLUSTER",
		Short: "Show what the members reported, and what was decided and why",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{fmt.Errorf("status takes the name of one cluster, which is that of its StatefulSet; see `%s --help`", cmd.CommandPath())}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			s.cluster = args[0]
			if err := s.Validate(); err != nil {
				return usageError{err}
			}
			return s.Run(cmd.Context(), os.Stdout)
		},
	}
	s.Flags(cmd.Flags())
	return cmd
}

// Flags declares the flags.
func (s *Status) Flags(fs *pflag.FlagSet) {
	fs.StringVarP(&s.Namespace, "namespace", "n", "default", "the cluster's namespace")
	fs.StringVar(&s.Kubeconfig, "kubeconfig", "", "how to reach the API server; empty means KUBECONFIG or the pod's service account")
	fs.StringVarP(&s.Output, "output", "o", "table", "table, or json for programs")
}

// Validate checks the flags.
func (s *Status) Validate() error {
	if s.Output != "table" && s.Output != "json" {
		return fmt.Errorf("--output %q: expected table or json", s.Output)
	}
	return nil
}

// Run reads the object and prints it.
func (s *Status) Run(ctx context.Context, out io.Writer) error {
	client, err := newClient(s.Kubeconfig)
	if err != nil {
		return err
	}
	state, err := galeracluster.NewStore(client, s.Namespace, s.cluster).Get(ctx)
	if err != nil {
		return fmt.Errorf("read GaleraCluster %s/%s: %w", s.Namespace, s.cluster, err)
	}
	verdict := rebuild.Review(state)
	if s.Output == "json" {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(struct {
			Namespace string          `json:"namespace"`
			Cluster   string          `json:"cluster"`
			Verdict   rebuild.Verdict `json:"verdict"`
			Status    rebuild.Cluster `json:"status"`
		}{s.Namespace, s.cluster, verdict, state})
	}
	printStatus(out, state, verdict)
	return nil
}

func printStatus(out io.Writer, c rebuild.Cluster, v rebuild.Verdict) {
	members := table.NewWriter()
	members.SetStyle(table.StyleLight)
	members.AppendHeader(table.Row{"Member", "Node", "Volume", "State", "Class", "Position", "Source"})
	for _, ordinal := range c.Expected() {
		if _, found := c.Member(ordinal); !found {
			members.AppendRow(table.Row{fmt.Sprintf("member %d", ordinal), "", "", "not reported"})
		}
	}
	for _, r := range c.Members {
		members.AppendRow(table.Row{r.Pod, r.Node, r.Volume, r.State, r.Class, r.Position, r.Source})
	}
	fmt.Fprintln(out, members.Render())
	for _, r := range c.Members {
		for _, f := range r.Findings {
			fmt.Fprintf(out, "%s: %s\n", r.Pod, f)
		}
	}
	if g, found := c.LastGrant(); found {
		done := "not used yet"
		if g.Consumed {
			done = "used"
		}
		fmt.Fprintf(out, "Grant: attempt %d to %s at %s, decided by %s, %s\n", g.Attempt, g.Pod, g.Position, g.Rule, done)
	}
	fmt.Fprintf(out, "Verdict: %s (%s)\n", v.Reason.Text, v.Reason.Code)
}
