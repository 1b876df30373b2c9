package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/berth-dev/berth/pkg/galeracluster"
)

// Status shows what the members reported and what was decided.
type Status struct {
	Namespace, Kubeconfig, Output string

	cluster string
}

// verdictHelp is what status and decide have in common.
const verdictHelp = `
The table has a line a member: the state of its pod, the class of its data, the position that it
reported, the last one that was seen committed while its server ran, when it was last heard of, and
what the check of its pages said. Below stand the verdict, the rule that decided, and what would
unblock it, with the command where there is one. All classes, states and codes: docs/states.md.

Exit codes: 0 the cluster runs or goes on by itself, 1 an error, 3 the members wait, 4 they refuse,
64 wrong usage.`

func newStatusCommand() *cobra.Command {
	var s Status
	cmd := &cobra.Command{
		Use:   "status CLUSTER",
		Short: "Show what the members reported, and what was decided and why",
		Long: `status reads the GaleraCluster object of a StatefulSet and says what its members reported, what
is decided, and why. It changes nothing, and it cannot try the members' ports: with some servers up
and one member waiting it may say ServerUnreached although that member is joining.
` + verdictHelp,
		Example: `  galera-init status galera -n galera
  kubectl exec -n galera galera-0 -c mariadb -- /berth/galera-init status galera -n galera
  galera-init status galera -n galera -o json | jq .verdict`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{fmt.Errorf("status takes the name of one cluster, which is that of its StatefulSet; see `%s --help`", cmd.CommandPath())}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			s.cluster = args[0]
			if err := checkOutput(s.Output); err != nil {
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
	outputFlag(fs, &s.Output)
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
	return show(out, state, s.Output)
}

// Decide replays the decision from a saved object.
type Decide struct {
	File, Output string
}

func newDecideCommand() *cobra.Command {
	var d Decide
	cmd := &cobra.Command{
		Use:   "decide -f FILE",
		Short: "Say what a saved GaleraCluster object decides, as status does",
		Long: `decide reads a GaleraCluster object from a file, in YAML or JSON, and says what its reports decide.
It needs no API server, so that a case can be looked at, changed and replayed anywhere: the decision
is a function of the object alone.
` + verdictHelp,
		Example: `  kubectl get galeracluster galera -n galera -o yaml > case.yaml
  galera-init decide -f case.yaml
  kubectl get galeracluster galera -n galera -o json | galera-init decide -f -`,
		Args: noArguments,
		RunE: func(*cobra.Command, []string) error {
			if d.File == "" {
				return usageError{errors.New("--file is missing: the saved object, or - for standard input")}
			}
			if err := checkOutput(d.Output); err != nil {
				return usageError{err}
			}
			return d.Run(os.Stdin, os.Stdout)
		},
	}
	cmd.Flags().StringVarP(&d.File, "file", "f", "", "the saved object; - is standard input")
	outputFlag(cmd.Flags(), &d.Output)
	return cmd
}

// Run reads the file and prints what it decides.
func (d *Decide) Run(in io.Reader, out io.Writer) error {
	var content []byte
	var err error
	if d.File == "-" {
		content, err = io.ReadAll(in)
	} else {
		content, err = os.ReadFile(d.File)
	}
	if err != nil {
		return fmt.Errorf("read the saved object: %w", err)
	}
	state, err := galeracluster.Decode(content)
	if err != nil {
		return err
	}
	return show(out, state, d.Output)
}

func outputFlag(fs *pflag.FlagSet, output *string) {
	fs.StringVarP(output, "output", "o", "table", "table, or json for programs")
}

func checkOutput(output string) error {
	if output != "table" && output != "json" {
		return fmt.Errorf("--output %q: expected table or json", output)
	}
	return nil
}
