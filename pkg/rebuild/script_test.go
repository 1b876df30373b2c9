package rebuild

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

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
//	cluster replicas=N [first=N]              a new object
//	scale replicas=N                          of the StatefulSet
//	policy [AllowMajority] [loss=N]
//	lost member=N volume=V                    a person's declaration
//	override attempt=N member=N position=LETTER:N [without=(N,…)]
//	report member=N [class=C] [uuid=LETTER] [seqno=N] [flag] [state=S] [start=S] [pod=S] [volume=V]
//	    [epochs=(N@SEQNO,…)] of the uuid's letter, [id=LETTER] of the last; [members=N] in lineage; [promised=N] [committed=N]
//	    [view=NAME/N,N,…] [cached=(FIRST,LAST)]
//	decide [answering=(N,…)] [outside=(N,…)] [for=N] [waited=SECONDS] [seen=N] [unblock] [notes]
//	issue | agree member=N | consume member=N attempt=N [seen=N] [waited=S] | enter member=N [answering=(N,…)]
//	witness [uuid=LETTER seqno=N] [view=(N,…)] [settled=NAME] | save | restore    the object
//	conclude                                  the conditions
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		var s script
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			s.T, s.TestData = t, d
			return s.run()
		})
	})
}

// script is one story: the object, and a snapshot of it.
type script struct {
	*testing.T
	*datadriven.TestData
	object, saved Cluster
}

func (s *script) number(key string, otherwise int) int {
	s.MaybeScanArgs(s.T, key, &otherwise)
	return otherwise
}

func (s *script) text(key, otherwise string) string {
	s.MaybeScanArgs(s.T, key, &otherwise)
	return otherwise
}

func (s *script) numbers(key string) (numbers []int) {
	for _, arg := range s.CmdArgs {
		if arg.Key == key {
			for i := range arg.Vals {
				var n int
				arg.Scan(s.T, i, &n)
				numbers = append(numbers, n)
			}
		}
	}
	return numbers
}

// me is the newest process of the member, or another one of it.
func (s *script) me() Report {
	r, found := s.object.Member(s.number("member", 0))
	if !found {
		s.T.Fatalf("no report of member %d", s.number("member", 0))
	}
	report := *r
	report.Start = s.text("start", report.Start)
	return report
}

func (s *script) run() string {
	c := &s.object
	c.Answering, c.Outside, c.Seen = s.numbers("answering"), s.numbers("outside"), int64(s.number("seen", 0))
	c.Waited = time.Duration(s.number("waited", 3600)) * time.Second
	switch s.Cmd {
	case "cluster":
		*c = Cluster{Namespace: "n", Name: "galera", Replicas: s.number("replicas", 3), FirstOrdinal: s.number("first", 0)}
	case "scale":
		c.Replicas = s.number("replicas", 3)
	case "policy":
		c.Spec.Policy = Policy{AllowedLoss: int64(s.number("loss", 0))}
		if s.HasArg("AllowMajority") {
			c.Spec.Policy.MissingMembers = AllowMajority
		}
	case "lost":
		c.Spec.Lost = append(c.Spec.Lost, Lost{Member: s.number("member", 0), Volume: s.text("volume", ""), Reason: "the disk burned"})
	case "override":
		letter, seqno, _ := strings.Cut(s.text("position", ""), ":")
		c.Spec.Overrides = []Override{{Attempt: int64(s.number("attempt", 1)), Member: s.number("member", 0), Without: s.numbers("without"),
			Position: fakeUUID(letter) + ":" + seqno, Reason: "rows are in the backup"}}
	case "report":
		c.Put(s.report())
	case "witness":
		sighting := Sighting{Position: s.position(), ID: s.text("settled", "")}
		for _, ordinal := range s.numbers("view") {
			sighting.View = append(sighting.View, fmt.Sprintf("10.0.0.%d", ordinal))
		}
		return fmt.Sprint(c.Witness(sighting))
	case "save":
		s.saved = c.Clone()
	case "restore":
		*c = s.saved.Clone()
	case "decide":
		v := Decide(*c)
		if s.HasArg("for") {
			r, _ := c.Member(s.number("for", 0))
			v = v.For(*c, *r)
		}
		s.tryOut(v)
		return show(v, s.HasArg("unblock"), s.HasArg("notes"))
	case "issue":
		ids := 0
		if !c.Issue(Decide(*c), func() string { ids++; return fakeUUID("fe"[ids-1 : ids]) }) {
			return "nothing to issue"
		}
		g, _ := c.LastGrant()
		g.ID = fmt.Sprintf("epoch-%d", g.Attempt)
		g.Epochs[len(g.Epochs)-1].ID = g.ID
		return fmt.Sprintf("attempt %d to %s at %s by %s", g.Attempt, g.Pod, g.Position, g.Rule)
	case "agree":
		return fmt.Sprint(c.Agree(s.me(), Decide(*c)))
	case "consume":
		if refused := c.Consume(s.me(), int64(s.number("attempt", 1))); refused != nil {
			return string(refused.Code) + ": " + refused.Text
		}
		return "consumed"
	case "enter":
		if refused := c.Enter(s.me()); refused != nil {
			return string(refused.Code) + ": " + refused.Text
		}
		return "entered"
	case "conclude":
		c.Conclude(time.Unix(0, 0))
		lines := []string{fmt.Sprintf("%s, %s reported, leader %q, position %q", c.Phase, c.Reported, c.Leader, c.Position)}
		for _, condition := range c.Conditions {
			lines = append(lines, fmt.Sprintf("%s %s %s", condition.Type, condition.Status, condition.Reason))
		}
		return strings.Join(lines, "\n")
	default:
		s.T.Fatalf("unknown command %q", s.Cmd)
	}
	return ""
}

func (s *script) position() datadir.Position {
	if !s.HasArg("uuid") {
		return datadir.Undefined
	}
	seqno, err := strconv.ParseInt(s.text("seqno", "-1"), 10, 64)
	if err != nil {
		s.T.Fatal(err)
	}
	return datadir.Position{UUID: fakeUUID(s.text("uuid", "")), Seqno: seqno}
}

func (s *script) report() Report {
	member := s.number("member", 0)
	r := Report{
		Ordinal: member, Pod: fmt.Sprintf("galera-%d", member), PodUID: s.text("pod", "uid"), Start: s.text("start", "s1"),
		Node: fmt.Sprintf("node-%d", member), Volume: s.text("volume", fmt.Sprintf("pv-%d", member)), Address: fmt.Sprintf("10.0.0.%d", member),
		State: State(s.text("state", string(Waiting))), Class: datadir.Class(s.text("class", string(datadir.Crashed))), Position: s.position(),
	}
	r.Evidence.Grastate = datadir.Grastate{State: datadir.GrastatePresent, Position: r.Position, SafeToBootstrap: s.HasArg("flag")}
	r.Evidence.Promised = int64(s.number("promised", 0))
	if s.HasArg("cached") {
		s.ScanArgs(s.T, "cached", &r.Evidence.Cache.First, &r.Evidence.Cache.Last)
		r.Evidence.Cache.UUID = r.Position.UUID
	}
	if s.HasArg("committed") {
		r.Evidence.Committed = &datadir.Position{UUID: r.Position.UUID, Seqno: int64(s.number("committed", 0))}
	}
	if name, members, found := strings.Cut(s.text("view", ""), "/"); found {
		r.Evidence.View = &datadir.View{MyUUID: fmt.Sprint("node-", member), ID: name}
		for _, m := range strings.Split(members, "+") {
			r.Evidence.View.Members = append(r.Evidence.View.Members, "node-"+m)
		}
	}
	for _, arg := range s.CmdArgs {
		if arg.Key != "epochs" {
			continue
		}
		r.Evidence.Lineage = &datadir.Lineage{Members: make([]int, s.number("members", 0))}
		for i := range r.Evidence.Lineage.Members {
			r.Evidence.Lineage.Members[i] = i
		}
		for i, val := range arg.Vals {
			attempt, begin, _ := strings.Cut(val, "@")
			seqno, err := strconv.ParseInt(begin, 10, 64)
			if err != nil {
				s.T.Fatal(err)
			}
			number, _ := strconv.ParseInt(attempt, 10, 64)
			e := datadir.Epoch{ID: "epoch-" + attempt, Attempt: number, Begin: datadir.Position{UUID: fakeUUID(s.text("uuid", "a")), Seqno: seqno}}
			if i == len(arg.Vals)-1 {
				e.ID += s.text("id", "")
			}
			r.Evidence.Lineage.Epochs = append(r.Evidence.Lineage.Epochs, e)
		}
	}
	return r
}

func show(v Verdict, unblock, notes bool) string {
	text := string(v.Action)
	if v.Action == Bootstrap {
		text += fmt.Sprintf(" %d by %s", v.Member, v.Rule)
	}
	reasons := []Reason{v.Reason}
	if notes {
		reasons = append(reasons, v.Notes...)
	}
	for _, r := range reasons {
		text += "\n" + string(r.Code) + ": " + r.Text
		if unblock {
			text += "\n  unblock: " + r.Unblock
		}
	}
	return text
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
