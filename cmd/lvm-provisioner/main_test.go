package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-dev/berth/pkg/lvm"
	"github.com/berth-dev/berth/pkg/lvm/lvmtest"
	"github.com/berth-dev/berth/pkg/provisioner"
	"github.com/berth-dev/berth/pkg/volume"
)

func TestBadFlags(t *testing.T) {
	for args, want := range map[string]string{
		"agent":                                     "--node-name is missing: give the name",
		"agent --node-name=a --interval=1ms":        "--interval is 1ms: use 1s or more",
		"agent --node-name=a --link-dir=x":          "--link-dir is \"x\": use an absolute path",
		"agent --node-name=a --listen=9750":         "use HOST:PORT or :PORT",
		"agent --node-name=a --kubeconfig=/no/such": "find the API server",
		"agent --node-name=a --lvm=host":            "--lvm is \"host\": use container, nsenter or none",
		"undelete a/b --link-dir=x":                 "--link-dir is \"x\": use an absolute path",
		"undelete a/b --kubeconfig=/no/such":        "where there is none, use --without-api",
		"undelete a/b --lvm=chroot":                 "--lvm is \"chroot\": use container, nsenter or none",
		"agent --node-name=a --directory=x":         "--directory is \"x\": use an absolute path",
		"inventory --lvm=none":                      "--lvm is none and --directory is not set",
		"base-directory x":                          "\"x\" is not an absolute path",
		"agent --colour":                            "unknown flag: --colour",
		"agent n1":                                  "unknown command \"n1\"",
		"abandon data-galera-0":                     "is no claim: give NAMESPACE/CLAIM",
		"abandon a/b --kubeconfig=/no/such":         "find the API server",
		"abandon a/b --output=xml":                  "--output is \"xml\": use table or json",
		"adopt berth/x --kubeconfig=/no/such":       "find the API server",
		"adopt":                                     "accepts 1 arg(s)",
		"inventory --output=xml":                    "--output is \"xml\": use table or json",
	} {
		cmd := command()
		cmd.SetArgs(strings.Fields(args))
		cmd.SetOut(&bytes.Buffer{})
		if err := cmd.ExecuteContext(context.Background()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want an error with %q", args, err, want)
		}
	}
}

func testInventory(t *testing.T) inventory {
	t.Helper()
	disk := lvmtest.NewDisk(64, "berth", "other")
	tags := volume.Tags{
		Namespace: "db", Claim: "data-galera-0", Member: volume.Member{StatefulSet: "galera", Replicas: 3},
		Class: "berth", FSType: "ext4", FSUUID: "fs", State: volume.Ready, Generation: 1, APIServer: "api",
	}
	disk.Add("berth", lvmtest.Volume{Name: "good", Extents: 3, Tags: tags.Encode()})
	tags.Claim, tags.Member, tags.State = "data-galera-9", volume.Member{}, volume.Trash
	tags.Retirement = volume.Retirement{At: 1_800_000_000, Deadline: 1_800_600_000, Wipe: volume.WipeZero}
	disk.Add("other", lvmtest.Volume{Name: "kept", Extents: 1, Tags: tags.Encode()})
	tags.State = volume.Wiping
	disk.Add("other", lvmtest.Volume{Name: "marked", Extents: 1, Tags: tags.Encode()})
	disk.Add("berth", lvmtest.Volume{Name: "bad", Extents: 1, Tags: []string{"berth.dev/schema=9"}})
	disk.Add("other", lvmtest.Volume{Name: "foreign", Extents: 1})
	disk.SetTags("other", volume.HomeTag+"db/data-galera-1:galera:1:3:2:9:VG-far:api")
	report, err := lvm.New(disk).Report(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return newInventory(report)
}

func TestInventoryJSON(t *testing.T) {
	out, err := json.Marshal(testInventory(t).Volumes)
	if err != nil {
		t.Fatal(err)
	}
	var got []map[string]any
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	deleted := func(line map[string]any) map[string]any {
		for key, value := range map[string]any{
			"volumeGroup": "other", "size": 4194304.0, "active": false, "namespace": "db", "claim": "data-galera-9",
			"class": "berth", "fsType": "ext4", "fsUUID": "fs", "generation": 1.0, "apiServer": "api",
		} {
			line[key] = value
		}
		return line
	}
	want := []map[string]any{
		{
			"volumeGroup": "berth", "name": "good", "uuid": got[0]["uuid"], "size": 12582912.0, "state": "ready", "active": false,
			"namespace": "db", "claim": "data-galera-0", "member": map[string]any{"statefulSet": "galera", "ordinal": 0.0, "replicas": 3.0},
			"class": "berth", "fsType": "ext4", "fsUUID": "fs", "generation": 1.0, "apiServer": "api",
		},
		{
			"volumeGroup": "berth", "name": "bad", "uuid": got[1]["uuid"], "size": 4194304.0, "state": "unreadable", "active": false,
			"problem": `tags have schema "9", this program knows schema 1: run the version of Berth that wrote them`,
		},
		deleted(map[string]any{"name": "kept", "uuid": got[2]["uuid"], "state": "trash", "trashUntil": "2027-01-22T06:40:00Z"}),
		deleted(map[string]any{"name": "marked", "uuid": got[3]["uuid"], "state": "wiping"}),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestInventoryShowsHomes(t *testing.T) {
	groups := testInventory(t).VolumeGroups
	want := []homeLine{{"db", "data-galera-1", 2, "VG-far"}}
	if diff := cmp.Diff(want, groups[1].Homes); diff != "" || len(groups[0].Homes) != 0 {
		t.Errorf("homes (-want +got)\n%s", diff)
	}
}

// What lvm says of a volume has a field and a column while there is something to say.
func TestInventoryShowsHealth(t *testing.T) {
	disk := lvmtest.NewDisk(64, "berth")
	tags := volume.Tags{Namespace: "db", Claim: "data-galera-0", Class: "berth", FSType: "ext4", FSUUID: "fs", State: volume.Ready, Generation: 1, APIServer: "api"}
	v := disk.Add("berth", lvmtest.Volume{Name: "copies", Extents: 3, Tags: tags.Encode()})
	for _, health := range []string{"", lvm.HealthRefresh} {
		v.Health = health
		report, err := lvm.New(disk).Report(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		inv := newInventory(report)
		var out bytes.Buffer
		inv.table(&out)
		if got := inv.Volumes[0].Health; got != health || strings.Contains(out.String(), "HEALTH") != (health != "") || !strings.Contains(out.String(), health) {
			t.Errorf("health %q is shown as %q in\n%s", health, got, &out)
		}
	}
}

func TestInventoryTable(t *testing.T) {
	var out bytes.Buffer
	testInventory(t).table(&out)
	for _, part := range []string{"berth", "240Mi", "other", "244Mi", "db/data-galera-0", "galera 0 of 3", "ready", "1 volumes elsewhere", "12Mi", "berth/good", "unreadable", `schema "9"`, "wiping"} {
		if !strings.Contains(out.String(), part) {
			t.Errorf("%q is not in\n%s", part, &out)
		}
	}
}

// A command that changes volumes does nothing while an agent is at work.
func TestChangesWaitForTheAgent(t *testing.T) {
	c := changes{links: links{dir: t.TempDir()}}
	end, err := c.Links().Lock()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	did := 0
	do := func() error { did++; return nil }
	if err := c.alone(ctx, do); !errors.Is(err, provisioner.ErrAtWork) || did != 0 {
		t.Errorf("beside an agent: %v, done %d times", err, did)
	}
	time.AfterFunc(10*time.Millisecond, end)
	if err := c.alone(t.Context(), do); err != nil || did != 1 {
		t.Errorf("after the agent's pass: %v, done %d times", err, did)
	}
}
