package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/berth-dev/berth/pkg/placement"
	"github.com/berth-dev/berth/pkg/plugin"
)

// explanationPort is where the scheduler explains, on loopback.
const explanationPort = 10361

// errWaits ends explain for a pod that has to wait, with an exit code of its own.
var errWaits = errors.New("the pod waits")

// explainCommand asks a running scheduler about a pod.
type explainCommand struct {
	namespace, kubeconfig, server, output string
	port                                  int
	timeout                               time.Duration
}

func (c *explainCommand) command() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "explain POD",
		Short: "Ask the running scheduler where a pod may go, and why not elsewhere",
		Long: `Ask the scheduler that leads now where a pod may go, and print what holds for each
node. The scheduler decides on the pod once more, with all that it knows and has
promised; nothing is changed.

The scheduler answers on the loopback of its machine only (its flag
--explain-address). explain finds the leader by its Lease and reaches it through
the API server, as kubectl port-forward does: you need the right to create
pods/portforward in namespace berth-system. --server asks one that you can reach
directly.

Other plugins of the scheduler have reasons of their own, such as processor time
or taints. What the pod was last told by all of them is printed at the end.

Exit code: 0 the pod has a node or may go to one, 3 it has to wait, 1 no answer,
2 wrong use.`,
		Example: `  scheduler-plugin explain db-0 -n shop
  scheduler-plugin explain db-0 -n shop --output json
  scheduler-plugin explain db-0 -n shop --server http://127.0.0.1:10361`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{fmt.Errorf("explain takes the name of one pod; see `%s --help`", cmd.CommandPath())}
			}
			return nil
		},
		SilenceUsage:  true,
		SilenceErrors: true,
		// The parent's sets up kube-scheduler's feature gates.
		PersistentPreRunE: func(*cobra.Command, []string) error { return nil },
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.Validate(); err != nil {
				return usageError{err}
			}
			return c.Run(cmd.Context(), args[0], os.Stdout)
		},
	}
	c.Flags(cmd.Flags())
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	// kube-scheduler's help would list kube-scheduler's flags.
	plain := &cobra.Command{}
	cmd.SetHelpFunc(plain.HelpFunc())
	cmd.SetUsageFunc(plain.UsageFunc())
	return cmd
}

// Flags declares the flags.
func (c *explainCommand) Flags(f *pflag.FlagSet) {
	f.StringVarP(&c.namespace, "namespace", "n", "default", "the pod's namespace")
	f.StringVar(&c.kubeconfig, "kubeconfig", "", "how to reach the API server; empty means KUBECONFIG, ~/.kube/config, or the pod's service account")
	f.StringVar(&c.server, "server", "", "URL of a scheduler to ask directly, instead of the leader")
	f.IntVar(&c.port, "port", explanationPort, "port of the leader's --explain-address")
	f.DurationVar(&c.timeout, "timeout", 30*time.Second, "how long to wait for the answer")
	f.StringVarP(&c.output, "output", "o", "table", "table, or json for programs")
}

// Validate checks the flags.
func (c *explainCommand) Validate() error {
	var problems []error
	if c.output != "table" && c.output != "json" {
		problems = append(problems, fmt.Errorf("--output %q: expected table or json", c.output))
	}
	if u, err := url.Parse(c.server); c.server != "" && (err != nil || u.Scheme != "http" || u.Host == "") {
		problems = append(problems, fmt.Errorf("--server %q: expected http://HOST:PORT", c.server))
	}
	return errors.Join(problems...)
}

// Run asks and prints the answer.
func (c *explainCommand) Run(ctx context.Context, pod string, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	server := c.server
	if server == "" {
		tunnel, err := openTunnel(ctx, c.kubeconfig, c.port)
		if err != nil {
			return err
		}
		defer tunnel.close()
		server = tunnel.url
	}
	e, err := ask(ctx, server, c.namespace, pod)
	if err != nil {
		return err
	}
	if c.output == "json" {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(e); err != nil {
			return err
		}
	} else {
		printExplanation(out, e)
	}
	if e.BoundTo == "" && e.Ours && waits(e) {
		return errWaits
	}
	return nil
}

// ask fetches the explanation from a scheduler.
func ask(ctx context.Context, server, namespace, pod string) (plugin.Explanation, error) {
	query := url.Values{"namespace": {namespace}, "pod": {pod}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, server+plugin.ExplainPath+"?"+query.Encode(), nil)
	if err != nil {
		return plugin.Explanation{}, fmt.Errorf("ask %s: %w", server, err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return plugin.Explanation{}, fmt.Errorf("ask the scheduler (does it run with --explain-address?): %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		said, _ := io.ReadAll(io.LimitReader(response.Body, 4<<10))
		return plugin.Explanation{}, fmt.Errorf("ask the scheduler about %s/%s: %s", namespace, pod, strings.TrimSpace(string(said)))
	}
	var e plugin.Explanation
	if err := json.NewDecoder(response.Body).Decode(&e); err != nil {
		return plugin.Explanation{}, fmt.Errorf("read the scheduler's answer: %w", err)
	}
	return e, nil
}

// waits says that no node will do now, as far as this plugin is concerned.
func waits(e plugin.Explanation) bool {
	for _, n := range e.Nodes {
		if n.Fits {
			return false
		}
	}
	return true
}

func printExplanation(out io.Writer, e plugin.Explanation) {
	if !e.Ours {
		fmt.Fprintf(out, "Pod %s/%s has no volume of Berth: VolumeHome lets it pass.\n", e.Namespace, e.Pod)
	}
	for _, c := range e.Claims {
		where := "no data anywhere: it gets a new volume"
		if c.Volume != "" {
			where = fmt.Sprintf("data in volume %s, on node %s", c.Volume, orNone(strings.Join(c.Nodes, ", ")))
		} else if len(c.Nodes) > 0 {
			where = "its volume is being made on node " + strings.Join(c.Nodes, ", ")
		}
		fmt.Fprintf(out, "Claim %s: %s\n", c.Claim, where)
	}
	if len(e.Nodes) > 0 {
		nodes := table.NewWriter()
		nodes.SetStyle(table.StyleLight)
		nodes.SetColumnConfigs([]table.ColumnConfig{{Name: "Reason", WidthMax: 70}})
		nodes.AppendHeader(table.Row{"Node", "Fits", "Score", "Free MiB", "Promised MiB", "Members", "Code", "Reason"})
		for _, n := range e.Nodes {
			nodes.AppendRow(table.Row{n.Node, yesNo(n.Fits), n.Score, n.Free >> 20, n.Promised >> 20, n.Members, n.Code, n.Text})
		}
		fmt.Fprintln(out, nodes.Render())
	}
	switch {
	case e.BoundTo != "":
		fmt.Fprintf(out, "Verdict: it runs on node %s already\n", e.BoundTo)
	case e.Action == placement.Pin:
		fmt.Fprintf(out, "Verdict: only node %s will do, which holds its data\n", e.Node)
	case e.Action == placement.Refuse:
		fmt.Fprintf(out, "Verdict: it waits: %s\n", e.Reason)
	case e.Action == placement.Allow && waits(e):
		fmt.Fprintln(out, "Verdict: it waits: no node fits")
	case e.Action == placement.Allow:
		fmt.Fprintln(out, "Verdict: it may go to any node that fits")
	}
	if e.LastTold != "" {
		fmt.Fprintf(out, "Last told: %s\n", e.LastTold)
	}
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func orNone(s string) string {
	if s == "" {
		return "(none now)"
	}
	return s
}

// serveExplanations answers on the address until the context ends. An empty
// address means that nobody asks.
func serveExplanations(ctx context.Context, address string, handler http.Handler) error {
	if address == "" {
		return nil
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("listen for explain (choose another --explain-address, or an empty one): %w", err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: time.Minute}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	go func() { _ = server.Serve(listener) }() // ends with Close
	return nil
}
