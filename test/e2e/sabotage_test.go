package e2e

import (
	"context"
	"database/sql"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/berth-dev/berth/pkg/volume"
	"github.com/berth-dev/berth/test/drill"
	"github.com/berth-dev/berth/test/mutant"
)

// Each of these tests breaks one property on real parts and sees the drill
// fail, for that reason. The order matters: the last two leave a cluster that
// lost rows for good.

const (
	lostRows = "acknowledged rows"
	fullCopy = "took a full copy (SST)"
)

func TestLostRow(t *testing.T) {
	d := rebuilt(t)
	db := server(t, "galera-1")
	keys := query(t, db, "SELECT k FROM berth.ledger ORDER BY k LIMIT 5")
	if len(keys) != 5 {
		t.Fatalf("the ledger has %d rows, not 5 at least", len(keys))
	}
	// Of five there is one at least whose commit was acknowledged.
	change(t, db, "DELETE FROM berth.ledger WHERE k IN ("+strings.Join(keys, ", ")+")")
	act := play(t, d.KillServer)
	wantFaults(t, act, []string{"galera-0 lost", "galera-1 lost", "galera-2 lost"}, nil)
	for _, key := range keys {
		change(t, db, "INSERT INTO berth.ledger VALUES ("+key+", 0, REPEAT('x', 64))")
	}
}

func TestNeedlessFullCopy(t *testing.T) {
	d := rebuilt(t)
	plant(t, "galera-0", build(t, mutant.HandOverNothing))
	wantFaults(t, play(t, d.KillServer), []string{"galera-0 " + fullCopy}, nil)
}

func TestSecondBootstrap(t *testing.T) {
	d := rebuilt(t)
	plant(t, "galera-0", build(t, mutant.BootstrapAlways))
	// What a client wrote into either half is missing in the other.
	wantFaults(t, play(t, d.KillServer), []string{"1 members bootstrapped, not 0"}, []string{lostRows})

	// The two halves never come together again: the second one gets a full copy of
	// the first, and the rows are counted from zero.
	plant(t, "galera-0", build(t, mutant.HandOverNothing))
	if act := play(t, d.KillServer); act.Members[0].Transfer != drill.SST {
		suite.broken = t.Name()
		t.Fatalf("%s came back by %s, not by a full copy that ends the split", act.Members[0].Member, act.Members[0].Transfer)
	}
	change(t, server(t, "galera-1"), "DROP TABLE berth.ledger")
	d.Close()
	newDrill(t)
}

// TestStaleBootstrapAndChangedHome has the stalest member start the cluster, and
// another one find an empty volume in the place of its own.
func TestStaleBootstrapAndChangedHome(t *testing.T) {
	d := rebuilt(t)
	loadImage(t, build(t, mutant.LowestOrdinal))
	moved := member(t, "galera-2").Spec.NodeName
	config, err := suite.bed.Config()
	if err != nil {
		t.Fatal(err)
	}
	d.Seed = 0 // galera-0 loses power first
	d.AfterPowerOn = func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, waitLimit)
		defer cancel()
		if err := suite.bed.WaitBooted(ctx, moved); err != nil {
			return err
		}
		// No agent runs yet: the API server knows of none.
		_, err := suite.bed.Exec(ctx, moved, "sh", "-euc", swapVolume, "sh", config.VG, volume.LVName("galera", "data-galera-2"))
		return err
	}
	defer func() { d.AfterPowerOn = nil }()
	act := play(t, d.PowerCutAndWipe)
	wantFaults(t, act,
		[]string{"galera-2 changed its home", "galera-0 bootstrapped from"},
		// The blank volume has no history, and what only the fresher members had is gone.
		[]string{"galera-2 reported", lostRows, fullCopy})
}

// swapVolume puts a blank volume with the same name, tags and file system UUID
// in the place of a volume, which it renames.
const swapVolume = `
vg=$1 name=$2
tags=$(lvs --noheadings -o lv_tags "$vg/$name" | tr -d ' ' | tr ',' ' ')
bytes=$(lvs --noheadings --nosuffix --units b -o lv_size "$vg/$name" | tr -d ' ')
del= add= uuid=
for tag in $tags; do
	del="$del --deltag $tag" add="$add --addtag $tag"
	case $tag in berth.dev/fs-uuid=*) uuid=${tag#*=} ;; esac
done
test -n "$uuid"
lvrename "$vg" "$name" before
lvchange $del "$vg/before"
lvcreate -y --setautoactivation n -W y -Z y -L "${bytes}b" -n "$name" $add "$vg"
mkfs.ext4 -q -m 0 -U "$uuid" "/dev/$vg/$name"
sync
`

// server connects to a member's server as the client of the demonstration.
func server(t *testing.T, name string) *sql.DB {
	t.Helper()
	config := mysql.NewConfig()
	config.User, config.Passwd = "berth", "demo-only-not-a-secret" // manifests/galera/secret.yaml
	config.Net, config.Addr = "tcp", net.JoinHostPort(member(t, name).Status.PodIP, "3306")
	config.DialFunc = suite.bed.DialContext
	config.Timeout, config.ReadTimeout, config.WriteTimeout = 5*time.Second, 30*time.Second, 30*time.Second
	connector, err := mysql.NewConnector(config)
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(connector)
	t.Cleanup(func() { db.Close() })
	return db
}

func change(t *testing.T, db *sql.DB, statement string) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), statement); err != nil {
		suite.broken = t.Name()
		t.Fatalf("%s: %v", statement, err)
	}
}

// query reads one column.
func query(t *testing.T, db *sql.DB, statement string) []string {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), statement)
	if err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	defer rows.Close()
	var values []string
	for rows.Next() {
		var value string
		if err := rows.Scan(&value); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
		values = append(values, value)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(fmt.Errorf("%s: %w", statement, err))
	}
	return values
}
