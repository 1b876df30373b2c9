package rebuild

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/google/go-cmp/cmp"

	"github.com/berth-dev/berth/pkg/datadir"
)

// fakeUUID makes a uuid of one letter.
func fakeUUID(letter string) string {
	s := strings.Repeat(letter, 12)
	return strings.Join([]string{s[:8], s[:4], s[:4], s[:4], s}, "-")
}

// TestScripts runs the stories in testdata. Commands:
//
//	cluster replicas=N [first=N]
//	report member=N [class=C] [uuid=LETTER] [seqno=N] [flag] [state=S] [start=S] [attempt=N] [begin=N]
//	decide [answering=(N,…)] [for=N]
//	issue | agree member=N | consume member=N attempt=N | enter member=N [answering=(N,…)]
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		var c Cluster
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			return runCommand(t, &c, d)
		})
	})
}

func runCommand(t *testing.T, c *Cluster, d *datadriven.TestData) string {
	number := func(key string, otherwise int) int {
		d.MaybeScanArgs(t, key, &otherwise)
		return otherwise
	}
	text := func(key, otherwise string) string {
		d.MaybeScanArgs(t, key, &otherwise)
		return otherwise
	}
	me := func() Report {
		r, found := c.Member(number("member", 0))
		if !found {
			d.Fatalf(t, "no report of member %d", number("member", 0))
		}
		report := *r
		report.Start = text("start", report.Start)
		return report
	}
	c.Answering = nil
	for _, arg := range d.CmdArgs {
		if arg.Key == "answering" {
			for i := range arg.Vals {
				var ordinal int
				arg.Scan(t, i, &ordinal)
				c.Answering = append(c.Answering, ordinal)
			}
		}
	}
	switch d.Cmd {
	case "cluster":
		*c = Cluster{Replicas: number("replicas", 3), FirstOrdinal: number("first", 0)}
		return ""
	case "report":
		member := number("member", 0)
		r := Report{
			Ordinal: member, Pod: fmt.Sprintf("galera-%d", member), PodUID: text("pod", "uid"), Start: text("start", "s1"),
			Node: fmt.Sprintf("node-%d", member), Volume: fmt.Sprintf("pv-%d", member), Address: fmt.Sprintf("10.0.0.%d", member),
			State: State(text("state", string(Waiting))), Class: datadir.Class(text("class", string(datadir.Crashed))), Position: datadir.Undefined,
		}
		if d.HasArg("uuid") {
			r.Position = datadir.Position{UUID: fakeUUID(text("uuid", "")), Seqno: int64(number("seqno", -1))}
		}
		r.Evidence.Grastate = datadir.Grastate{State: datadir.GrastatePresent, Position: r.Position, SafeToBootstrap: d.HasArg("flag")}
		if d.HasArg("cached") {
			var cache datadir.Cache
			d.ScanArgs(t, "cached", &cache.First, &cache.Last)
			cache.UUID = r.Position.UUID
			r.Evidence.Cache = cache
		}
		if d.HasArg("attempt") {
			r.Evidence.Attempt = int64(number("attempt", 0))
			r.Evidence.Begin = &datadir.Position{UUID: r.Position.UUID, Seqno: int64(number("begin", 0))}
		}
		c.Put(r)
		return ""
	case "decide":
		v := Decide(*c)
		if d.HasArg("for") {
			r, _ := c.Member(number("for", 0))
			v = v.For(*c, *r)
		}
		return show(v)
	case "issue":
		if !c.Issue(Decide(*c), fakeUUID("f")) {
			return "nothing to issue"
		}
		g, _ := c.LastGrant()
		return fmt.Sprintf("attempt %d to %s at %s by %s", g.Attempt, g.Pod, g.Position, g.Rule)
	case "agree":
		return fmt.Sprint(c.Agree(me(), Decide(*c)))
	case "consume":
		if refused := c.Consume(me(), int64(number("attempt", 1))); refused != nil {
			return refused.String()
		}
		return "consumed"
	case "enter":
		if refused := c.Enter(me()); refused != nil {
			return refused.String()
		}
		return "entered"
	}
	d.Fatalf(t, "unknown command %q", d.Cmd)
	return ""
}

func show(v Verdict) string {
	if v.Action == Bootstrap {
		return fmt.Sprintf("%s %d by %s\n%s", v.Action, v.Member, v.Rule, v.Reason)
	}
	return fmt.Sprintf("%s\n%s", v.Action, v.Reason)
}

// TestOrderOfReportsDoesNotMatter decides on random clusters in random orders.
func TestOrderOfReportsDoesNotMatter(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	classes := []datadir.Class{datadir.Clean, datadir.Crashed, datadir.UnsafeDDL, datadir.SSTVictim, datadir.Empty, datadir.Corrupt, datadir.Foreign}
	for range 5000 {
		c := Cluster{Replicas: 3}
		for ordinal := range 3 {
			r := Report{Ordinal: ordinal, Pod: fmt.Sprintf("galera-%d", ordinal), State: Waiting, Class: classes[random.IntN(len(classes))]}
			r.Position = datadir.Position{UUID: fakeUUID(string("aab"[random.IntN(3)])), Seqno: random.Int64N(3)}
			r.Evidence.Grastate.Position, r.Evidence.Grastate.SafeToBootstrap = r.Position, random.IntN(2) == 0
			if random.IntN(10) == 0 {
				r.State = Started
			}
			c.Members = append(c.Members, r)
		}
		want := Decide(c)
		shuffled := c
		shuffled.Members = slices.Clone(c.Members)
		random.Shuffle(3, func(i, j int) {
			shuffled.Members[i], shuffled.Members[j] = shuffled.Members[j], shuffled.Members[i]
		})
		if diff := cmp.Diff(want, Decide(shuffled)); diff != "" {
			t.Fatalf("another order of %+v gives another verdict:\n%s", c.Members, diff)
		}
		if want.Action == Bootstrap && want.Rule != FirstInstall {
			for _, r := range c.Members {
				if mayLead(r.Class) && r.Position.Seqno > want.Position.Seqno {
					t.Fatalf("%s bootstraps at %s, %s is at %s", c.Members[want.Member].Pod, want.Position, r.Pod, r.Position)
				}
			}
		}
	}
}
