package e2e

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-dev/berth/test/drill"
)

// TestDrill goes through the drill of `make demo`.
func TestDrill(t *testing.T) {
	t.Run("install", func(t *testing.T) { installed(t) })
	t.Run("power cut", func(t *testing.T) { rebuilt(t) })
	t.Run("power cut, API wiped", func(t *testing.T) { wantSound(t, play(t, rebuilt(t).PowerCutAndWipe)) })
	t.Run("server killed", func(t *testing.T) { wantSound(t, play(t, rebuilt(t).KillServer)) })
}

// installed gives the drill after its first act, which it plays when no test has
// before. The node without a volume group is there and gets no member.
func installed(t *testing.T) *drill.Drill {
	t.Helper()
	stopIfBroken(t)
	if suite.drill == nil {
		labelBareNode(t)
		newDrill(t)
		wantSound(t, play(t, suite.drill.Install))
		retireBareNode(t)
	}
	return suite.drill
}

// rebuilt gives the drill after one power cut at least: only then did every
// member report a position.
func rebuilt(t *testing.T) *drill.Drill {
	t.Helper()
	d := installed(t)
	if !suite.rebuilt {
		wantSound(t, play(t, d.PowerCut))
		suite.rebuilt = true
	}
	return d
}

func newDrill(t *testing.T) {
	t.Helper()
	d, err := drill.Start(suite.bed, drill.Options{
		Nodes: suite.nodes, Manifests: filepath.Join(suite.root, "manifests"), Writers: 2, Progress: suite.progress,
	})
	if err != nil {
		t.Fatal(err)
	}
	suite.drill = d
}

// retireBareNode takes the node without a volume group out of the cluster, as
// somebody would: the power cuts are about the other three.
func retireBareNode(t *testing.T) {
	t.Helper()
	if err := suite.bed.PowerOff(bareNode); err != nil {
		t.Fatal(err)
	}
	eventually(t, bareNode+" is gone and the scheduler is whole", func(ctx context.Context) error {
		for _, args := range [][]string{
			{"delete", "node", bareNode, "--ignore-not-found"},
			{"delete", "pods", "--all-namespaces", "--field-selector=spec.nodeName=" + bareNode, "--force", "--grace-period=0"},
			{"rollout", "status", "deployment/scheduler-plugin", "--namespace=berth-system", "--timeout=60s"},
		} {
			if err := kubectl(ctx, "", args...); err != nil {
				return err
			}
		}
		return nil
	})
}

// play plays one act to its end.
func play(t *testing.T, act func(context.Context) (drill.Act, error)) drill.Act {
	t.Helper()
	stopIfBroken(t)
	ctx, cancel := context.WithTimeout(t.Context(), actLimit)
	defer cancel()
	ended := false
	defer func() {
		if !ended { // also when an assertion within the act gave up: nodes may be off
			suite.broken = t.Name()
		}
	}()
	done, err := act(ctx)
	if err != nil {
		t.Fatalf("act %q did not end: %v", done.Name, err)
	}
	ended = true
	drill.Record{Acts: []drill.Act{done}}.Print(os.Stderr)
	return done
}

func stopIfBroken(t *testing.T) {
	t.Helper()
	if suite.broken != "" {
		t.Fatalf("an act of %s did not end: what follows it would prove nothing", suite.broken)
	}
}

func wantSound(t *testing.T, act drill.Act) {
	t.Helper()
	for _, fault := range act.Judge() {
		t.Error(fault)
	}
}

// wantFaults sees that the judge finds each of the wanted faults, and nothing
// beyond them and what follows from them.
func wantFaults(t *testing.T, act drill.Act, wanted, following []string) {
	t.Helper()
	faults := act.Judge()
	for _, want := range wanted {
		if !slices.ContainsFunc(faults, func(f string) bool { return strings.Contains(f, want) }) {
			t.Errorf("the drill does not notice %q; its faults are %q", want, faults)
		}
	}
	for _, fault := range faults {
		t.Logf("fault: %s", fault)
		if !slices.ContainsFunc(slices.Concat(wanted, following), func(part string) bool { return strings.Contains(fault, part) }) {
			t.Errorf("a fault that this sabotage does not explain: %s", fault)
		}
	}
}

// member reads a member's pod.
func member(t *testing.T, name string) *corev1.Pod {
	t.Helper()
	pod, err := suite.client.CoreV1().Pods("galera").Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatalf("read pod of %s: %v", name, err)
	}
	return pod
}
