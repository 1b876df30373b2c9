package extender

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/events"
	"k8s.io/klog/v2"
	extenderv1 "k8s.io/kube-scheduler/extender/v1"
	fwk "k8s.io/kube-scheduler/framework"

	"github.com/berth-dev/berth/pkg/placement"
	"github.com/berth-dev/berth/pkg/plugin"
)

// TestSameVerdict asks plugin and extender about the same pods, one after the
// other, in clusters that chance has built: who is left, and what each other node
// is told, must be the same, and so must the promises be that either makes on the
// way, as they decide about the next pod.
func TestSameVerdict(t *testing.T) {
	const worlds = 150
	var mu sync.Mutex
	said := map[string]int{}
	one := func(seed uint64) func(t *testing.T) {
		return func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 0))
			w := chance(r)
			probe := w.probe()
			client := w.client()
			for _, pod := range append(w.pods, probe) { // the plugin wakes none that is gone
				if err := client.Tracker().Add(pod); err != nil {
					t.Fatal(err)
				}
			}
			p, i := newPlugin(t, client), newInventory(t, client)
			// Both have compared the reports with the API server, or one would add
			// to a reason that it may be otherwise.
			p.ask(t, probe, w.nodes)
			if err := i.Prove(t.Context()); err != nil {
				t.Fatal(err)
			}
			e := New(Config{Inventory: i})
			for _, pod := range w.pods {
				names := shuffled(r, w.names())
				want := p.ask(t, pod, w.nodes)
				got := e.Filter(t.Context(), extenderv1.ExtenderArgs{Pod: pod, NodeNames: &names})
				kind := want.compare(t, got)
				mu.Lock()
				said[kind]++
				mu.Unlock()
				if t.Failed() {
					t.Fatalf("seed %d, pod %s: plugin %+v, extender left %v, failed %v, error %q",
						seed, pod.Name, want, got.NodeNames, got.FailedAndUnresolvableNodes, got.Error)
				}
				if !want.skipped && len(*got.NodeNames) == 1 {
					if status := p.Reserve(t.Context(), want.state, pod, (*got.NodeNames)[0]); !status.IsSuccess() {
						t.Fatalf("seed %d, pod %s: %s", seed, pod.Name, status.Message())
					}
				}
			}
		}
	}
	t.Run("world", func(t *testing.T) {
		for seed := range uint64(worlds) {
			t.Run(fmt.Sprint(seed), one(seed))
		}
	})
	// Chance must have built what the property is about.
	for _, kind := range []string{"not ours", "refused", "pinned", "chosen", "no room"} {
		if said[kind] < worlds/20 {
			t.Errorf("only %d verdicts were %q of %v: the worlds are too poor", said[kind], kind, said)
		}
	}
}

// asked is what the plugin says about a pod.
type asked struct {
	state   fwk.CycleState
	skipped bool
	refusal string // of all nodes
	pin     string
	noRoom  string // on any node, and why
	nodes   map[string]placement.NodeState
	scores  map[string]int64
}

// compare holds the extender's answer to the plugin's, and says what kind it was.
func (a asked) compare(t *testing.T, got extenderv1.ExtenderFilterResult) string {
	t.Helper()
	if got.Error != "" {
		t.Errorf("error %q", got.Error)
		return ""
	}
	left := *got.NodeNames
	switch {
	case a.skipped:
		if len(left) != len(a.nodes) {
			t.Error("a pod that is not ours lost nodes")
		}
		return "not ours"
	case a.refusal != "":
		for node := range a.nodes {
			if got.FailedAndUnresolvableNodes[node] != a.refusal {
				t.Errorf("node %s is told %q, want %q", node, got.FailedAndUnresolvableNodes[node], a.refusal)
			}
		}
		return "refused"
	case a.pin != "":
		if !slices.Equal(left, []string{a.pin}) {
			t.Errorf("left %v, want the pin %s", left, a.pin)
		}
		return "pinned"
	}
	var best int64 = -1
	for node, state := range a.nodes {
		why := got.FailedAndUnresolvableNodes[node]
		switch {
		case state.Fits:
			best = max(best, a.scores[node])
			if why != "" {
				t.Errorf("node %s, which will do, is told %q", node, why)
			}
		case !strings.HasPrefix(why, state.Text) || !strings.HasSuffix(why, "("+string(state.Code)+")"):
			t.Errorf("node %s is told %q, want %+v", node, why, state)
		case a.noRoom != "" && !strings.Contains(a.noRoom, why):
			t.Errorf("node %s is told %q, and the pod %q", node, why, a.noRoom)
		}
	}
	if (best < 0) != (a.noRoom != "") {
		t.Errorf("the pod is told %q, and these nodes will do: %+v", a.noRoom, a.nodes)
	}
	if best < 0 {
		if len(left) != 0 {
			t.Errorf("left %v, want none", left)
		}
		return "no room"
	}
	if len(left) != 1 || !a.nodes[left[0]].Fits || a.scores[left[0]] != best {
		t.Errorf("left %v, want one of the best score %d of %v", left, best, a.scores)
	}
	return "chosen"
}

type pluginUnderTest struct {
	*plugin.VolumeHome
	activated chan struct{}
}

func newPlugin(t *testing.T, client *fake.Clientset) pluginUnderTest {
	t.Helper()
	factory := informers.NewSharedInformerFactory(client, 0)
	activated := make(chan struct{}, 1)
	p, err := plugin.New(t.Context(), nil, handle{client: client, factory: factory, activated: activated})
	if err != nil {
		t.Fatal(err)
	}
	start(t, factory)
	return pluginUnderTest{p.(*plugin.VolumeHome), activated}
}

// ask runs the plugin's steps as the scheduler does.
func (p pluginUnderTest) ask(t *testing.T, pod *corev1.Pod, nodes []*corev1.Node) asked {
	t.Helper()
	a := asked{state: cycleState{data: map[fwk.StateKey]fwk.StateData{}}, nodes: map[string]placement.NodeState{}, scores: map[string]int64{}}
	var infos []fwk.NodeInfo
	for _, n := range nodes {
		a.nodes[n.Name] = placement.NodeState{Node: n.Name}
		infos = append(infos, nodeInfo{node: n})
	}
	result, status := p.PreFilter(t.Context(), a.state, pod, infos)
	for strings.Contains(status.Message(), "("+string(placement.CodeReportsUnchecked)+")") {
		// The extender waits in its request, the plugin's pod in the queue, behind the gate.
		for shut := true; shut; shut = !p.PreEnqueue(t.Context(), pod).IsSuccess() {
			<-p.activated
		}
		result, status = p.PreFilter(t.Context(), a.state, pod, infos)
	}
	if _, err := a.state.Read(plugin.Name); status.IsSuccess() && err != nil { // it leaves no verdict for the later steps
		a.skipped = true
		return a
	}
	said := p.Explain(pod)
	switch said.Action {
	case placement.Refuse:
		a.refusal = status.Message()
		return a
	case placement.Pin:
		a.pin = result.NodeNames.UnsortedList()[0]
		return a
	}
	for _, n := range said.Nodes {
		a.nodes[n.Node] = n
	}
	if !status.IsSuccess() {
		a.noRoom = status.Message()
		return a
	}
	var left []fwk.NodeInfo
	for _, info := range infos {
		name := info.Node().Name
		leaves := result.AllNodes() || result.NodeNames.Has(name)
		if leaves != a.nodes[name].Fits {
			t.Fatalf("node %s is left: %v, and is explained as %+v", name, leaves, a.nodes[name])
		}
		if leaves {
			left = append(left, info)
		}
	}
	if status := p.PreScore(t.Context(), a.state, pod, left); !status.IsSuccess() {
		t.Fatal(status.Message())
	}
	for _, info := range left {
		score, status := p.Score(t.Context(), a.state, pod, info)
		if !status.IsSuccess() {
			t.Fatal(status.Message())
		}
		a.scores[info.Node().Name] = score
	}
	return a
}

// handle, cycleState and nodeInfo are what the plugin needs of the framework.
type handle struct {
	fwk.Handle
	client    kubernetes.Interface
	factory   informers.SharedInformerFactory
	activated chan<- struct{}
}

// Activate hears that a pod may be tried again.
func (h handle) Activate(klog.Logger, map[string]*corev1.Pod) {
	select {
	case h.activated <- struct{}{}:
	default:
	}
}

func (h handle) ClientSet() kubernetes.Interface                        { return h.client }
func (h handle) SharedInformerFactory() informers.SharedInformerFactory { return h.factory }
func (h handle) ProfileName() string                                    { return "test" }
func (h handle) EventRecorder() events.EventRecorderLogger              { return nil } // no node is taken here

type cycleState struct {
	fwk.CycleState
	data map[fwk.StateKey]fwk.StateData
}

func (s cycleState) Write(k fwk.StateKey, d fwk.StateData) { s.data[k] = d }
func (s cycleState) Read(k fwk.StateKey) (fwk.StateData, error) {
	if d, found := s.data[k]; found {
		return d, nil
	}
	return nil, fwk.ErrNotFound
}

type nodeInfo struct {
	fwk.NodeInfo
	node *corev1.Node
}

func (n nodeInfo) Node() *corev1.Node { return n.node }
