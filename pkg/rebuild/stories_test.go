package rebuild

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// userReports are T1 to T40, collected from the issue trackers of others; rows
// those of the test matrix that a pure decision can show.
const userReports = 40

var decisionRows = []int{1, 2, 3, 4, 5, 6, 8, 11, 17, 19, 20, 22, 23, 24, 31, 33, 35, 38}

// elsewhere are user reports and rows that do not concern the decision, or not
// only what a script can tell, each with a test that plays it.
var elsewhere = map[string]string{
	"T13":    "pkg/datadir: TestParseGrastate", // grastate.dat missing or empty
	"T14":    "pkg/datadir: TestParseRecovery",
	"T22":    "pkg/datadir: TestParseGvwstate",                  // zero length
	"T23":    "pkg/datadir: TestParseRecovery",                  // where the log goes
	"T33":    "pkg/member: TestRecoverThatDoesNotEnd",           // prepare recovers, and no probe looks at it
	"T34":    "pkg/datadir: TestParseRecovery",                  // exit 0 without a position
	"T35":    "pkg/member: TestDecisionWithinASecond",           // watched, not polled
	"T38":    "pkg/member: TestDisturbedRecoveryDecidesNothing", // a wrong configuration is not the data's fault
	"row 31": "pkg/rebuild: TestClocksDoNotMatter",
}

// TestEveryReportHasItsStory: a user report that concerns a decision is named in
// the head of a script, all others in a test that exists.
func TestEveryReportHasItsStory(t *testing.T) {
	told := map[string][]string{}
	scripts, err := filepath.Glob("testdata/*")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("%v: %v", scripts, err)
	}
	for _, path := range scripts {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range named(head(string(content))) {
			told[name] = append(told[name], path)
		}
	}
	var wanted []string
	for i := range userReports {
		wanted = append(wanted, fmt.Sprintf("T%d", i+1))
	}
	for _, row := range decisionRows {
		wanted = append(wanted, fmt.Sprintf("row %d", row))
	}
	for _, name := range wanted {
		where, out := elsewhere[name]
		switch {
		case out && !testExists(t, where):
			t.Errorf("%s: there is no test %s", name, where)
		case !out && len(told[name]) == 0:
			t.Errorf("no script in testdata tells %s", name)
		}
	}
	for name := range elsewhere {
		if !slices.Contains(wanted, name) {
			t.Errorf("%s is not one of the stories", name)
		}
	}
}

// head is the comment with which a script begins.
func head(content string) string {
	var lines []string
	for _, line := range strings.Split(content, "\n") {
		if !strings.HasPrefix(line, "#") {
			break
		}
		lines = append(lines, strings.TrimPrefix(line, "# "))
	}
	return strings.Join(lines, " ")
}

var (
	reportName = regexp.MustCompile(`\bT\d+\b`)
	rowNames   = regexp.MustCompile(`\b[Rr]ows? (\d+(?:(?:, | and | to )\d+)*)`)
)

// named lists the stories that a head names: "T1, T3, rows 1, 2 and 4 to 6".
func named(head string) []string {
	names := reportName.FindAllString(head, -1)
	for _, match := range rowNames.FindAllStringSubmatch(head, -1) {
		last, through := 0, false
		for _, word := range strings.FieldsFunc(match[1], func(r rune) bool { return r == ' ' || r == ',' }) {
			if n, err := strconv.Atoi(word); err == nil {
				for through && last+1 < n {
					last++
					names = append(names, fmt.Sprintf("row %d", last))
				}
				names, last = append(names, fmt.Sprintf("row %d", n)), n
			}
			through = word == "to"
		}
	}
	return names
}

// testExists looks for "package directory: function" in the sources.
func testExists(t *testing.T, where string) bool {
	t.Helper()
	dir, function, _ := strings.Cut(where, ": ")
	files, err := filepath.Glob(filepath.Join("..", "..", dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(files, func(file string) bool {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(string(content), "func "+function+"(")
	})
}

// TestClocksDoNotMatter: when a member was last seen is for people. A clock that
// is wrong by years changes no verdict.
func TestClocksDoNotMatter(t *testing.T) {
	c := Cluster{Replicas: 3}
	for ordinal, seqno := range []int64{7, 9, 8} {
		r := Report{Ordinal: ordinal, Pod: fmt.Sprintf("galera-%d", ordinal), State: Waiting, Class: "CRASHED"}
		r.Position.UUID, r.Position.Seqno = fakeUUID("a"), seqno
		c.Put(r)
	}
	want := fmt.Sprint(Decide(c))
	if v := Decide(c); v.Action != Bootstrap || v.Member != 1 {
		t.Fatalf("%+v, expected member 1 to bootstrap", v)
	}
	for _, seen := range []string{"", "1970-01-01T00:00:00Z", "2099-12-31T23:59:59Z", "not a time"} {
		for i := range c.Members {
			skewed := c.Clone()
			skewed.Members[i].Seen = seen
			if got := fmt.Sprint(Decide(skewed)); got != want {
				t.Errorf("member %d last seen %q: %s, expected %s", i, seen, got, want)
			}
		}
	}
}

var (
	patchCommand = regexp.MustCompile(`kubectl patch galeracluster galera -n n --type=merge -p '(.*?)'`)
	codeOf       = regexp.MustCompile(`(?m)^\t\w+ +Code = "(\w+)"`)
)

// tryOut does what a verdict says would unblock it: a person at night copies the
// command as it is.
func (s *script) tryOut(v Verdict) {
	if (v.Action == Wait || v.Action == Refuse) && v.Reason.Unblock == "" {
		s.T.Errorf("%s: nothing says what unblocks it", v.Reason)
	}
	if len(s.object.Answering)+len(s.object.Outside) > 0 {
		return // no override goes before a server that runs
	}
	for _, reason := range append([]Reason{v.Reason}, v.Notes...) {
		for _, command := range patchCommand.FindAllStringSubmatch(reason.Unblock, -1) {
			var patch struct{ Spec Spec }
			if err := json.Unmarshal([]byte(command[1]), &patch); err != nil {
				s.T.Fatalf("%s: %v", command[1], err)
			}
			c := s.object.Clone()
			c.Spec.Overrides = patch.Spec.Overrides // a merge replaces the list
			for _, l := range patch.Spec.Lost {
				r, found := c.Member(l.Member)
				stray := slices.ContainsFunc(c.Strays, func(stray Stray) bool { return stray.Volume == l.Volume && stray.Ordinal == l.Member })
				if !stray && (!found || r.Volume != l.Volume) {
					s.T.Errorf("no member has the volume that is declared lost by %s", command[1])
				}
			}
			if after := Decide(c); len(patch.Spec.Overrides) > 0 && (after.Action != Bootstrap || after.Rule != ByOverride) {
				s.T.Errorf("after %s the verdict is %s, with %v", command[1], after.Reason, after.Notes)
			}
		}
	}
}

// TestEveryCodeIsDocumented: docs/states.md has a line for each code, with what
// unblocks it.
func TestEveryCodeIsDocumented(t *testing.T) {
	source, err := os.ReadFile("reason.go")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile("../../docs/states.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(doc), "## 4 Decision")
	section, _, _ = strings.Cut(section, "## 5 ")
	codes := codeOf.FindAllStringSubmatch(string(source), -1)
	if len(codes) < 20 {
		t.Fatalf("%d codes in reason.go: this test no longer finds them", len(codes))
	}
	documented := regexp.MustCompile(`(?m)^\| `+"`(\\w+)`"+` \| [^|]+ \| [^|]+ \| [^|]+ \|$`).FindAllStringSubmatch(section, -1)
	for _, code := range codes {
		if !slices.ContainsFunc(documented, func(d []string) bool { return d[1] == code[1] }) {
			t.Errorf("docs/states.md has no line for %s", code[1])
		}
	}
	for _, d := range documented {
		if !slices.ContainsFunc(codes, func(code []string) bool { return code[1] == d[1] }) {
			t.Errorf("docs/states.md documents %s, which no code says", d[1])
		}
	}
}
