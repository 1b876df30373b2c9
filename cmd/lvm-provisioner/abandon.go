package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/client-go/dynamic"

	"github.com/berth-dev/berth/pkg/galeracluster"
	"github.com/berth-dev/berth/pkg/provisioner"
	"github.com/berth-dev/berth/pkg/volume"
)

// abandonCommand gives a claim's data up for good.
type abandonCommand struct {
	output
	api
	reason string
}

func (c *abandonCommand) command() *cobra.Command {
	return about(&cobra.Command{
		Use:   "abandon NAMESPACE/CLAIM",
		Short: "Give the data of a member up that is lost for good, so that it begins anew",
		Long: `Give the data of a member up, because its node or disk is lost for good: the claim
may then get a blank volume, in a higher generation, on another node. When the old
volume comes back, its agent fences it and keeps it. It refuses unless more than
half of the cluster is synced without this member, by GaleraCluster and the pods.
Without --reason it only says what it would do. Run it with the rights of an
administrator, from anywhere.`,
		Example: `  lvm-provisioner abandon galera/data-galera-1 --kubeconfig FILE --reason "disk of node n2 is dead"`,
	}, c)
}

// Flags declares the flags.
func (c *abandonCommand) Flags(f *pflag.FlagSet) {
	c.output.Flags(f)
	c.api.Flags(f)
	f.StringVar(&c.reason, "reason", "", "why, for whoever looks later; without it nothing is changed")
}

// Run abandons, or says what abandoning would do.
func (c *abandonCommand) Run(ctx context.Context, which string, w io.Writer) error {
	namespace, claim, ok := strings.Cut(which, "/")
	if !ok || namespace == "" || claim == "" {
		return fmt.Errorf("%q is no claim: give NAMESPACE/CLAIM", which)
	}
	client, err := c.Client()
	if err != nil {
		return err
	}
	config, err := c.Config()
	if err != nil {
		return err
	}
	objects, err := dynamic.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("connect to the API server: %w", err)
	}
	plan, err := provisioner.PlanAbandon(ctx, client, galera{objects}, namespace, claim)
	if err != nil {
		return err
	}
	if c.reason != "" {
		if err := plan.Do(ctx, client, c.reason); err != nil {
			return err
		}
	}
	volumes := []string{}
	for _, pv := range plan.Volumes {
		volumes = append(volumes, pv.Name)
	}
	return c.Print(w, map[string]any{
		"done": c.reason != "", "namespace": namespace, "claim": claim, "statefulSet": plan.Member.StatefulSet, "ordinal": plan.Member.Ordinal,
		"generation": plan.Generation, "persistentVolumes": volumes,
	}, func(w io.Writer) { c.tell(w, plan, volumes) })
}

func (c *abandonCommand) tell(w io.Writer, plan *provisioner.Abandonment, volumes []string) {
	verb := "would be"
	if c.reason != "" {
		verb = "is"
	}
	fmt.Fprintf(w, "The data of claim %s/%s, up to generation %d, %s given up", plan.Namespace, plan.Claim, plan.Generation, verb)
	if len(volumes) > 0 {
		fmt.Fprintf(w, " (%s)", strings.Join(volumes, ", "))
	}
	fmt.Fprintf(w, "; claim and pod of member %d of %s %s made anew.\n", plan.Member.Ordinal, plan.Member.StatefulSet, verb)
	if c.reason == "" {
		fmt.Fprintln(w, `Nothing was changed: repeat with --reason "WHY".`)
		return
	}
	if plan.Pod != nil && plan.Pod.Spec.NodeName != "" {
		n := plan.Pod.Spec.NodeName
		fmt.Fprintf(w, "If the pod does not end because node %s is dead: kubectl taint node %s node.kubernetes.io/out-of-service=abandoned:NoExecute\n", n, n)
	}
}

// galera asks GaleraCluster and the pods.
type galera struct{ client dynamic.Interface }

// WithoutMember implements provisioner.Siblings.
func (g galera) WithoutMember(ctx context.Context, namespace string, m volume.Member) error {
	cluster, err := galeracluster.NewStore(g.client, namespace, m.StatefulSet).Get(ctx)
	if err != nil {
		return fmt.Errorf("read GaleraCluster %s/%s, which says who is synced: %w", namespace, m.StatefulSet, err)
	}
	q, err := galeracluster.NewWorkload(g.client, namespace).Quorum(ctx, cluster, m.StatefulSet)
	if err != nil {
		return err
	}
	if slices.Contains(q.Synced, m.Ordinal) {
		return errors.New("this member is synced and serves: its data is not lost")
	}
	if !q.Majority() {
		return fmt.Errorf("members %v of %d are synced, which is no majority: this volume may hold the only copy of what was written last; bring the others back first", q.Synced, q.Replicas)
	}
	return nil
}
