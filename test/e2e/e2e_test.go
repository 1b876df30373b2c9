package e2e

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/berth-dev/berth/test/drill"
	"github.com/berth-dev/berth/test/testbed"
)

const (
	bareNode  = "node4" // has disks and no volume group
	upLimit   = 20 * time.Minute
	downLimit = time.Minute
	actLimit  = 30 * time.Minute
	waitLimit = 6 * time.Minute
)

// spareNodes are switched on by the test that needs more machines.
func spareNodes() []string { return []string{"node5", "node6"} }

// oneNode has the suite boot one node, all that the tests of volumes need.
var oneNode = flag.Bool("one-node", false, "boot one node only: for -run TestVolume")

// suite is what all tests share. They change one cluster, one after the other,
// in the order of the files: bad input, the drill, the sabotages.
var suite struct {
	root     string // of the repository
	bed      *testbed.Bed
	client   *kubernetes.Clientset
	nodes    []string // with a volume group
	progress *drill.Progress

	drill   *drill.Drill // nil before the first installation
	rebuilt bool         // a power cut was survived since
	broken  string       // the test whose act did not end; what follows would prove nothing
}

func TestMain(m *testing.M) {
	flag.Parse()
	suite.progress = drill.NewProgress(os.Stderr, false)
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	if suite.root, err = filepath.Abs(filepath.Join("..", "..")); err != nil {
		return 1, err
	}
	bed, err := testbed.New(filepath.Join(suite.root, "_out", "e2e-bed"), testbed.DefaultPaths(filepath.Join(suite.root, "_out")))
	if err != nil {
		return 1, err
	}
	suite.bed = bed
	bed.Logf = suite.progress.Stage
	down := sync.OnceValue(func() error {
		suite.progress.Stage("take the test bed down")
		ctx, cancel := context.WithTimeout(context.Background(), downLimit)
		defer cancel()
		return bed.Down(ctx)
	})
	defer func() { err = errors.Join(err, down()) }()
	defer takeDownWhenEnded(down)()

	ctx, cancel := context.WithTimeout(context.Background(), upLimit)
	defer cancel()
	// The bed is the suite's own: one that a killed suite left is removed.
	if err := bed.Down(ctx); err != nil {
		return 1, err
	}
	config := testbed.Config{Nodes: 6, NoVG: []string{bareNode}, Spare: spareNodes()}
	if *oneNode {
		config = testbed.Config{Nodes: 1}
	}
	if err := bed.Up(ctx, config); err != nil {
		return 1, err
	}
	for _, name := range config.NodeNames() {
		if name != bareNode && !slices.Contains(spareNodes(), name) {
			suite.nodes = append(suite.nodes, name)
		}
	}
	if suite.client, err = bed.Client(); err != nil {
		return 1, err
	}
	code = m.Run()
	if suite.drill != nil {
		suite.drill.Close()
	}
	return code, nil
}

// takeDownWhenEnded takes the bed down also when somebody interrupts the suite,
// or its time is nearly over: a panic of package testing would leave it running.
func takeDownWhenEnded(down func() error) (stop func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	end := func(why string) {
		fmt.Fprintln(os.Stderr, "e2e:", why)
		if err := down(); err != nil {
			fmt.Fprintln(os.Stderr, "e2e:", err)
		}
		os.Exit(1)
	}
	go func() {
		if s, open := <-signals; open {
			end("ended by " + s.String())
		}
	}()
	stopTimer := func() bool { return true }
	if limit, is := flag.Lookup("test.timeout").Value.(flag.Getter).Get().(time.Duration); is && limit > 2*downLimit {
		stopTimer = time.AfterFunc(limit-downLimit, func() { end("the time that -timeout gives is nearly over") }).Stop
	}
	return func() {
		stopTimer()
		signal.Stop(signals)
		close(signals)
	}
}

// eventually tries until what it asks for is the case. The last error says what
// was missing.
func eventually(t *testing.T, what string, try func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
	defer cancel()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	last := errors.New("not tried")
	for {
		err := try(ctx)
		if err == nil {
			return
		}
		if ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			t.Fatalf("not within %s: %s: %v", waitLimit, what, last)
		case <-tick.C:
		}
	}
}

func kubectl(ctx context.Context, stdin string, args ...string) error {
	cmd, err := suite.bed.Kubectl(ctx, args...)
	if err != nil {
		return err
	}
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// apply applies what kubectl's arguments name. A first try may be refused while
// the API server still makes what a new namespace needs.
func apply(t *testing.T, stdin string, args ...string) {
	t.Helper()
	eventually(t, "the objects are applied", func(ctx context.Context) error {
		return kubectl(ctx, stdin, append([]string{"apply"}, args...)...)
	})
}

// removeAfter deletes objects when the test has ended, however it did.
func removeAfter(t *testing.T, args ...string) {
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
		defer cancel()
		if err := kubectl(ctx, "", append([]string{"delete", "--ignore-not-found"}, args...)...); err != nil {
			t.Error(err)
		}
	})
}

// wantEvent waits for an event about an object whose reason or text holds all parts.
func wantEvent(t *testing.T, namespace, kind, name string, parts ...string) {
	t.Helper()
	wantEventSince(t, time.Time{}, namespace, kind, name, parts...)
}

// wantEventSince takes no event that is older: the acts tell similar stories.
func wantEventSince(t *testing.T, since time.Time, namespace, kind, name string, parts ...string) {
	t.Helper()
	since = since.Truncate(time.Second) // as the API server's times are
	what := fmt.Sprintf("an event on %s %s with %q", kind, name, parts)
	eventually(t, what, func(ctx context.Context) error {
		events, err := suite.client.CoreV1().Events(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		var others []string
		for _, e := range events.Items {
			if e.InvolvedObject.Kind != kind || e.InvolvedObject.Name != name || e.CreationTimestamp.Time.Before(since) {
				continue
			}
			text := e.Reason + ": " + e.Message
			if holdsAll(text, parts) {
				t.Logf("%s %s: %s", kind, name, text)
				return nil
			}
			others = append(others, text)
		}
		return fmt.Errorf("its events are %q", others)
	})
}

func holdsAll(text string, parts []string) bool {
	for _, part := range parts {
		if !strings.Contains(text, part) {
			return false
		}
	}
	return true
}
