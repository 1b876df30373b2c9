package scheduling

import (
	"crypto/tls"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// TestMetricsAndEvents reads what a running scheduler says of itself at /metrics,
// and of the pods in their events: of one that has a reservation, for no agent makes
// its volume, of one that went home, and of one whose home is cordoned.
func TestMetricsAndEvents(t *testing.T) {
	y := newYard(t)
	y.machine("n1", 50*gibi)
	y.machine("n2", 50*gibi)
	y.must(y.agent.retain(t.Context(), "data-home-0", "n1"))
	y.must(y.agent.retain(t.Context(), "data-away-0", "n2"))
	_, err := y.client.CoreV1().Nodes().Patch(t.Context(), "n2", types.MergePatchType, []byte(`{"spec":{"unschedulable":true}}`), metav1.PatchOptions{})
	y.must(err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	y.must(err)
	address := listener.Addr().String()
	y.must(listener.Close())
	_, port, err := net.SplitHostPort(address)
	y.must(err)
	y.start("scheduler", "--bind-address=127.0.0.1", "--secure-port="+port, "--cert-dir="+t.TempDir(),
		"--authentication-skip-lookup", "--authorization-always-allow-paths=/metrics")
	y.member("home", 0)
	y.member("away", 0)
	y.member("new", 0)
	y.await("one home, one told", time.Minute, func(nodes, told map[string]string) bool {
		return nodes["home-0"] == "n1" && strings.Contains(told["away-0"], "(HomeCordoned)")
	})
	selected := y.awaitClaim("data-new-0", func(c *corev1.PersistentVolumeClaim) bool { return selectedNode(c) != "" })
	if node := selectedNode(selected); node != "n1" {
		t.Errorf("the new volume is to be made on %s", node)
	}
	reservation := `berth_scheduler_reservations{witness="scheduler"}`
	measures := y.awaitMetric(address, reservation, 1)
	for name, want := range map[string]float64{
		`berth_scheduler_verdicts_total{action="pin",reason=""}`:                1,
		`berth_scheduler_verdicts_total{action="allow",reason=""}`:              1,
		`berth_scheduler_verdicts_total{action="refuse",reason="HomeCordoned"}`: 1,
		`berth_scheduler_decision_seconds_count{action="pin"}`:                  1,
		`berth_scheduler_decision_seconds_count{action="refuse"}`:               1,
		`berth_scheduler_reserved_bytes`:                                        float64(10 * gibi),
		`berth_scheduler_inventory_size{of="nodes"}`:                            2,
		`berth_scheduler_inventory_size{of="reports"}`:                          2,
		`berth_scheduler_inventory_size{of="volumes"}`:                          2,
		`berth_scheduler_inventory_size{of="volume groups"}`:                    2,
	} {
		counter := strings.Contains(name, "_total") || strings.Contains(name, "_count")
		if got, told := measures[name]; !told || got < want || got > want && !counter {
			t.Errorf("%s is %v (told: %v), want %v", name, got, told, want)
		}
	}
	if got := measures[`berth_scheduler_decision_seconds_sum{action="pin"}`]; got <= 0 || got > 1 {
		t.Errorf("decisions to pin took %v seconds in all", got)
	}
	if t.Failed() {
		maps.DeleteFunc(measures, func(name string, _ float64) bool { return !strings.HasPrefix(name, "berth_") })
		t.Log(slices.Sorted(maps.Keys(measures)))
	}
	y.awaitEvent("away-0", "FailedScheduling", "(HomeCordoned)")
	y.awaitEvent("new-0", "NewVolume", "data-new-0")
}

// awaitMetric reads /metrics until the number is as wanted, and returns all numbers.
func (y *yard) awaitMetric(address, name string, want float64) map[string]float64 {
	y.Helper()
	client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} // it signs its own certificate
	for limit := time.After(time.Minute); ; {
		measures := map[string]float64{}
		if answer, err := client.Get("https://" + address + "/metrics"); err == nil {
			text, err := io.ReadAll(answer.Body)
			y.must(err)
			y.must(answer.Body.Close())
			for line := range strings.Lines(string(text)) {
				line = strings.TrimSpace(line)
				if at := strings.LastIndexByte(line, ' '); at > 0 && line[0] != '#' {
					if value, err := strconv.ParseFloat(line[at+1:], 64); err == nil {
						measures[line[:at]] = value
					}
				}
			}
		}
		if value, told := measures[name]; told && value == want {
			return measures
		}
		select {
		case <-time.After(100 * time.Millisecond): // a scrape is the only way to see it
		case <-limit:
			y.Fatalf("%s is %v of %d numbers, want %v", name, measures[name], len(measures), want)
		}
	}
}

// awaitEvent waits for an event about the pod.
func (y *yard) awaitEvent(pod, reason, text string) {
	y.Helper()
	api := y.client.EventsV1().Events(namespace)
	events, err := api.Watch(y.Context(), metav1.ListOptions{})
	y.must(err)
	defer events.Stop()
	limit := time.After(time.Minute)
	for {
		list, err := api.List(y.Context(), metav1.ListOptions{})
		y.must(err)
		for _, e := range list.Items {
			if e.Regarding.Name == pod && e.Reason == reason && strings.Contains(e.Note, text) {
				return
			}
		}
		select {
		case <-events.ResultChan():
		case <-limit:
			y.Fatalf("no event %s about %s says %s: %+v", reason, pod, text, list.Items)
		}
	}
}
