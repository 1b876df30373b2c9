package datadir

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	uuidA = "b7d1a365-e6e4-11f1-b7a0-a61462d2a080"
	uuidB = "c0ffee00-e6e4-11f1-b7a0-a61462d2a080"
)

func TestParseGrastate(t *testing.T) {
	real := Position{uuidA, 42}
	for _, test := range []struct {
		name, content string
		want          Grastate
		malformed     bool
	}{
		{"as written", "# GALERA saved state\nversion: 2.1\nuuid:    " + uuidA + "\nseqno:   42\nsafe_to_bootstrap: 0\n", Grastate{GrastatePresent, real, false}, false},
		{"empty", "", Grastate{GrastateEmpty, Undefined, true}, false},
		{"last line without newline does not count", "version: 2.1\nuuid: " + uuidA + "\nseqno: 42\nsafe_to_bootstrap: 0", Grastate{GrastatePresent, real, true}, false},
		{"CRLF and padding", "version: 2.1\r\nuuid: " + uuidA + "   \r\nseqno: 42  \r\nsafe_to_bootstrap: 0\r\n      ", Grastate{GrastatePresent, real, false}, false},
		{"unknown keys, any order", "seqno: 42\ncert_index:\nuuid: " + uuidA + "\nversion: 2.1\nfuture: x\n", Grastate{GrastatePresent, real, true}, false},
		{"upper case", "uuid: " + strings.ToUpper(uuidA) + "\nseqno: 42\n", Grastate{GrastatePresent, real, true}, false},
		{"longer than 256 bytes", "version: 2.1\nuuid: " + uuidA + "\nseqno: 42\nsafe_to_bootstrap: 1\n" + strings.Repeat(" ", 400), Grastate{GrastatePresent, real, true}, false},
		{"zero uuid", "version: 2.1\nuuid: " + ZeroUUID + "\nseqno: -1\nsafe_to_bootstrap: 1\n", Grastate{GrastatePresent, Undefined, true}, false},
		{"binary", "version: 2.1\n\x00\x00\x00", Grastate{State: GrastateMalformed, Position: Undefined}, true},
		{"no such format", "hello\n", Grastate{State: GrastateMalformed, Position: Undefined}, true},
		{"bad uuid", "uuid: 1234\n", Grastate{State: GrastateMalformed, Position: Undefined}, true},
		{"bad seqno", "uuid: " + uuidA + "\nseqno: many\n", Grastate{State: GrastateMalformed, Position: Undefined}, true},
		{"too long", strings.Repeat("x: y\n", 20000), Grastate{State: GrastateMalformed, Position: Undefined}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := ParseGrastate([]byte(test.content))
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
			if (err != nil) != test.malformed {
				t.Errorf("error %v, expected one: %v", err, test.malformed)
			}
		})
	}
}

func TestWriteGrastateIsReadBack(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "grastate.dat"), []byte(strings.Repeat("x", 500)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := WriteGrastate(dir, Position{uuidA, 7}, true); err != nil {
		t.Fatal(err)
	}
	got, malformed, err := ReadGrastate(dir)
	if diff := cmp.Diff(Grastate{GrastatePresent, Position{uuidA, 7}, true}, got); diff != "" || malformed != nil || err != nil {
		t.Errorf("%v %v\n%s", malformed, err, diff)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("%d files after the write (%v), expected no temporary one", len(entries), err)
	}
}

func TestParseGvwstate(t *testing.T) {
	whole := "my_uuid: " + uuidA + "\n#vwbeg\nview_id: 3 " + uuidA + " 7\nbootstrap: 0\nmember: " + uuidA + " 0\nmember: " + uuidB + " 1\n#vwend\n"
	got, err := ParseGvwstate([]byte(whole))
	want := View{MyUUID: uuidA, ID: uuidA + " 7", Members: []string{uuidA, uuidB}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	for cut := range len(whole) - 2 {
		if _, err := ParseGvwstate([]byte(whole[:cut])); err == nil {
			t.Errorf("cut after %d bytes, expected an error", cut)
		}
	}
}

func TestParseRecovery(t *testing.T) {
	found := func(uuid string, seqno int64) Recovery { return Recovery{Found: true, Position: Position{uuid, seqno}} }
	damaged := func(line string) Recovery { return Recovery{Position: Undefined, Errors: []string{line}} }
	disturbed := func(line string) Recovery { return Recovery{Position: Undefined, Environment: line} }
	for _, test := range []struct {
		name, log string
		want      Recovery
	}{
		{"MariaDB", "2026-11-23  2:25:15 0 [Note] WSREP: Recovered position: " + uuidA + ":79171\n", found(uuidA, 79171)},
		{"wsrep_gtid_mode", "[Note] WSREP: Recovered position: " + uuidA + ":79171,1-2-3\n", found(uuidA, 79171)},
		{"mysqld_safe", "WSREP: Recovered position " + uuidA + ":5\n", found(uuidA, 5)},
		{"PXC 8", "0 [Note] [MY-000000] [WSREP] Recovered position: " + uuidA + ":5\n", found(uuidA, 5)},
		{"Codership MySQL", "Recovered position: " + uuidA + ":5/4/1/" + uuidB + "\n", found(uuidA, 5)},
		{"the last counts", "Recovered position: " + uuidB + ":5\nRecovered position: " + uuidA + ":6\n", found(uuidA, 6)},
		{"undefined", "WSREP: Recovered position: " + ZeroUUID + ":-1\n", found(ZeroUUID, -1)},
		{"wsrep is off", "[Note] WSREP: disabled, skipping position recovery\n", Recovery{Position: Undefined}},
		{"nothing", "", Recovery{Position: Undefined}},
		{"cut uuid", "Recovered position: b7d1a365-e6e4:7\n", Recovery{Position: Undefined}},
		{"MariaDB 10.4, no colour in the end", "\x1b[33m2026-01-01 1:02:03 0 [Note] WSREP: Recovered position: " + uuidA + ":7\x1b[0m\r\n", found(uuidA, 7)},
		{"PXC 8.4", "2026-10-06T01:44:30.673582Z 0 [Note] [MY-000000] [WSREP] Recovered position: " + uuidA + ":603\n", found(uuidA, 603)},
		{"MySQL's JSON log", `{"prio":3,"subsystem":"WSREP","msg":"Recovered position: ` + uuidA + `:5"}`, found(uuidA, 5)},
		{"upper case, tab", "wsrep: recovered POSITION:\t" + strings.ToUpper(uuidA) + ":5", found(uuidA, 5)},
		{"invalid UTF-8 around", "\xff\xfe Recovered position: " + uuidA + ":5\xc3\n\x80\n", found(uuidA, 5)},
		{"highest seqno", "Recovered position: " + uuidA + ":9223372036854775807\n", found(uuidA, math.MaxInt64)},
		{"seqno too large", "Recovered position: " + uuidA + ":9223372036854775808\n", Recovery{Position: Undefined}},
		{"seqno below -1", "Recovered position: " + uuidA + ":-2\n", Recovery{Position: Undefined}},
		{"given at startup", "WSREP: Position " + uuidA + ":5 given at startup, skipping position recovery\n", Recovery{Position: Undefined}},
		{"heuristic", "[Note] Heuristic crash recovery mode\n", Recovery{Position: Undefined, Heuristic: true}},
		{"prepared", "[ERROR] Found 1 prepared transactions! It means that server was not shut down properly last time and critical recovery information was manually deleted after a crash. You have to start server with --tc-heuristic-recover switch to commit or rollback pending transactions.", Recovery{Position: Undefined, Prepared: true}},
		{"prepared, MySQL", "[ERROR] [MY-010107] [Server] Found 2 prepared transactions! It means that mysqld was not shut down properly", Recovery{Position: Undefined, Prepared: true}},
		{"prepared, by a person's XA", "[Warning] Found 1 prepared XA transactions\n[Note] WSREP: Recovered position: " + uuidA + ":5\n", Recovery{Found: true, Position: Position{uuidA, 5}, Prepared: true}},
		{"prepared by the cluster", "[Note] InnoDB: Found 3 prepared transaction(s) in InnoDB\n", Recovery{Position: Undefined}},
		{"engine error", "[ERROR] InnoDB: Unable to apply log to corrupted page 200\n", damaged("[ERROR] InnoDB: Unable to apply log to corrupted page 200")},
		{"engine error, MySQL", "0 [ERROR] [MY-012592] [InnoDB] Operating system error number 5\n", damaged("0 [ERROR] [MY-012592] [InnoDB] Operating system error number 5")},
		{"a table that is gone", "[Warning] InnoDB: Ignoring tablespace for d.t because it could not be opened.\n", damaged("[Warning] InnoDB: Ignoring tablespace for d.t because it could not be opened.")},
		{"log from an older copy", "[Warning] InnoDB: Page [page id: space=0, page number=5] log sequence number 99 is in the future! Current system log sequence number 7.", damaged("[Warning] InnoDB: Page [page id: space=0, page number=5] log sequence number 99 is in the future! Current system log sequence number 7.")},
		{"assertion", "InnoDB: Assertion failure in file log0recv.cc line 1\n", damaged("InnoDB: Assertion failure in file log0recv.cc line 1")},
		{"torn page, repaired", "[Note] InnoDB: Recovered page [page id: space=5, page number=3] to './d/t.ibd' from the doublewrite buffer.\n", Recovery{Position: Undefined}},
		{"leftover of an ALTER", "[Warning] InnoDB: Ignoring tablespace for d.#sql-alter-1-2 because it could not be opened.\n", Recovery{Position: Undefined}},
		{"discarded tablespace", "[Warning] InnoDB: Ignoring tablespace for d.t because the DISCARD flag is set\n", Recovery{Position: Undefined}},
		{"locked", "[ERROR] InnoDB: Unable to lock ./ibdata1 error: 11\n", disturbed("[ERROR] InnoDB: Unable to lock ./ibdata1 error: 11")},
		{"no space", "[ERROR] x: Error writing file './tc.log' (Errcode: 28 \"No space left on device\")", disturbed("[ERROR] x: Error writing file './tc.log' (Errcode: 28 \"No space left on device\")")},
		{"read-only mount", "[ERROR] mariadbd: Can't create/write to file './ddl_recovery.log' (Errcode: 30 \"Read-only file system\")", disturbed("[ERROR] mariadbd: Can't create/write to file './ddl_recovery.log' (Errcode: 30 \"Read-only file system\")")},
		{"as root", "[ERROR] Please consult the MariaDB Documentation to find out how to run mariadbd as root!", disturbed("[ERROR] Please consult the MariaDB Documentation to find out how to run mariadbd as root!")},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, ParseRecovery(test.log)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseLineage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lineage.json")
	want := Lineage{Version: 1, Namespace: "n", Cluster: "c", Ordinal: 2, Epochs: []Epoch{{"a", 2, Position{uuidA, 0}}, {"b", 3, Position{uuidA, 9}}}, FullTransfer: true}
	if err := WriteLineage(path, want); err != nil {
		t.Fatal(err)
	}
	got, err := ReadLineage(path)
	if diff := cmp.Diff(&want, got); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	if got, err := ReadLineage(path + ".missing"); got != nil || err != nil {
		t.Errorf("a missing lineage is %v, %v", got, err)
	}
	epoch := func(attempt string) string {
		return `{"id":"x","attempt":` + attempt + `,"begin":{"uuid":"` + uuidA + `","seqno":1}}`
	}
	for name, content := range map[string]string{
		"empty": "", "cut": `{"version": 1, "name`, "newer": `{"version": 2}`, "unknown field": `{"version": 1, "x": 1}`,
		"no epoch":        `{"version":1,"namespace":"n","cluster":"c","ordinal":0,"epochs":[]}`,
		"no attempt":      `{"version":1,"namespace":"n","cluster":"c","ordinal":0,"epochs":[` + epoch("0") + `]}`,
		"attempts shrink": `{"version":1,"namespace":"n","cluster":"c","ordinal":0,"epochs":[` + epoch("5") + "," + epoch("4") + `]}`,
		"twice":           `{"version":1,"namespace":"n","cluster":"c","ordinal":0,"epochs":[` + epoch("5") + `]}{}`,
	} {
		if _, err := ParseLineage([]byte(content)); err == nil {
			t.Errorf("%s: expected an error, for it may be the only proof of data", name)
		}
	}
}

func TestEpochs(t *testing.T) {
	e := func(id string) Epoch { return Epoch{ID: id} }
	a := []Epoch{e("1"), e("2")}
	ahead := Descend(a, e("3"))
	sibling := Descend(a, e("other 3"))
	for _, test := range []struct {
		name string
		a, b []Epoch
		want bool
	}{
		{"same", a, a, true}, {"one behind", a, ahead, true}, {"one ahead", ahead, a, true},
		{"siblings", ahead, sibling, false}, {"no lineage", nil, a, true}, {"strangers", a, []Epoch{e("9")}, false},
	} {
		if got := Related(test.a, test.b); got != test.want {
			t.Errorf("%s: related %v", test.name, got)
		}
	}
	if again := Descend(ahead, e("3")); len(again) != 3 {
		t.Errorf("%d epochs after joining the same one again, expected 3", len(again))
	}
	long := a
	for i := range 40 {
		long = Descend(long, e(fmt.Sprint("n", i)))
	}
	if len(long) != keptEpochs || long[keptEpochs-1].ID != "n39" || len(a) != 2 {
		t.Errorf("%d epochs kept, the newest %v", len(long), long[len(long)-1])
	}
}

func TestMemoryThatMakesNoSense(t *testing.T) {
	path := filepath.Join(t.TempDir(), "committed.json")
	if err := WriteCommitted(path, Position{uuidA, 7}); err != nil {
		t.Fatal(err)
	}
	if p, err := ReadCommitted(path); err != nil || p == nil || *p != (Position{uuidA, 7}) {
		t.Errorf("%v, %v", p, err)
	}
	for name, content := range map[string]string{"empty": "", "cut": `{"uuid":`, "no uuid": `{"seqno":4}`, "undefined": `{"uuid":"` + uuidA + `","seqno":-1}`} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if p, err := ReadCommitted(path); p != nil || err != nil {
			t.Errorf("%s: %v, %v; what helps and proves nothing must stop nobody", name, p, err)
		}
	}
}

func FuzzParseGrastate(f *testing.F) {
	f.Add([]byte("version: 2.1\nuuid: " + uuidA + "\nseqno: 42\nsafe_to_bootstrap: 0\n"))
	f.Add([]byte("uuid: x\x00"))
	f.Fuzz(func(t *testing.T, content []byte) {
		g, err := ParseGrastate(content)
		if (err != nil) != (g.State == GrastateMalformed) {
			t.Errorf("state %s with error %v", g.State, err)
		}
		if err != nil && g.KnowsHistory() {
			t.Errorf("a malformed file gives history %s", g.UUID)
		}
		if g.IsReal() {
			if _, err := ParsePosition(g.Position.String()); err != nil {
				t.Error(err)
			}
		}
	})
}

func FuzzParseGvwstate(f *testing.F) {
	f.Add([]byte("my_uuid: " + uuidA + "\n#vwbeg\nview_id: 3 " + uuidA + " 7\nbootstrap: 0\nmember: " + uuidA + " 0\n#vwend\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		if v, err := ParseGvwstate(content); err == nil && len(v.Members) == 0 {
			t.Error("a view without members")
		}
	})
}

func FuzzParseRecovery(f *testing.F) {
	f.Add("WSREP: Recovered position: " + uuidA + ":79171,1-2-3\n")
	f.Fuzz(func(t *testing.T, log string) {
		if r := ParseRecovery(log); !r.Found && r.Position != Undefined {
			t.Errorf("position %s without being found", r.Position)
		}
	})
}

func FuzzParseLineage(f *testing.F) {
	f.Add([]byte(`{"version":1,"namespace":"n","cluster":"c","ordinal":0,"epochs":[{"id":"x","attempt":1,"begin":{"uuid":"` + uuidA + `","seqno":1}}]}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		if l, err := ParseLineage(content); err == nil && (l.Cluster == "" || l.Newest().Attempt < 1) {
			t.Errorf("accepted %+v", l)
		}
	})
}

func TestAssess(t *testing.T) {
	owner := Owner{"n", "c", 1}
	lived := func(attempt int64, begin int64, full bool) *Lineage {
		return &Lineage{Namespace: "n", Cluster: "c", Ordinal: 1, Epochs: []Epoch{{"x", attempt, Position{uuidA, begin}}}, FullTransfer: full}
	}
	ours, joined, fresh := lived(2, 3, false), lived(2, 3, true), lived(1, 0, false)
	saved := func(uuid string, seqno int64) Grastate {
		return Grastate{GrastatePresent, Position{uuid, seqno}, false}
	}
	recovered := func(uuid string, seqno int64) *Recovery {
		return &Recovery{Found: true, Position: Position{uuid, seqno}}
	}
	fatal := []Finding{{File: "ibdata1", Fatal: true}}
	for _, test := range []struct {
		name     string
		evidence Evidence
		recovery *Recovery
		findings []Finding
		class    Class
		position Position
	}{
		{"stopped in order", Evidence{Entries: 9, Grastate: saved(uuidA, 5), Lineage: ours}, nil, nil, Clean, Position{uuidA, 5}},
		{"killed while paused", Evidence{Entries: 9, Grastate: saved(uuidA, 5), Traces: []string{"ibtmp1"}}, recovered(uuidA, 4), nil, Crashed, Position{uuidA, 4}},
		{"killed", Evidence{Entries: 9, Grastate: saved(uuidA, -1)}, recovered(uuidA, 4), nil, Crashed, Position{uuidA, 4}},
		{"killed before the first commit", Evidence{Entries: 9, Grastate: saved(uuidA, -1), Lineage: fresh}, recovered(ZeroUUID, -1), nil, Crashed, Position{uuidA, 0}},
		{"position lost", Evidence{Entries: 9, Grastate: saved(uuidA, -1), Lineage: ours}, recovered(ZeroUUID, -1), nil, Corrupt, Position{uuidA, -1}},
		{"two histories", Evidence{Entries: 9, Grastate: saved(uuidA, -1)}, recovered(uuidB, 4), nil, Corrupt, Position{uuidB, 4}},
		{"in DDL", Evidence{Entries: 9, Grastate: saved(ZeroUUID, -1)}, recovered(uuidA, 4), nil, UnsafeDDL, Position{uuidA, 4}},
		{"in DDL, after a full transfer", Evidence{Entries: 9, Grastate: saved(ZeroUUID, -1), Lineage: joined}, recovered(uuidA, 4), nil, UnsafeDDL, Position{uuidA, 4}},
		{"SST marker", Evidence{Entries: 9, Grastate: saved(uuidA, 5), Markers: []string{"sst_in_progress"}}, nil, nil, SSTVictim, Undefined},
		{"donor that was killed", Evidence{Entries: 9, Grastate: saved(uuidA, 5), Markers: []string{"wsrep_sst.pid", "rsync_sst_complete"}}, recovered(uuidA, 7), nil, Crashed, Position{uuidA, 7}},
		{"joiner that was killed before it wrote more", Evidence{Entries: 9, Grastate: saved(ZeroUUID, -1), Markers: []string{"wsrep_sst.pid"}}, nil, nil, SSTVictim, Undefined},
		{"full transfer cut", Evidence{Entries: 9, Grastate: Grastate{GrastateEmpty, Undefined, true}, Lineage: joined}, nil, nil, SSTVictim, Undefined},
		{"empty", Evidence{Grastate: Grastate{GrastateMissing, Undefined, true}, Lineage: ours}, nil, nil, Empty, Undefined},
		{"installation not finished", Evidence{Entries: 9, Installing: true, Grastate: saved(uuidA, 0)}, nil, nil, Empty, Undefined},
		{"another member's", Evidence{Entries: 9, Grastate: saved(uuidA, 5), Lineage: &Lineage{Namespace: "n", Cluster: "c", Ordinal: 2}}, nil, nil, Foreign, Undefined},
		{"no cluster's", Evidence{Entries: 9, Grastate: Grastate{GrastateMissing, Undefined, true}}, recovered(ZeroUUID, -1), nil, Foreign, Undefined},
		{"bad file", Evidence{Entries: 9, Grastate: saved(uuidA, 5)}, nil, fatal, Corrupt, Position{uuidA, 5}},
		{"what a server that runs mends", Evidence{Entries: 9, Grastate: saved(uuidA, 5)}, nil, []Finding{{File: "aria_log_control"}}, Clean, Position{uuidA, 5}},
		{"exit 0 without a position", Evidence{Entries: 9, Grastate: saved(uuidA, -1)}, &Recovery{Position: Undefined}, nil, Corrupt, Position{uuidA, -1}},
		{"engine error", Evidence{Entries: 9, Grastate: saved(uuidA, -1)}, &Recovery{Found: true, Position: Position{uuidA, 4}, Errors: []string{"x"}}, nil, Corrupt, Position{uuidA, 4}},
		{"heuristic", Evidence{Entries: 9, Grastate: saved(uuidA, -1)}, &Recovery{Found: true, Position: Position{uuidA, 4}, Heuristic: true}, nil, Tainted, Position{uuidA, 4}},
		{"prepared", Evidence{Entries: 9, Grastate: saved(uuidA, -1)}, &Recovery{Position: Undefined, Prepared: true}, nil, Tainted, Undefined},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := test.evidence.Assess(owner, Undefined, test.recovery, test.findings)
			if got.Class != test.class || got.Position != test.position {
				t.Errorf("%s at %s, expected %s at %s", got.Class, got.Position, test.class, test.position)
			}
			if (got.Class == Corrupt || got.Class == Foreign || got.Class == Tainted) && len(got.Findings) == 0 {
				t.Error("no finding says why")
			}
		})
	}
}

// TestNativePosition compares with what was read without the server.
func TestNativePosition(t *testing.T) {
	killed := Evidence{Entries: 9, Grastate: Grastate{GrastatePresent, Position{uuidA, -1}, false}}
	stopped := Evidence{Entries: 9, Grastate: Grastate{GrastatePresent, Position{uuidA, 7}, false}}
	at := func(seqno int64) *Recovery { return &Recovery{Found: true, Position: Position{uuidA, seqno}} }
	for _, test := range []struct {
		name     string
		evidence Evidence
		native   Position
		recovery *Recovery
		class    Class
		position Position
	}{
		{"equal", killed, Position{uuidA, 4}, at(4), Crashed, Position{uuidA, 4}},
		{"recovery commits prepared ones", killed, Position{uuidA, 4}, at(6), Crashed, Position{uuidA, 6}},
		{"recovery is lower", killed, Position{uuidA, 9}, at(4), Corrupt, Position{uuidA, 9}},
		{"another history", killed, Position{uuidB, 4}, at(4), Corrupt, Position{uuidA, 4}},
		{"not read", killed, Undefined, at(4), Crashed, Position{uuidA, 4}},
		{"stopped in order", stopped, Position{uuidA, 7}, nil, Clean, Position{uuidA, 7}},
		{"grastate.dat is behind", stopped, Position{uuidA, 9}, nil, Corrupt, Position{uuidA, 9}},
		{"prepared", killed, Position{uuidA, 4}, &Recovery{Position: Undefined, Prepared: true}, Tainted, Position{uuidA, 4}},
		{"recovery fails", killed, Position{uuidA, 4}, &Recovery{Position: Undefined}, Corrupt, Position{uuidA, 4}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := test.evidence.Assess(Owner{"n", "c", 1}, test.native, test.recovery, nil)
			if got.Class != test.class || got.Position != test.position {
				t.Errorf("%s at %s, expected %s at %s: %v", got.Class, got.Position, test.class, test.position, got.Findings)
			}
		})
	}
}
