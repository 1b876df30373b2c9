package loopback

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/pkg/datadir"
	"github.com/berth-dev/berth/pkg/rebuild"
)

func TestPowerCutOfAllMembers(t *testing.T) {
	b := newBed(t)
	decisions := b.TimeDecisions(t.Context())
	defer decisions.Stop()
	b.startAll()
	first := b.state()
	if len(first.Grants) != 1 || first.Grants[0].Rule != rebuild.FirstInstall || first.Grants[0].Member != 0 {
		t.Fatalf("grants after the first installation: %+v, expected one to member 0", first.Grants)
	}
	uuid := first.Grants[0].Position.UUID

	// Member 1 dies first, member 0 stops applying, member 2 goes on: three positions.
	db := b.db(2)
	b.exec(db, "CREATE TABLE berth.t (id INT PRIMARY KEY, pad VARCHAR(200)) ENGINE=InnoDB")
	rows := 0
	write := func(count int) {
		t.Helper()
		for range count {
			rows++
			b.exec(db, "INSERT INTO berth.t VALUES (?, REPEAT('x', 200))", rows)
		}
	}
	write(20)
	b.Members[1].Kill()
	write(20)
	behind := b.db(0)
	behind.SetMaxOpenConns(1)
	b.exec(behind, "FLUSH TABLES WITH READ LOCK")
	write(10)
	b.killAll()

	marks := []int{b.Members[0].Journal.Mark(), b.Members[1].Journal.Mark(), b.Members[2].Journal.Mark()}
	b.startAll()
	state := b.state()
	grant, _ := state.LastGrant()
	if len(state.Grants) != 2 || grant.Member != 2 || grant.Rule != rebuild.HighestSeqno || !grant.Consumed {
		t.Errorf("grants after the power cut: %+v, expected a second one, to member 2 by %s", state.Grants, rebuild.HighestSeqno)
	}
	if grant.Position.UUID != uuid {
		t.Errorf("uuid %s after the power cut, %s before", grant.Position.UUID, uuid)
	}
	seen := map[int64]bool{}
	for _, r := range state.Members { // of all: a proof may have excused the one that died first
		seen[r.Position.Seqno] = true
		if !r.Evidence.Cache.Covers(r.Position) {
			t.Errorf("%s at %s reported the cache %+v: killed without power loss, it has all it ever had", r.Pod, r.Position, r.Evidence.Cache)
		}
		if r.Class != datadir.Crashed || r.Source != datadir.FromRecovery {
			t.Errorf("%s reported %s from %s, expected %s from %s", r.Pod, r.Class, r.Source, datadir.Crashed, datadir.FromRecovery)
		}
	}
	if len(seen) != 3 {
		t.Errorf("positions %v, expected three different ones: the test no longer makes the members differ", seen)
	}
	for i, m := range b.Members {
		if bootstrapped := m.Journal.Has(marks[i], "Grant consumed"); bootstrapped != (i == 2) {
			t.Errorf("%s bootstrapped: %v", m.Name(), bootstrapped)
		}
		if m.Journal.Has(marks[i], "Starting new group from scratch") {
			t.Errorf("%s started a new history", m.Name())
		}
		if i != 2 {
			wantIncremental(t, m, marks[i])
		}
	}
	wantPrompt(t, decisions.Made(), 2)
	wantToldOf(t, b, rebuild.HighestSeqno)
	for i := range b.Members {
		var found int
		if err := b.db(i).QueryRow("SELECT COUNT(*) FROM berth.t").Scan(&found); err != nil || found != rows {
			t.Errorf("member %d has %d rows (%v), %d were acknowledged", i, found, err, rows)
		}
	}

	t.Run("one member's container is killed under load", func(t *testing.T) {
		mark := b.Members[0].Journal.Mark()
		b.Members[0].Kill()
		db := b.db(2)
		for i := range 10 {
			b.exec(db, "INSERT INTO berth.t VALUES (?, 'one')", 100000+i)
		}
		b.Members[0].Restart()
		b.must(b.Members[0].Synced(t.Context(), syncedLimit))
		wantIncremental(t, b.Members[0], mark)
		if grants := b.state().Grants; len(grants) != 2 {
			t.Errorf("%d grants, expected none for the restart of one member", len(grants))
		}
	})
}

// TestAPIServerAway: one member starts again while no API server answers, and a
// Primary component does.
func TestAPIServerAway(t *testing.T) {
	b := newBed(t)
	b.startAll()
	db := b.db(2)
	b.exec(db, "CREATE TABLE berth.t (id INT PRIMARY KEY) ENGINE=InnoDB")
	b.exec(db, "INSERT INTO berth.t VALUES (1)")
	ctx, cancel := context.WithTimeout(t.Context(), syncedLimit)
	defer cancel()
	b.eventually(ctx, "the volume remembers all members", func() bool {
		peers, err := datadir.ReadPeers(datadir.Volume{Root: b.Members[0].Volume}.Peers())
		return err == nil && len(peers) == Members
	})
	b.Control.StopAPI()
	mark := b.Members[0].Journal.Mark()
	b.Members[0].Kill()
	b.exec(db, "INSERT INTO berth.t VALUES (2)")
	b.must(b.Members[0].NewPod())
	b.must(b.Members[0].Synced(t.Context(), syncedLimit))
	wantIncremental(t, b.Members[0], mark)
	if b.Members[0].Journal.Has(mark, "Grant consumed") {
		t.Error("a bootstrap without an API server")
	}

	b.must(b.Control.StartAPI(t.Context()))
	b.exec(db, "INSERT INTO berth.t VALUES (3)")
	b.eventually(ctx, "the object knows of the new pod", func() bool {
		state, err := b.State(ctx)
		if err != nil {
			return false
		}
		r, found := state.Member(0)
		return found && r.PodUID == b.Members[0].PodUID() && r.State == rebuild.Started && len(state.Grants) == 1
	})
}

// TestDamagedPage flips bytes in the middle of a table of the member that would
// lead: neither recovery nor headers show it.
func TestDamagedPage(t *testing.T) {
	b := newBed(t)
	b.startAll()
	db := b.db(0)
	b.exec(db, "CREATE TABLE berth.t (id INT AUTO_INCREMENT PRIMARY KEY, pad VARCHAR(200)) ENGINE=InnoDB")
	b.exec(db, "INSERT INTO berth.t (pad) SELECT REPEAT('x', 200) FROM berth.seq_1_to_5000")
	b.killAll()
	b.must(b.Start())
	b.must(b.Synced(t.Context(), syncedLimit))
	state := b.state()
	usual, _ := state.LastGrant()
	leader := usual.Member
	b.killAll()
	table, err := os.OpenFile(filepath.Join(b.Members[leader].Volume, "data/berth/t.ibd"), os.O_RDWR, 0)
	b.must(err)
	_, err = table.WriteAt([]byte("these bytes are not what the server wrote"), 20<<14+300)
	b.must(err)
	b.must(table.Close())
	mark := b.Members[leader].Journal.Mark()
	b.must(b.Start())
	for i, m := range b.Members {
		if i != leader {
			b.must(m.Synced(t.Context(), syncedLimit))
		}
	}
	state = b.state()
	grant, _ := state.LastGrant()
	r, _ := state.Member(leader)
	if grant.Member == leader || !grant.Consumed || r.Class != datadir.Corrupt || r.State == rebuild.Started {
		t.Errorf("member %d is %s and %s, grant %+v; expected it CORRUPT and another one to lead", leader, r.Class, r.State, grant)
	}
	if b.Members[leader].Journal.Has(mark, "Grant consumed") {
		t.Error("the damaged member bootstrapped")
	}
}

// TestLostObject takes the API's memory away together with the power: the
// volumes know who they are and which attempt was the last.
func TestLostObject(t *testing.T) {
	b := newBed(t)
	b.startAll()
	before := b.state().Grants[0]
	b.killAll()
	if _, err := b.Control.Kubectl(t.Context(), "", "delete", "--namespace=galera", "galeraclusters/galera"); err != nil {
		t.Fatal(err)
	}
	b.startAll()
	state := b.state()
	grant, _ := state.LastGrant()
	if len(state.Grants) != 1 || grant.Attempt != before.Attempt+1 || grant.Rule == rebuild.FirstInstall || grant.Position.UUID != before.Position.UUID {
		t.Errorf("grant %+v, expected attempt %d of history %s", grant, before.Attempt+1, before.Position.UUID)
	}

	t.Run("the API server refuses to turn back", func(t *testing.T) {
		for name, patch := range map[string]string{
			"attempts only grow":              `{"status":{"grants":[{"attempt":1,"member":0,"pod":"p","podUID":"u","start":"s","volume":"v","rule":"r","consumed":false,"id":"i","epochs":[],"position":{"uuid":"u","seqno":1}}]}}`,
			"grants are never forgotten":      `{"status":{"grants":null}}`,
			"once consumed it stays consumed": `[{"op":"replace","path":"/status/grants/0/consumed","value":false}]`,
			"a grant never changes":           `[{"op":"replace","path":"/status/grants/0/member","value":9}]`,
		} {
			kind := "merge"
			if patch[0] == '[' {
				kind = "json"
			}
			_, err := b.Control.Kubectl(t.Context(), "", "patch", "--namespace=galera", "galeraclusters/galera", "--subresource=status", "--type="+kind, "--patch="+patch)
			if err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})

	t.Run("status", func(t *testing.T) {
		out, err := exec.Command(b.Members[0].Program(), "status", "galera", "--namespace=galera", "--kubeconfig="+b.Control.Kubeconfig()).CombinedOutput()
		if err != nil || !strings.Contains(string(out), "all 3 members have started their servers") {
			t.Errorf("%v: %s", err, out)
		}
		t.Logf("%s", out)
	})
}

// wantIncremental reads from the joiner's own log how it got its data. The
// script's last line tells for certain: "IST received" of the provider appears
// after a full transfer as well.
func wantIncremental(t *testing.T, m *Member, mark int) {
	t.Helper()
	if m.Journal.Has(mark, "rsync SST completed on joiner") || !m.Journal.Has(mark, "rsync IST completed on joiner") {
		t.Errorf("%s did not join by IST alone", m.Name())
	}
}

// promptly is how long a decision may take on a machine that does other work as
// well; `make chaos` measures it.
const promptly = 5 * time.Second

func wantPrompt(t *testing.T, made []Decision, count int) {
	t.Helper()
	if len(made) != count {
		t.Errorf("decisions %v, expected %d", made, count)
	}
	for _, d := range made {
		t.Logf("attempt %d was decided %s after the last report", d.Attempt, d.Took)
		if d.Took > promptly {
			t.Errorf("attempt %d was decided %s after the last report; expected it within %s", d.Attempt, d.Took, promptly)
		}
	}
}

// wantToldOf reads the events on the StatefulSet and on a pod that tell of a
// decision.
func wantToldOf(t *testing.T, b *bed, rule rebuild.Rule) {
	t.Helper()
	for _, about := range []string{"StatefulSet", "Pod"} {
		out, err := b.Control.Kubectl(t.Context(), "", "get", "events", "--namespace="+namespace, "--field-selector=involvedObject.kind="+about,
			`--output=jsonpath={range .items[*]}{.involvedObject.name} {.reason}: {.message}{"\n"}{end}`)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("events on %s:\n%s", about, out)
		if !strings.Contains(out, string(rule)) {
			t.Errorf("no event on a %s tells of %s", about, rule)
		}
	}
}
