package rebuild

import (
	"testing"

	"github.com/berth-dev/berth/pkg/datadir"
)

func TestStranded(t *testing.T) {
	cluster := func(change func(*Cluster)) Cluster {
		c := Cluster{Replicas: 3}
		for i, state := range []State{Started, Waiting, Recovering} {
			c.Members = append(c.Members, Report{Ordinal: i, PodUID: "pod", Start: "start", State: state})
		}
		c.Grants = []Grant{{Attempt: 1, Member: 1, PodUID: "other", Start: "start", Consumed: true}}
		change(&c)
		return c
	}
	for _, test := range []struct {
		name   string
		change func(*Cluster)
		want   bool
	}{
		{"all others wait", func(*Cluster) {}, true},
		{"another server runs", func(c *Cluster) { c.Members[2].State = Started }, false},
		{"another one joins nobody either", func(c *Cluster) { c.Members[1].State = Started }, true},
		{"another one has served since its start", func(c *Cluster) {
			c.Members[1].State, c.Members[1].Observed = Started, &datadir.Position{UUID: "a", Seqno: 1}
		}, false},
		{"another one was granted the bootstrap", func(c *Cluster) {
			c.Members[1].State, c.Members[1].PodUID, c.Grants[0].PodUID = Started, "first", "first"
		}, false},
		{"another member has not reported", func(c *Cluster) { c.Members = c.Members[:2] }, false},
		{"it waits itself", func(c *Cluster) { c.Members[0].State = Waiting }, false},
		{"the report is of another pod", func(c *Cluster) { c.Members[0].PodUID = "former" }, false},
		{"it was granted the bootstrap", func(c *Cluster) { c.Grants[0].PodUID = "pod" }, false},
		{"a server beyond the replicas runs", func(c *Cluster) {
			c.Members = append(c.Members, Report{Ordinal: 3, State: Started})
		}, false},
		{"it is alone", func(c *Cluster) { c.Replicas, c.Members = 1, c.Members[:1] }, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := Stranded(cluster(test.change), 0, "pod", []int{1}); got != test.want {
				t.Errorf("stranded: %v, expected %v", got, test.want)
			}
		})
	}
}
