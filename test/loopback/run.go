package loopback

import (
	"bytes"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Run is one run of a pod's container, as seen from outside: what galera-init
// says of itself is not asked.
type Run struct {
	Ordinal int
	Step    string // prepare or exec
	Mark    int    // of the member's journal where it begins
	Started time.Time
	Ended   time.Time // of the last of its processes; zero while one runs
	// Connected is when its server joined or began a group; zero when it never did.
	Connected    time.Time
	Bootstrapped bool
	// Attempt is the grant that it consumed; 0 when none.
	Attempt int64
	// Facts are the lines that tell how the member came to its state.
	Facts string
}

// overlaps says whether the run's server was connected at a moment.
func (r Run) overlaps(at time.Time) bool {
	return !r.Connected.IsZero() && r.Connected.Before(at) && (r.Ended.IsZero() || r.Ended.After(at))
}

// Concurrent lists the runs whose servers were connected when the server of a
// later one, from index since on, began a group of its own: what must never be.
func Concurrent(runs []Run, since int) [][2]Run {
	var found [][2]Run
	for i, r := range runs {
		if i < since || !r.Bootstrapped {
			continue
		}
		for j, other := range runs {
			if i != j && other.overlaps(r.Connected) {
				found = append(found, [2]Run{other, r})
			}
		}
	}
	return found
}

var (
	lineConnect = regexp.MustCompile(`WSREP: Connecting with bootstrap option: ([01])`)
	lineConsume = regexp.MustCompile(`"Grant consumed: bootstrapping" attempt=([0-9]+)`)
)

// facts are parts of lines that Run keeps.
var facts = []string{"WSREP_SST: [INFO]", "state transfer needed", "Connecting with bootstrap option", `] "Report"`}

// note takes a line of the run's output.
func (r *Run) note(at time.Time, line string) {
	if slices.ContainsFunc(facts, func(part string) bool { return strings.Contains(line, part) }) {
		r.Facts += line + "\n"
	}
	if m := lineConnect.FindStringSubmatch(line); m != nil {
		r.Connected, r.Bootstrapped = at, m[1] == "1"
	}
	if m := lineConsume.FindStringSubmatch(line); m != nil {
		r.Attempt, _ = strconv.ParseInt(m[1], 10, 64)
	}
}

// output is where one run's processes write.
type output struct {
	member *Member
	run    *Run
	line   []byte // the beginning of a line that is not complete
}

// Write keeps the output in the member's journal and notes its lines. One
// process's output comes from one goroutine.
func (o *output) Write(p []byte) (int, error) {
	now := time.Now()
	o.member.cluster.mutex.Lock()
	o.line = append(o.line, p...)
	for {
		line, rest, found := bytes.Cut(o.line, []byte{'\n'})
		if !found {
			break
		}
		o.run.note(now, string(line))
		o.line = rest
	}
	o.member.cluster.mutex.Unlock()
	return o.member.Journal.Write(p)
}
