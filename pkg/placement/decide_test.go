package placement

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
)

// TestDecide replays the scripts in testdata. A script tells the facts, one a
// line, and then asks:
//
//	facts
//	api-server now
//	node n1 vg=g1 free=(berth,100)
//	volume data-db-0 vg=g1 on=n1 uid=u0 member=db-0/3
//	promise data-db-2 on=n1 vg=g1 bytes=10 member=db-2
//	----
//
//	decide member=db-0
//	claim data-db-0 uid=u0 bytes=10
//	----
//
// Everything is in namespace shop, of class berth, and reported to and made for
// the API server "now" unless it says otherwise. Where new volumes are allowed,
// every node is judged.
func TestDecide(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		var facts Facts
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "facts":
				facts = parseFacts(t, d.Input)
				return ""
			case "decide":
				return tell(Decide(parseRequest(t, d), facts), facts)
			case "explain":
				return tellExplanation(parseRequest(t, d), facts)
			default:
				d.Fatalf(t, "unknown command %q", d.Cmd)
				return ""
			}
		})
	})
}

func parseFacts(t *testing.T, input string) Facts {
	f := Facts{Synced: true, APIServer: "now"}
	for _, l := range lines(t, input) {
		switch l.cmd {
		case "not-synced":
			f.Synced = false
		case "unchecked":
			f.Unchecked = true
		case "api-server":
			f.APIServer = l.subject
		case "node":
			f.Nodes = append(f.Nodes, parseNode(t, l))
			if l.has("silent") && !l.has("storageless") {
				f.Silent = append(f.Silent, l.subject)
			}
		case "volume":
			f.Volumes = append(f.Volumes, parseVolume(l))
		case "home":
			f.Homes = append(f.Homes, parseHome(l))
		case "promise":
			f.Promises = append(f.Promises, Promise{
				Claim:  ClaimName{"shop", l.subject},
				Member: parseMember(l.one("member", "")),
				Node:   l.one("on", ""),
				VG:     l.one("vg", ""),
				Bytes:  l.number("bytes"),
			})
		default:
			t.Fatalf("unknown fact %q", l.cmd)
		}
	}
	slices.Sort(f.Silent)
	f.SilentCount = len(f.Silent)
	f.Silent = f.Silent[:min(len(f.Silent), MostSilent)]
	reckon(&f)
	return f
}

// reckon takes the promises off the pools, and tells volumes whether their group
// is published, as the inventory does.
func reckon(f *Facts) {
	published := map[string]bool{}
	for _, n := range f.Nodes {
		for i := range n.Room.Pools {
			pool := &n.Room.Pools[i]
			published[pool.VG] = true
			for _, p := range f.Promises {
				if p.Node == n.Name && p.VG == pool.VG {
					pool.Promised += p.Bytes
				}
			}
		}
	}
	for i := range f.Volumes {
		f.Volumes[i].Published = published[f.Volumes[i].VG]
	}
}

func parseNode(t *testing.T, l line) Node {
	n := Node{Name: l.subject, Ready: true, Room: Room{Node: l.subject}}
	for _, a := range l.args {
		switch a.Key {
		case "not-ready-since":
			n.Ready = false
			at, err := time.Parse(time.RFC3339, a.Vals[0])
			if err != nil {
				t.Fatal(err)
			}
			n.Since = at
		case "never-ready":
			n.Ready = false
		case "cordoned":
			n.Cordoned = true
		case "out-of-service":
			n.OutOfService = true
		case "free":
			free, err := strconv.ParseInt(a.Vals[1], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			n.Room.Pools = append(n.Room.Pools, Pool{
				Class: a.Vals[0], VG: l.one("vg", ""), Free: free << 20, Members: int(l.number("members") >> 20),
			})
		}
	}
	return n
}

func parseVolume(l line) Volume {
	member, replicas, _ := strings.Cut(l.one("member", ""), "/")
	v := Volume{
		Name:      l.one("pv", "pv-"+l.subject),
		LV:        "lv-" + l.subject,
		VG:        l.one("vg", ""),
		Class:     l.one("class", "berth"),
		Claim:     ClaimName{"shop", l.subject},
		ClaimUID:  l.one("uid", ""),
		Member:    parseMember(member),
		APIServer: l.one("api-server", "now"),
	}
	v.Replicas, _ = strconv.Atoi(replicas)
	v.Generation, v.Abandoned = l.count("generation", "1"), l.count("abandoned", "0")
	if i := slices.IndexFunc(l.args, func(a datadriven.CmdArg) bool { return a.Key == "on" }); i >= 0 {
		v.Nodes = l.args[i].Vals
	}
	return v
}

func parseHome(l line) Home {
	member, replicas, _ := strings.Cut(l.one("member", ""), "/")
	h := Home{
		Claim: ClaimName{"shop", l.subject}, Member: parseMember(member), Generation: l.count("generation", "1"),
		VG: l.one("vg", ""), APIServer: l.one("api-server", "now"), Reported: l.has("reported"),
	}
	h.Replicas, _ = strconv.Atoi(replicas)
	return h
}

func parseRequest(t *testing.T, d *datadriven.TestData) Request {
	var r Request
	if d.HasArg("member") {
		var member string
		d.ScanArgs(t, "member", &member)
		r.Member = parseMember(member)
	}
	for _, l := range lines(t, d.Input) {
		r.Claims = append(r.Claims, Claim{
			ClaimName:    ClaimName{"shop", l.subject},
			UID:          l.one("uid", "new"),
			Class:        l.one("class", "berth"),
			Bytes:        l.number("bytes"),
			VolumeName:   l.one("pv", ""),
			SelectedNode: l.one("selected", ""),
			SharesWith:   l.one("shares-with", ""),
			Abandoned:    l.count("abandoned", "0"),
		})
	}
	return r
}

// parseMember reads "db-0".
func parseMember(s string) Member {
	i := strings.LastIndex(s, "-")
	if i < 0 {
		return Member{}
	}
	ordinal, err := strconv.Atoi(s[i+1:])
	if err != nil {
		panic(err)
	}
	return Member{Namespace: "shop", StatefulSet: s[:i], Ordinal: ordinal}
}

// tell writes a verdict as a script expects it.
func tell(v Verdict, f Facts) string {
	var b strings.Builder
	switch v.Action {
	case Pin:
		fmt.Fprintf(&b, "pin %s\n", v.Node)
		for _, m := range v.Beside {
			fmt.Fprintf(&b, "  beside %s\n", m)
		}
	case Refuse:
		fmt.Fprintf(&b, "refuse %s\n  %s\n  waits for %s\n", v.Reason.Code, v.Reason.Text, v.Reason.Unblock)
	case Allow:
		b.WriteString("allow\n")
		tellNodes(&b, v, f)
	}
	for _, c := range v.Blank {
		fmt.Fprintf(&b, "  blank %s\n", c.ClaimName)
	}
	return b.String()
}

func tellNodes(b *strings.Builder, v Verdict, f Facts) {
	nodes := slices.SortedFunc(slices.Values(f.Nodes), func(a, b Node) int { return strings.Compare(a.Name, b.Name) })
	var fitting []Judgement
	for _, n := range nodes {
		if j := v.Judge(n.Room); j.Fits {
			fitting = append(fitting, j)
		}
	}
	scores := Scores(fitting)
	for _, n := range nodes {
		j := v.Judge(n.Room)
		if !j.Fits {
			fmt.Fprintf(b, "  %s %s: %s\n", n.Name, j.Reason.Code, j.Reason.Text)
			continue
		}
		fmt.Fprintf(b, "  %s fits, %d MiB free after, score %d\n", n.Name, j.FreeAfter>>20, scores[0])
		scores = scores[1:]
	}
}

func tellExplanation(r Request, f Facts) string {
	var rooms []Room
	silent := map[string]bool{}
	for _, n := range f.Nodes {
		rooms = append(rooms, n.Room)
		silent[n.Name] = slices.Contains(f.Silent, n.Name)
	}
	var b strings.Builder
	e := Explain(r, f, rooms, silent)
	fmt.Fprintln(&b, strings.TrimSpace(string(e.Action)+" "+e.Node))
	if e.Reason != nil {
		fmt.Fprintf(&b, "%s\n", e.Reason)
	}
	for _, c := range e.Claims {
		fmt.Fprintf(&b, "  claim %s volume=%s nodes=%v\n", c.Claim, c.Volume, c.Nodes)
	}
	for _, n := range e.Nodes {
		fmt.Fprintf(&b, "  %s fits=%v score=%d free=%d promised=%d members=%d", n.Node, n.Fits, n.Score, n.Free>>20, n.Promised>>20, n.Members)
		if !n.Fits {
			fmt.Fprintf(&b, " %s: %s", n.Code, n.Text)
		}
		b.WriteString("\n")
	}
	return b.String()
}

// line is one "command subject key=value…" of a script.
type line struct {
	cmd, subject string
	args         []datadriven.CmdArg
}

func lines(t *testing.T, input string) []line {
	var all []line
	for text := range strings.Lines(input) {
		cmd, args, err := datadriven.ParseLine(strings.TrimSpace(text))
		if err != nil {
			t.Fatal(err)
		}
		l := line{cmd: cmd}
		if len(args) > 0 {
			l.subject, l.args = args[0].Key, args[1:]
		}
		all = append(all, l)
	}
	return all
}

func (l line) one(key, otherwise string) string {
	for _, a := range l.args {
		if a.Key == key {
			return a.Vals[0]
		}
	}
	return otherwise
}

func (l line) has(key string) bool {
	return slices.ContainsFunc(l.args, func(a datadriven.CmdArg) bool { return a.Key == key })
}

func (l line) count(key, otherwise string) int {
	n, err := strconv.Atoi(l.one(key, otherwise))
	if err != nil {
		panic(err)
	}
	return n
}

// number reads mebibytes and returns bytes.
func (l line) number(key string) int64 {
	n, err := strconv.ParseInt(l.one(key, "0"), 10, 64)
	if err != nil {
		panic(err)
	}
	return n << 20
}

// TestReasonsAreTold holds the scripts to the list of codes: one that no script
// shows is one that nobody has read.
func TestReasonsAreTold(t *testing.T) {
	told := map[Code]bool{
		// Said by the inventory and the plugin, whose tests show them.
		CodeClaimMissing: true, CodeClassMissing: true, CodeDataElsewhere: true,
	}
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			for word := range strings.FieldsSeq(d.Expected) {
				told[Code(strings.TrimSuffix(word, ":"))] = true
			}
			return d.Expected
		})
	})
	for _, code := range []Code{
		CodeCacheNotSynced, CodeClaimMissing, CodeClassMissing, CodeVolumeAmbiguous, CodeVolumeUnverified,
		CodeVolumeMissing, CodeHomeUnknown, CodeHomeAmbiguous, CodeHomeOutOfService, CodeHomeNotReady, CodeHomeCordoned,
		CodeHomeReplaced, CodeHomesDiffer, CodeHomeShared, CodeHomeAway,
		CodeMemberNotFound, CodeReportsUnchecked, CodeNodeNotReported, CodeDataElsewhere, CodeMemberOnNode, CodeNoVolumeGroup, CodeNoSpace,
	} {
		if !told[code] {
			t.Errorf("no script in testdata shows reason %s", code)
		}
	}
}
