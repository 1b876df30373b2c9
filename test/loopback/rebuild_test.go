package loopback

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-dev/berth/pkg/datadir"
	"github.com/berth-dev/berth/pkg/galeracluster"
	"github.com/berth-dev/berth/pkg/rebuild"
)

// bed is a cluster of three with its control plane.
type bed struct {
	t       *testing.T
	control *control
	nodes   []*node
}

func newBed(t *testing.T) *bed {
	t.Helper()
	program := filepath.Join(t.TempDir(), "galera-init")
	build := exec.Command("go", "build", "-o", program, "github.com/berth-dev/berth/cmd/galera-init")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build galera-init: %v: %s", err, out)
	}
	b := &bed{t: t, control: startControl(t)}
	b.control.kubectl("", "apply", "-f", repository(t, "manifests/base/crd.yaml"))
	b.control.kubectl("", "wait", "--for=condition=Established", "crd/galeraclusters.berth.dev")
	b.control.kubectl("", "apply", "-k", repository(t, "manifests/galera"))
	for ordinal := range 3 {
		b.control.kubectl(fmt.Sprintf(`{apiVersion: v1, kind: PersistentVolumeClaim,
metadata: {name: data-galera-%[1]d, namespace: galera},
spec: {storageClassName: berth, volumeName: pv-%[1]d, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}`, ordinal), "apply", "-f", "-")
		b.nodes = append(b.nodes, newNode(t, b.control, program, ordinal))
	}
	return b
}

func (b *bed) state() rebuild.Cluster {
	b.t.Helper()
	state, err := galeracluster.NewStore(b.control.client(), "galera", "galera").Get(context.Background())
	if err != nil {
		b.t.Fatal(err)
	}
	return state
}

func (b *bed) startAll() {
	b.t.Helper()
	for _, n := range b.nodes {
		n.start()
	}
	b.syncedAll()
}

func (b *bed) syncedAll() {
	b.t.Helper()
	for _, n := range b.nodes {
		n.synced()
	}
}

func TestPowerCutOfAllMembers(t *testing.T) {
	b := newBed(t)
	b.startAll()
	first := b.state()
	if len(first.Grants) != 1 || first.Grants[0].Rule != rebuild.FirstInstall || first.Grants[0].Member != 0 {
		t.Fatalf("grants after the first installation: %+v, expected one to member 0", first.Grants)
	}
	uuid := first.Grants[0].Position.UUID

	// Member 1 dies first, member 0 stops applying, member 2 goes on: three positions.
	db := b.nodes[2].db()
	b.nodes[2].exec(db, "CREATE TABLE berth.t (id INT PRIMARY KEY, pad VARCHAR(200)) ENGINE=InnoDB")
	rows := 0
	write := func(count int) {
		t.Helper()
		for range count {
			rows++
			b.nodes[2].exec(db, "INSERT INTO berth.t VALUES (?, REPEAT('x', 200))", rows)
		}
	}
	write(20)
	b.nodes[1].kill()
	write(20)
	behind := b.nodes[0].db()
	behind.SetMaxOpenConns(1)
	b.nodes[0].exec(behind, "FLUSH TABLES WITH READ LOCK")
	write(10)
	for _, n := range b.nodes {
		n.kill()
	}

	marks := []int{b.nodes[0].mark(), b.nodes[1].mark(), b.nodes[2].mark()}
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
	for _, r := range grant.Reports {
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
	for i, n := range b.nodes {
		if bootstrapped := n.has(marks[i], "Grant consumed"); bootstrapped != (i == 2) {
			t.Errorf("%s bootstrapped: %v", n.pod(), bootstrapped)
		}
		if n.has(marks[i], "Starting new group from scratch") {
			t.Errorf("%s started a new history", n.pod())
		}
		if i != 2 {
			wantIncremental(t, n, marks[i])
		}
	}
	for _, n := range b.nodes {
		var found int
		if err := n.db().QueryRow("SELECT COUNT(*) FROM berth.t").Scan(&found); err != nil || found != rows {
			t.Errorf("%s has %d rows (%v), %d were acknowledged", n.pod(), found, err, rows)
		}
	}

	t.Run("one member's container is killed under load", func(t *testing.T) {
		mark := b.nodes[0].mark()
		b.nodes[0].kill()
		db := b.nodes[2].db()
		for i := range 10 {
			b.nodes[2].exec(db, "INSERT INTO berth.t VALUES (?, 'one')", 100000+i)
		}
		b.nodes[0].restart()
		b.nodes[0].synced()
		wantIncremental(t, b.nodes[0], mark)
		if grants := b.state().Grants; len(grants) != 2 {
			t.Errorf("%d grants, expected none for the restart of one member", len(grants))
		}
	})
}

// TestLostObject takes the API's memory away together with the power: the
// volumes know who they are and which attempt was the last.
func TestLostObject(t *testing.T) {
	b := newBed(t)
	b.startAll()
	before := b.state().Grants[0]
	for _, n := range b.nodes {
		n.kill()
	}
	b.control.kubectl("", "delete", "--namespace=galera", "galeraclusters/galera")
	b.startAll()
	state := b.state()
	grant, _ := state.LastGrant()
	if len(state.Grants) != 1 || grant.Attempt != before.Attempt+1 || grant.Rule == rebuild.FirstInstall || grant.Position.UUID != before.Position.UUID {
		t.Errorf("grant %+v, expected attempt %d of history %s", grant, before.Attempt+1, before.Position.UUID)
	}

	t.Run("the API server refuses to turn back", func(t *testing.T) {
		for name, patch := range map[string]string{
			"attempts only grow":              `{"status":{"grants":[{"attempt":1,"member":0,"pod":"p","podUID":"u","start":"s","volume":"v","rule":"r","consumed":false,"position":{"uuid":"u","seqno":1}}]}}`,
			"grants are never forgotten":      `{"status":{"grants":null}}`,
			"once consumed it stays consumed": `[{"op":"replace","path":"/status/grants/0/consumed","value":false}]`,
			"a grant never changes":           `[{"op":"replace","path":"/status/grants/0/member","value":9}]`,
		} {
			kind := "merge"
			if patch[0] == '[' {
				kind = "json"
			}
			err := b.control.kubectlErr("", "patch", "--namespace=galera", "galeraclusters/galera", "--subresource=status", "--type="+kind, "--patch="+patch)
			if err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})

	t.Run("status", func(t *testing.T) {
		out, err := exec.Command(filepath.Join(b.nodes[0].dir, "galera-init"), "status", "galera", "--namespace=galera", "--kubeconfig="+b.control.Kubeconfig()).CombinedOutput()
		if err != nil || !strings.Contains(string(out), "all 3 members have started their servers") {
			t.Errorf("%v: %s", err, out)
		}
		t.Logf("%s", out)
	})
}

// wantIncremental reads from the joiner's own log how it got its data. The
// script's last line tells for certain: "IST received" of the provider appears
// after a full transfer as well.
func wantIncremental(t *testing.T, n *node, mark int) {
	t.Helper()
	if n.has(mark, "rsync SST completed on joiner") || !n.has(mark, "rsync IST completed on joiner") {
		t.Errorf("%s did not join by IST alone", n.pod())
	}
}
