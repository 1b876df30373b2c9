package attack

import (
	"strings"

	"github.com/berth-dev/berth/pkg/innodb/position"
)

// Tallied counts the outcome of crashes that have something in common.
type Tallied struct {
	Of   string
	Runs int
	// Crashes after which a sound directory had a finding, before the server's
	// recovery and after it.
	AlarmsBefore, AlarmsAfter int
	// Positions before recovery against the server's.
	Equal, Lower, Higher, Unknown int
	Faults                        int
	// Redo is the longest part of the log that had to be read, in bytes.
	Redo uint64
	// Hung counts recoveries of the server that told the position and did not end.
	Hung int
}

// Tally counts by format, by kind of load, by binary log, and in all.
func Tally(runs []CrashRun) []Tallied {
	var order []string
	rows := map[string]*Tallied{}
	add := func(of string, r CrashRun) {
		if rows[of] == nil {
			rows[of] = &Tallied{Of: of}
			order = append(order, of)
		}
		rows[of].add(r)
	}
	for _, group := range []func(CrashRun) string{
		func(r CrashRun) string { return "format " + r.Format.Name },
		func(r CrashRun) string { return "load " + r.Shape.Name },
		func(r CrashRun) string {
			if r.Binlog {
				return "with binary log"
			}
			return "without binary log"
		},
		func(CrashRun) string { return "all" },
	} {
		for _, r := range runs {
			add(group(r), r)
		}
	}
	var all []Tallied
	for _, of := range order {
		all = append(all, *rows[of])
	}
	return all
}

func (t *Tallied) add(r CrashRun) {
	t.Runs++
	t.Faults += min(1, len(r.Faults))
	before, after := 0, 0
	for _, alarm := range r.Alarms {
		if strings.HasPrefix(alarm, "before") {
			before = 1
		} else {
			after = 1
		}
	}
	t.AlarmsBefore += before
	t.AlarmsAfter += after
	place := r.Before.Place
	switch {
	case place.Certainty == position.Unknown:
		t.Unknown++
	case place.Seqno == r.Server.Position.Seqno && place.UUID == r.Server.Position.UUID:
		t.Equal++
	case place.Seqno < r.Server.Position.Seqno:
		t.Lower++
	default:
		t.Higher++
	}
	t.Redo = max(t.Redo, uint64(place.End-place.Checkpoint))
	if r.Server.Hung {
		t.Hung++
	}
}
