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
// the API server "now" unless it says otherwise.
func TestDecide(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		var facts Facts
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "facts":
				facts = parseFacts(t, d.Input)
				return ""
			case "decide":
				return tell(Decide(parseRequest(t, d), facts))
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
		case "api-server":
			f.APIServer = l.subject
		case "node":
			f.Nodes = append(f.Nodes, parseNode(t, l))
		case "volume":
			f.Volumes = append(f.Volumes, parseVolume(l))
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
	return f
}

func parseNode(t *testing.T, l line) Node {
	n := Node{Name: l.subject, Ready: true, Reported: true, Pools: map[string]Pool{}}
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
		case "storageless":
			n.Storageless = true
		case "silent":
			n.Reported = false
		case "free":
			free, err := strconv.ParseInt(a.Vals[1], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			n.Pools[a.Vals[0]] = Pool{VG: l.one("vg", ""), Free: free << 20}
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
		Claim:     ClaimName{"shop", l.subject},
		ClaimUID:  l.one("uid", ""),
		Member:    parseMember(member),
		APIServer: l.one("api-server", "now"),
	}
	v.Replicas, _ = strconv.Atoi(replicas)
	if i := slices.IndexFunc(l.args, func(a datadriven.CmdArg) bool { return a.Key == "on" }); i >= 0 {
		v.Nodes = l.args[i].Vals
	}
	return v
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
func tell(v Verdict) string {
	var b strings.Builder
	switch v.Action {
	case Pin:
		fmt.Fprintf(&b, "pin %s\n", v.Node)
	case Refuse:
		fmt.Fprintf(&b, "refuse %s\n  %s\n  waits for %s\n", v.Reason.Code, v.Reason.Text, v.Reason.Unblock)
	case Allow:
		b.WriteString("allow\n")
	}
	names := make([]string, 0, len(v.Nodes))
	for name := range v.Nodes {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if j := v.Nodes[name]; j.Fits {
			fmt.Fprintf(&b, "  %s fits, %d MiB free after\n", name, j.FreeAfter>>20)
		} else {
			fmt.Fprintf(&b, "  %s %s: %s\n", name, j.Reason.Code, j.Reason.Text)
		}
	}
	for _, c := range v.Blank {
		fmt.Fprintf(&b, "  blank %s\n", c.ClaimName)
	}
	for _, m := range v.Neighbours {
		fmt.Fprintf(&b, "  neighbour %s\n", m)
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
		CodeClaimMissing: true, CodeClassMissing: true, CodeNodeUnknown: true,
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
		CodeVolumeMissing, CodeHomeUnknown, CodeHomeAmbiguous, CodeHomeNotReady, CodeHomeCordoned, CodeHomesDiffer,
		CodeMemberNotFound, CodeNodeNotReported, CodeNodeUnknown, CodeMemberOnNode, CodeNoVolumeGroup, CodeNoSpace,
	} {
		if !told[code] {
			t.Errorf("no script in testdata shows reason %s", code)
		}
	}
}
