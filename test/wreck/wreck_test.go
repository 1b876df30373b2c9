package wreck

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/pkg/datadir"
	"github.com/berth-dev/berth/pkg/innodb/position"
	"github.com/berth-dev/berth/pkg/rebuild"
	"github.com/berth-dev/berth/pkg/sidecar"
	"github.com/berth-dev/berth/pkg/wsrep"
)

// write inserts rows until the context ends, and answers how many were acknowledged.
func write(ctx context.Context, db *sql.DB) (acknowledged int64) {
	for ctx.Err() == nil {
		if _, err := db.Exec("INSERT INTO d.t (pad) VALUES (REPEAT('x', 300))"); err != nil {
			return acknowledged
		}
		acknowledged++
	}
	return acknowledged
}

func (s *ship) exec(db *sql.DB, statements ...string) {
	s.yard.t.Helper()
	for _, statement := range statements {
		if _, err := db.Exec(statement); err != nil {
			s.yard.t.Fatalf("%s: %s: %v\n%s", s.name, statement, err, s.log.String())
		}
	}
}

// table makes a table of so many rows.
func (s *ship) table(db *sql.DB, rows int) {
	s.yard.t.Helper()
	s.exec(db, "CREATE DATABASE IF NOT EXISTS d", "CREATE TABLE d.t (id INT AUTO_INCREMENT PRIMARY KEY, pad VARCHAR(400)) ENGINE=InnoDB",
		fmt.Sprintf("INSERT INTO d.t (pad) SELECT REPEAT('y', 300) FROM d.seq_1_to_%d", rows))
}

func committed(t *testing.T, db *sql.DB) int64 {
	t.Helper()
	var name string
	var seqno int64
	if err := db.QueryRow("SHOW STATUS LIKE 'wsrep_last_committed'").Scan(&name, &seqno); err != nil {
		t.Fatal(err)
	}
	return seqno
}

func (s *ship) expect(class datadir.Class, source string, low, high int64) datadir.Assessment {
	s.yard.t.Helper()
	a := s.assess()
	if a.Class != class || a.Source != source {
		s.yard.t.Errorf("%s: %s from %s, expected %s from %s: %v", s.name, a.Class, a.Source, class, source, a.Findings)
	}
	if a.Position.Seqno < low || a.Position.Seqno > high {
		s.yard.t.Errorf("%s: at %s, expected a seqno from %d to %d", s.name, a.Position, low, high)
	}
	return a
}

func TestStoppedInOrder(t *testing.T) {
	y := newYard(t)
	s := y.ship("clean", 1)
	db := s.launch()
	s.table(db, 100)
	at := committed(t, db)
	s.stop()
	s.lineage(datadir.Lineage{})
	s.expect(datadir.Clean, datadir.FromGrastate, at, at)

	y.run("copied from another member", func(t *testing.T) {
		other := y.ship("copied", 2)
		copyTree(t, s.volume.Data, other.volume.Data)
		other.lineage(datadir.Lineage{Namespace: "n", Cluster: "galera", Ordinal: 1})
		other.expect(datadir.Foreign, datadir.FromNowhere, -1, -1)
	})
	y.run("another cluster's data under this member's lineage", func(t *testing.T) {
		other := y.ship("swapped", 3)
		copyTree(t, s.volume.Data, other.volume.Data)
		other.lineage(datadir.Lineage{Epochs: []datadir.Epoch{{ID: "x", Attempt: 4, Begin: datadir.Position{UUID: "99999999-2222-3333-4444-555555555555", Seqno: 7}}}})
		other.expect(datadir.Foreign, datadir.FromGrastate, at, at)
	})
	y.run("emptied", func(t *testing.T) {
		other := y.ship("emptied", 4)
		other.lineage(datadir.Lineage{})
		other.expect(datadir.Empty, datadir.FromNowhere, -1, -1)
	})
	y.run("system tablespace gone", func(t *testing.T) {
		other := y.ship("holed", 5)
		copyTree(t, s.volume.Data, other.volume.Data)
		for _, name := range []string{"ibdata1", "ib_logfile0"} { // the server would make new ones and call that recovery
			if err := os.Remove(filepath.Join(other.volume.Data, name)); err != nil {
				t.Fatal(err)
			}
		}
		other.expect(datadir.Corrupt, datadir.FromGrastate, at, at)
	})
}

func TestKilledInCommit(t *testing.T) {
	s := newYard(t).ship("killed", 1)
	db := s.launch()
	s.table(db, 100)
	before := committed(t, db)
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan int64)
	go func() { result <- write(ctx, db) }()
	time.Sleep(700 * time.Millisecond) // of commits
	s.kill()
	cancel()
	acknowledged := <-result
	s.lineage(datadir.Lineage{})
	// One transaction can be committed and not acknowledged.
	a := s.expect(datadir.Crashed, datadir.FromRecovery, before+acknowledged, before+acknowledged+1)
	if again := s.assess(); again.Position != a.Position || again.Class != a.Class {
		t.Errorf("a second recovery says %s at %s", again.Class, again.Position)
	}
	if acknowledged < 10 {
		t.Errorf("%d commits only: the kill was not among commits", acknowledged)
	}
}

// TestKilledWhilePaused: a paused provider writes its seqno into grastate.dat,
// so that the directory looks as if its server had been stopped in order.
func TestKilledWhilePaused(t *testing.T) {
	s := newYard(t).ship("paused", 1)
	db := s.launch()
	s.table(db, 100)
	db.SetMaxOpenConns(1)
	s.exec(db, "FLUSH TABLES WITH READ LOCK")
	at := committed(t, db)
	s.kill()
	if g, _, err := datadir.ReadGrastate(s.volume.Data); err != nil || !g.IsReal() {
		t.Fatalf("grastate.dat %+v, %v: the test no longer makes a killed server look stopped", g, err)
	}
	s.expect(datadir.Crashed, datadir.FromRecovery, at, at)
}

func TestKilledInALTER(t *testing.T) {
	s := newYard(t).ship("ddl", 1)
	db := s.launch()
	s.table(db, 40000)
	at := committed(t, db)
	go db.Exec("ALTER TABLE d.t ADD COLUMN c INT DEFAULT 7 FIRST, FORCE, ALGORITHM=COPY")
	s.yard.eventually("the ALTER marks the state unsafe", func() bool {
		g, _, err := datadir.ReadGrastate(s.volume.Data)
		return err == nil && g.State == datadir.GrastatePresent && !g.KnowsHistory()
	})
	s.kill()
	s.lineage(datadir.Lineage{})
	s.expect(datadir.UnsafeDDL, datadir.FromRecovery, at, at)
}

// TestPreparedXA: MariaDB refuses XA on a member; a server that was started
// without Galera by a person can leave one.
func TestPreparedXA(t *testing.T) {
	s := newYard(t).ship("xa", 1)
	db := s.launch()
	s.table(db, 100)
	at := committed(t, db)
	s.stop()
	s.start("--wsrep-on=OFF")
	s.yard.eventually("the server takes statements", func() bool { return db.Ping() == nil })
	db.SetMaxOpenConns(1)
	s.exec(db, "XA START 'x'", "INSERT INTO d.t (pad) VALUES ('prepared')", "XA END 'x'", "XA PREPARE 'x'")
	s.kill()
	s.lineage(datadir.Lineage{})
	a := s.expect(datadir.Tainted, datadir.FromRecovery, at, at)
	if len(a.Findings) == 0 || a.Findings[0].Do == "" {
		t.Errorf("findings %v say no next step", a.Findings)
	}
}

// TestKilledInTransfer kills joiners at several moments of a full transfer, and
// beside one that only looks like it.
func TestKilledInTransfer(t *testing.T) {
	for _, method := range []string{"rsync", "mariabackup"} {
		t.Run(method, func(t *testing.T) {
			y := newYard(t)
			y.sst = method
			donor := y.ship("donor", 1)
			db := donor.launch()
			donor.table(db, 30000)
			for i, moment := range []struct {
				name  string
				comes func(s *ship) bool
			}{
				{"at the first marker", func(s *ship) bool { return s.exists("sst_in_progress") || s.exists("wsrep_sst.pid") }},
				{"with the first data", func(s *ship) bool {
					return s.exists("ibdata1") || s.exists(".sst/ibdata1") || s.exists(".sst/ibdata1.qp")
				}},
				{"with the table", func(s *ship) bool { return s.exists("d/t.ibd") || s.exists(".sst/d/t.ibd") }},
			} {
				if method != "rsync" && i == 0 {
					continue // a script that has not begun leaves the same
				}
				y.run(moment.name, func(t *testing.T) {
					joiner := y.ship(fmt.Sprintf("joiner%d", i), 2+i)
					joiner.lineage(datadir.Lineage{FullTransfer: true})
					joiner.join(donor)
					y.eventually(moment.name, func() bool { return moment.comes(joiner) })
					joiner.kill()
					joiner.expect(datadir.SSTVictim, datadir.FromNowhere, -1, -1)
				})
				y.eventually("the donor is free again", func() bool {
					var name, state string
					return db.QueryRow("SHOW STATUS LIKE 'wsrep_local_state'").Scan(&name, &state) == nil && state == "4"
				})
			}
			y.run("after it", func(t *testing.T) {
				joiner := y.ship("whole", 9)
				joiner.lineage(datadir.Lineage{FullTransfer: true})
				joiner.join(donor)
				at := committed(t, joiner.db())
				joiner.kill()
				joiner.expect(datadir.Crashed, datadir.FromRecovery, at, at)
			})
		})
	}
}

// TestRedoLogCut: a byte that flips near the end of the redo log ends it there.
// The server recovers less and says nothing; the volume remembers better.
func TestRedoLogCut(t *testing.T) {
	s := newYard(t).ship("cut", 1)
	db := s.launch()
	s.table(db, 100)
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	write(ctx, db)
	at := datadir.Position{UUID: historyUUID, Seqno: committed(t, db)}
	if err := datadir.WriteCommitted(s.volume.Committed(), at); err != nil { // as the sidecar does
		t.Fatal(err)
	}
	s.kill()
	s.lineage(datadir.Lineage{})
	before, err := position.Read(t.Context(), position.Dirs{Data: s.volume.Data})
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.OpenFile(filepath.Join(s.volume.Data, "ib_logfile0"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	// The log of 10.8 and later begins at 12 KiB, with the LSN of the first byte
	// there; two fifths of what was written since the checkpoint are cut.
	offset := 0x3000 + (int64(before.Checkpoint)+int64(before.End-before.Checkpoint)*3/5-0x3000)%(16<<20-0x3000)
	var b [1]byte
	if _, err := log.ReadAt(b[:], offset); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 0x55
	if _, err := log.WriteAt(b[:], offset); err != nil {
		t.Fatal(err)
	}
	a := s.assess()
	evidence, err := datadir.Look(s.volume)
	if err != nil {
		t.Fatal(err)
	}
	if evidence.Committed == nil || *evidence.Committed != at {
		t.Errorf("the volume remembers %v, expected %s", evidence.Committed, at)
	}
	if a.Class != datadir.Corrupt && a.Position.Seqno >= at.Seqno {
		t.Errorf("%s at %s: the test no longer cuts the log", a.Class, a.Position)
	}
	report := rebuild.Report{Ordinal: 0, PodUID: "u", Start: "s", State: rebuild.Waiting, Class: a.Class, Position: a.Position,
		Evidence: rebuild.Evidence{Committed: evidence.Committed, Lineage: evidence.Lineage}}
	c := rebuild.Cluster{Replicas: 1, Members: []rebuild.Report{report}}
	if v := rebuild.Decide(c); v.Action != rebuild.Refuse {
		t.Errorf("%s %s from %s at %s, and %s was committed", v.Action, v.Reason, a.Class, a.Position, at)
	}
}

// pair is a donor, and a member that it brought up and that was killed with a
// position of its own.
func (y *yard) pair(rows int) (donor *ship, db *sql.DB, joiner *ship, before datadir.Assessment) {
	donor = y.ship("donor", 1)
	db = donor.launch()
	donor.table(db, rows)
	joiner = y.ship("joiner", 2)
	joiner.lineage(datadir.Lineage{FullTransfer: true})
	joiner.join(donor)
	joiner.db()
	joiner.kill()
	joiner.lineage(datadir.Lineage{})
	return donor, db, joiner, joiner.expect(datadir.Crashed, datadir.FromRecovery, 1, 100)
}

// TestKilledInIncrementalTransfer: the scripts leave the same marks as for a full
// copy. Which of the two it was cannot be proven, so that the member takes a full
// copy, and never leads.
func TestKilledInIncrementalTransfer(t *testing.T) {
	y := newYard(t)
	donor, db, joiner, before := y.pair(1000)
	for range 200 {
		donor.exec(db, "INSERT INTO d.t (pad) VALUES ('later')")
	}
	if err := datadir.WriteGrastate(joiner.volume.Data, before.Position, false); err != nil {
		t.Fatal(err)
	}
	joiner.join(donor, "--wsrep-start-position="+before.Position.String())
	y.eventually("a transfer begins", func() bool { return joiner.exists("sst_in_progress") || joiner.exists("wsrep_sst.pid") })
	time.Sleep(200 * time.Millisecond)
	joiner.kill()
	marked := joiner.exists("sst_in_progress") || joiner.exists("rsync_sst.pid")
	if a := joiner.assess(); marked && a.Class != datadir.SSTVictim || !marked && a.Class != datadir.Crashed {
		t.Errorf("%s at %s, and marks of a transfer: %v", a.Class, a.Position, marked)
	}
}

// TestKilledInFullTransferOverData: a member with a position of its own falls
// back to a full copy, and is killed while that overwrites its data.
func TestKilledInFullTransferOverData(t *testing.T) {
	y := newYard(t)
	donor, db, joiner, before := y.pair(30000)
	y.eventually("the donor goes on alone", func() bool {
		_, err := db.Exec("INSERT INTO d.t (pad) SELECT pad FROM d.t")
		return err == nil
	})
	at := committed(t, db)
	donor.stop()
	if err := os.Remove(filepath.Join(donor.volume.Data, "galera.cache")); err != nil { // nothing to send but all
		t.Fatal(err)
	}
	donor.start("--wsrep-new-cluster", "--wsrep-cluster-address=gcomm://")
	db = donor.db()
	donor.exec(db, "INSERT INTO d.t (pad) VALUES ('newest')")
	if committed(t, db) <= at {
		t.Fatal("the donor lost its history")
	}
	if err := datadir.WriteGrastate(joiner.volume.Data, before.Position, false); err != nil {
		t.Fatal(err)
	}
	table := filepath.Join(joiner.volume.Data, "d/t.ibd")
	old, err := os.Stat(table)
	if err != nil {
		t.Fatal(err)
	}
	joiner.join(donor, "--wsrep-start-position="+before.Position.String())
	y.eventually("the copy reaches the table", func() bool {
		now, err := os.Stat(table)
		return err == nil && now.Size() != old.Size()
	})
	joiner.kill()
	joiner.expect(datadir.SSTVictim, datadir.FromNowhere, -1, -1)
}

// TestSidecar asks a real server through a real sidecar.
func TestSidecar(t *testing.T) {
	y := newYard(t)
	s := y.ship("beside", 1)
	db := s.launch()
	s.lineage(datadir.Lineage{})
	server, err := wsrep.Local(filepath.Join(s.volume.Root, "s"), "root")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	beside := &sidecar.Sidecar{Server: server, Volume: s.volume, Flush: func() error { return nil },
		FlushInterval: time.Second, RecordInterval: 100 * time.Millisecond, ObjectInterval: time.Second}
	listen := s.address() + ":9104"
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- beside.Run(ctx, listen) }()
	defer func() { cancel(); <-ended }()
	get := func(path string) (int, string) {
		response, err := http.Get("http://" + listen + path)
		if err != nil {
			return 0, err.Error()
		}
		defer response.Body.Close()
		body, _ := io.ReadAll(response.Body)
		return response.StatusCode, string(body)
	}
	ready := func(what string, want int, reason string) {
		t.Helper()
		var code int
		var body string
		y.eventually(what, func() bool { code, body = get("/readyz"); return code == want })
		if !strings.Contains(body, reason) {
			t.Errorf("%s: %d %s", what, code, body)
		}
	}
	ready("synced", http.StatusOK, "ok")
	s.table(db, 100)
	at := committed(t, db)
	y.eventually("the position is on the volume", func() bool {
		p, err := datadir.ReadCommitted(s.volume.Committed())
		return err == nil && p != nil && p.Seqno == at
	})
	if now := committed(t, db); now != at {
		t.Errorf("flushing the log was replicated: %d became %d", at, now)
	}
	s.exec(db, "SET GLOBAL wsrep_desync=ON")
	ready("desynced", http.StatusServiceUnavailable, "Donor or Desynced")
	s.exec(db, "SET GLOBAL wsrep_desync=OFF")
	ready("synced again", http.StatusOK, "ok")
	s.exec(db, "SET GLOBAL wsrep_reject_queries=ALL")
	ready("rejecting", http.StatusServiceUnavailable, "reject queries")
	if code, _ := get("/livez"); code != http.StatusOK {
		t.Errorf("/livez is %d for a server that rejects queries", code)
	}
	s.kill()
	ready("killed", http.StatusServiceUnavailable, "")
	y.eventually("the metrics say so", func() bool {
		_, body := get("/metrics")
		return strings.Contains(body, fmt.Sprintf("berth_member_recorded_seqno %d\n", at)) && strings.Contains(body, "berth_member_ready 0\n")
	})
}
