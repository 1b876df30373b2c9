package scheduling

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/ptr"

	"github.com/berth-dev/berth/test/figures"
	"github.com/berth-dev/berth/test/knob"
)

// TestTwentyClaimsForTen has twenty members come at once for room for ten. Nothing
// is promised twice, those who wait know why, and when the volume group grows the
// next one goes there within two seconds.
func TestTwentyClaimsForTen(t *testing.T) {
	y := newYard(t)
	y.agent.slow = 50 * time.Millisecond
	y.machine("n1", 50*gibi)
	y.machine("n2", 50*gibi)
	y.must(y.agent.run(t.Context()))
	y.start("scheduler")
	for n := range 20 {
		y.member(fmt.Sprintf("db%02d", n), 0)
	}
	y.await("ten placed and ten refused for want of space", time.Minute, func(nodes, told map[string]string) bool {
		refused := 0
		for pod, node := range nodes {
			if node == "" && strings.Contains(told[pod], "(NoSpace)") {
				refused++
			}
		}
		return placed(nodes) == 10 && refused == 10
	})
	// Ten that were placed and ten that wait must stay so.
	time.Sleep(5 * time.Second)
	nodes, _ := y.pods(t.Context())
	if n := placed(nodes); n != 10 {
		t.Fatalf("%d pods are placed, and there is room for 10", n)
	}
	var took []time.Duration
	for n := range knob.Number(t, "EXTEND_ROUNDS", 3) {
		began := time.Now()
		y.must(y.agent.extend(t.Context(), "n1", 10*gibi))
		y.await("next one placed", 30*time.Second, func(nodes, _ map[string]string) bool { return placed(nodes) == 11+n })
		took = append(took, time.Since(began))
		time.Sleep(5 * time.Second) // until nobody rests in the scheduler's back-off
	}
	slices.Sort(took)
	t.Logf("from vgextend to the next member bound: %v", took)
	// On a machine with nothing else to do it is one to two seconds, which make
	// race-rounds holds it to. A pod that no event wakes would wait for minutes.
	goal := 10 * time.Second
	if measured(t) {
		goal = 2 * time.Second
	}
	median := took[len(took)/2]
	if median > goal {
		t.Errorf("the median of %v is more than %s", took, goal)
	}
	report(t, "extend-rounds", "20 claims for room for 10: from vgextend to the next member bound",
		figures.F("rounds", len(took)), figures.F("seconds_p50", median.Seconds()), figures.F("seconds_max", took[len(took)-1].Seconds()),
		figures.F("goal", fmt.Sprintf("seconds_p50 <= %g", goal.Seconds())), figures.F("met", median <= goal))
	y.must(y.agent.truth())
}

// TestLeaderDies kills the leading scheduler in the middle of a rebuild, twice:
// once with another one waiting, once with none. No room is lost or promised
// twice, and every member with data comes home.
func TestLeaderDies(t *testing.T) {
	const sets, machines = 8, 4
	y := newYard(t)
	y.agent.slow = time.Second
	for n := range machines {
		y.machine(fmt.Sprintf("n%d", n), 60*gibi) // 24 volumes in all: no slack
	}
	home := map[string]string{}
	for s := range sets / 2 {
		for o := range 3 {
			name, node := fmt.Sprintf("old%d-%d", s, o), fmt.Sprintf("n%d", (s+o)%machines)
			home[name] = node
			y.must(y.agent.retain(t.Context(), "data-"+name, node))
		}
	}
	y.must(y.agent.run(t.Context()))
	leader := y.start("first")
	y.awaitLeader()
	standby := y.start("second")
	for s := range sets / 2 {
		for o := range 3 {
			y.member(fmt.Sprintf("old%d", s), o)
			y.member(fmt.Sprintf("new%d", s), o)
		}
	}
	some := func(n int) func(nodes, _ map[string]string) bool {
		return func(nodes, _ map[string]string) bool { return placed(nodes) >= n }
	}
	y.await("first placed", 2*time.Minute, some(4))
	leader.kill()
	y.await("more placed by the second leader", 2*time.Minute, some(14))
	standby.kill()
	y.start("third")
	y.await("all placed", 2*time.Minute, some(6*sets/2))
	nodes, _ := y.pods(t.Context())
	for name, node := range home {
		if nodes[name] != node {
			t.Errorf("member %s is on %s, and its data on %s", name, nodes[name], node)
		}
	}
	y.must(y.agent.truth())
}

func measured(*testing.T) bool { return os.Getenv("FIGURES") != "" }

// report prints what was measured and keeps it, when that is what the test is run for.
func report(t *testing.T, target, what string, row ...figures.Figure) {
	t.Helper()
	if !measured(t) {
		return
	}
	r := figures.Report{Target: target}
	r.Add(what, row...)
	if err := r.Emit(os.Stdout, os.Getenv("FIGURES")); err != nil {
		t.Fatal(err)
	}
}

// TestRace deletes and re-creates members whose volumes come back at about the same
// time: the PV controller binds what the agents reserve, while the scheduler
// decides. None may get another home, and nothing new is made.
func TestRace(t *testing.T) {
	const members, machines = 100, 10
	y := newYard(t)
	for n := range machines {
		y.machine(fmt.Sprintf("n%d", n), 900*gibi)
	}
	for m := range members {
		y.must(y.agent.retain(t.Context(), fmt.Sprintf("data-db%d-0", m), fmt.Sprintf("n%d", m%machines)))
	}
	y.must(y.agent.run(t.Context()))
	y.start("scheduler")
	homes := y.agent.homes()
	wrong, rounds := 0, knob.Number(t, "RACE_ROUNDS", 5)
	var took []time.Duration
	for round := range rounds {
		began := time.Now()
		workqueue.ParallelizeUntil(t.Context(), 16, members, func(m int) { y.member(fmt.Sprintf("db%d", m), 0) })
		y.await(fmt.Sprintf("all placed in round %d", round), 3*time.Minute, func(nodes, _ map[string]string) bool { return placed(nodes) == members })
		took = append(took, time.Since(began))
		t.Logf("round %d: all %d bound after %s", round, members, time.Since(began).Round(time.Millisecond))
		nodes, _ := y.pods(t.Context())
		for pod, node := range nodes {
			if node != homes[pod] {
				wrong++
				t.Errorf("round %d: %s is on %s, and its data on %s", round, pod, node, homes[pod])
			}
		}
		if y.agent.made > 0 {
			t.Fatalf("round %d: %d volumes were made, and all data is there", round, y.agent.made)
		}
		workqueue.ParallelizeUntil(t.Context(), 16, members, func(m int) {
			name := fmt.Sprintf("db%d-0", m)
			now := metav1.DeleteOptions{GracePeriodSeconds: ptr.To[int64](0)}
			if err := y.client.CoreV1().Pods(namespace).Delete(t.Context(), name, now); err != nil {
				t.Error(err)
			}
			if err := y.client.CoreV1().PersistentVolumeClaims(namespace).Delete(t.Context(), "data-"+name, now); err != nil {
				t.Error(err)
			}
		})
	}
	slices.Sort(took)
	report(t, "race-rounds", "100 re-created pods race the PV controller",
		figures.F("rounds", rounds), figures.F("wrong_homes", wrong), figures.F("blank_volumes_made", y.agent.made),
		figures.F("seconds_p50", took[rounds/2].Seconds()), figures.F("seconds_max", took[rounds-1].Seconds()),
		figures.F("goal", "wrong_homes <= 0"), figures.F("met", wrong == 0))
}
