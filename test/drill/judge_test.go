package drill

import (
	"strings"
	"testing"

	"github.com/berth-dev/berth/pkg/rebuild"
)

// What a member reported in its former life is not what it was decided on.
func TestDecidedOn(t *testing.T) {
	reports := []rebuild.Report{
		{Pod: "galera-0", PodUID: "old", Start: "1", State: rebuild.Started},
		{Pod: "galera-1", PodUID: "new", Start: "2", State: rebuild.Recovering},
		{Pod: "galera-2", PodUID: "new", Start: "3", State: rebuild.Waiting},
	}
	former := map[string]string{"galera-0": "old1", "galera-1": "old1", "galera-2": "old1"}
	if got := decidedOn(reports, former); len(got) != 1 || got[0].Pod != "galera-2" {
		t.Errorf("%+v, want galera-2's report alone", got)
	}
}

func soundAct() Act {
	member := func(name, node, lv string, seqno int64, transfer Transfer) MemberRecord {
		home := Place{Node: node, LVUUID: lv}
		return MemberRecord{Member: name, Before: home, After: home, Class: "CRASHED", UUID: "u", Seqno: seqno, Transfer: transfer, OldestCached: 1, Rows: 10}
	}
	return Act{
		Name: "act", Rebuild: true, GrantsConsumed: 1, ClusterUUID: "u", RowsAcknowledged: 10,
		Members: []MemberRecord{
			member("galera-0", "node1", "lv1", 90, IST),
			member("galera-1", "node2", "lv2", 100, Bootstrapped),
			member("galera-2", "node3", "lv3", 100, NoTransfer),
		},
	}
}

func TestJudge(t *testing.T) {
	tests := []struct {
		name     string
		sabotage func(*Act)
		want     string // part of the only fault; empty for none
	}{
		{"sound", func(*Act) {}, ""},
		{"volume changed", func(a *Act) { a.Members[0].After.LVUUID = "blank" }, "galera-0 changed its home"},
		{"node changed", func(a *Act) { a.Members[0].After.Node = "node4" }, "galera-0 changed its home"},
		{"nobody bootstrapped", func(a *Act) { a.Members[1].Transfer = IST }, "0 members bootstrapped"},
		{"two bootstrapped", func(a *Act) { a.Members[2].Transfer = Bootstrapped }, "2 members bootstrapped"},
		{"two grants", func(a *Act) { a.GrantsConsumed = 2 }, "2 grants were consumed"},
		{"stale bootstrap", func(a *Act) { a.Members[2].Seqno = 101 }, "although galera-2 was at 101"},
		{"other history", func(a *Act) { a.Members[2].UUID = "v" }, "runs history u, galera-2 reported v"},
		{"needless full copy", func(a *Act) { a.Members[0].Transfer = SST }, "galera-0 took a full copy"},
		{"needless full copy from a member that never reported a position", func(a *Act) {
			a.Rebuild, a.GrantsConsumed = false, 0
			a.Interrupted = true
			for i := range a.Members[1:] {
				m := &a.Members[i+1]
				m.Class, m.UUID, m.Seqno, m.Transfer = "EMPTY", "", -1, Stayed
			}
			a.Members[0].Transfer = SST
		}, "galera-0 took a full copy"},
		{"needed full copy", func(a *Act) {
			a.Members[0].Transfer = SST
			for i := range a.Members {
				a.Members[i].OldestCached = 95
			}
		}, ""},
		{"full copy after an unsafe change", func(a *Act) { a.Members[0].Transfer, a.Members[0].Class = SST, "UNSAFE-DDL" }, ""},
		{"grant used up by an interrupted start", func(a *Act) { a.GrantsConsumed, a.Interrupted = 2, true }, ""},
		{"bootstrap without a grant", func(a *Act) { a.GrantsConsumed, a.Interrupted = 0, true }, "0 grants were consumed"},
		{"interrupted copy", func(a *Act) {
			a.Interrupted = true
			a.Members[0].UUID, a.Members[0].Seqno, a.Members[0].Class, a.Members[0].Transfer = "", -1, "SST-VICTIM", SST
		}, ""},
		{"stayed up since it came empty", func(a *Act) {
			a.Rebuild, a.GrantsConsumed = false, 0
			for i := range a.Members {
				a.Members[i].Transfer = Stayed
			}
			a.Members[0].Class, a.Members[0].UUID, a.Members[0].Seqno = "EMPTY", "", -1
		}, ""},
		{"stayed up with another history", func(a *Act) {
			a.Rebuild, a.GrantsConsumed = false, 0
			for i := range a.Members {
				a.Members[i].Transfer = Stayed
			}
			a.Members[0].UUID = "v"
		}, "runs history u, galera-0 reported v"},
		{"later report", func(a *Act) { a.Members[2].Seqno, a.Members[2].Later = 101, true }, ""},
		{"silent log", func(a *Act) { a.Members[0].Transfer = UnknownMove }, "does not say"},
		{"lost row", func(a *Act) { a.Members[2].RowsLost = 1 }, "galera-2 lost 1 of 10"},
		{"no rows", func(a *Act) { a.RowsAcknowledged = 0 }, "proves nothing"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			act := soundAct()
			test.sabotage(&act)
			faults := act.Judge()
			if test.want == "" && len(faults) > 0 {
				t.Errorf("faults %q, want none", faults)
			}
			if test.want != "" && (len(faults) != 1 || !strings.Contains(faults[0], test.want)) {
				t.Errorf("faults %q, want one with %q", faults, test.want)
			}
		})
	}
}
