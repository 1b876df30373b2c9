//go:build outages

package e2e

import (
	"context"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"

	"github.com/berth-dev/berth/pkg/datadir"
	"github.com/berth-dev/berth/pkg/galeracluster"
	"github.com/berth-dev/berth/pkg/rebuild"
	"github.com/berth-dev/berth/pkg/volume"
	"github.com/berth-dev/berth/test/drill"
)

// Outages that do not end all at once: nodes that stay away, a network that is
// cut, a second power cut, a damaged disk, a cluster that changes its size.

// hold is how long a cluster that must wait is watched.
const hold = 20 * time.Second

// TestOverride has a person start the cluster without a member that is away, by
// the command that the verdict names.
func TestOverride(t *testing.T) {
	d := rebuilt(t)
	act := play(t, func(ctx context.Context) (drill.Act, error) {
		return d.Suffer(ctx, drill.Disaster{Name: "started by a person", AtOnce: true, Quiet: true,
			Return: func(ctx context.Context, places map[string]drill.Place) error {
				powerOn(ctx, t, places["galera-0"].Node, places["galera-1"].Node)
				wantWaiting(t, "galera-0", "galera-2")
				eventually(t, "the verdict names a command that overrides it", func(ctx context.Context) error {
					s, err := readState(ctx)
					if err != nil {
						return err
					}
					for _, ordinal := range []int{0, 1} { // the override is to name nobody else
						if r, found := s.Member(ordinal); !found || r.State != rebuild.Waiting {
							return fmt.Errorf("member %d does not wait yet", ordinal)
						}
					}
					return runOverride(ctx, rebuild.Decide(s).Reason.Unblock)
				})
				if err := d.Await(ctx, "galera-0", "galera-1"); err != nil {
					return err
				}
				return suite.bed.PowerOn(ctx, places["galera-2"].Node)
			}})
	})
	wantSound(t, act)
}

// runOverride runs the command of an override out of what would unblock a verdict.
func runOverride(ctx context.Context, unblock string) error {
	command := regexp.MustCompile(`kubectl (patch galeracluster \S+ -n \S+ --type=merge -p) '(\{"spec":\{"overrides":.*?\}\]\}\})'`).FindStringSubmatch(unblock)
	if command == nil {
		return fmt.Errorf("no override in %q", unblock)
	}
	return kubectl(ctx, "", append(strings.Fields(command[1]), command[2])...)
}

// TestNodesReturnOneByOne cuts all power in one moment. Whoever comes back waits
// for the others, and says for whom: none of them left the last view, so each
// may hold the newest transactions. The override of the test before was for
// another attempt and does nothing.
func TestNodesReturnOneByOne(t *testing.T) {
	d := rebuilt(t)
	act := play(t, func(ctx context.Context) (drill.Act, error) {
		return d.Suffer(ctx, drill.Disaster{Name: "nodes return one by one", AtOnce: true,
			Return: func(ctx context.Context, places map[string]drill.Place) error {
				powerOn(ctx, t, places["galera-0"].Node)
				wantWaiting(t, "galera-0", "galera-1", "galera-2")
				if s := state(t); len(s.Spec.Overrides) > 0 {
					if notes := rebuild.Decide(s).Notes; !slices.ContainsFunc(notes, func(r rebuild.Reason) bool { return r.Code == rebuild.OverrideUsed }) {
						t.Errorf("nothing says that the override is used up: %v", notes)
					}
				}
				powerOn(ctx, t, places["galera-1"].Node)
				wantWaiting(t, "galera-1", "galera-2")
				return suite.bed.PowerOn(ctx, places["galera-2"].Node)
			}})
	})
	wantSound(t, act)
}

// TestNodeStaysAway cuts the power of one node first. The others saw it leave and
// went on, so it cannot hold anything newer: they start without it. This needs a
// view without it that the object knows as settled.
func TestNodeStaysAway(t *testing.T) {
	d := rebuilt(t)
	stays := member(t, "galera-0").Spec.NodeName
	d.Seed = 2 // galera-2 goes first
	defer func() { d.Seed = 0 }()
	act := play(t, func(ctx context.Context) (drill.Act, error) {
		return d.Suffer(ctx, drill.Disaster{Name: "a node stays away",
			Between: func(context.Context) error {
				eventually(t, "the view of the two is settled", func(ctx context.Context) error { return settled(ctx, stays, 2) })
				return nil
			},
			Return: func(ctx context.Context, places map[string]drill.Place) error {
				powerOn(ctx, t, places["galera-0"].Node, places["galera-1"].Node)
				if err := d.Await(ctx, "galera-0", "galera-1"); err != nil {
					return err
				}
				powerOn(ctx, t, places["galera-2"].Node)
				return nil
			}})
	})
	wantSound(t, act)
}

// settled says whether the view that a node's member has saved has this many
// members and is the one that the object knows as settled.
func settled(ctx context.Context, node string, members int) error {
	out, err := suite.bed.Exec(ctx, node, "sh", "-c", "cat /var/lib/kubelet/pods/*/volumes/*/*/data/gvwstate.dat")
	if err != nil {
		return err
	}
	view, err := datadir.ParseGvwstate([]byte(out))
	if err != nil {
		return err
	}
	s, err := readState(ctx)
	if err != nil {
		return err
	}
	if len(view.Members) != members || s.Settled.View != view.ID {
		return fmt.Errorf("%d members saved view %s, view %s is settled", len(view.Members), view.ID, s.Settled.View)
	}
	return nil
}

// TestMinorityRestarts cuts one node off the network and kills its server. It
// must not start a second primary component, whatever its disk says; the
// majority goes on.
func TestMinorityRestarts(t *testing.T) {
	d := rebuilt(t)
	act := play(t, func(ctx context.Context) (drill.Act, error) {
		return d.Endure(ctx, "minority restarted", func(ctx context.Context, places map[string]drill.Place) error {
			alone := places["galera-2"].Node
			if err := suite.bed.Partition(ctx, alone); err != nil {
				return err
			}
			if _, err := suite.bed.Exec(ctx, alone, "pkill", "-KILL", "-x", "mariadbd"); err != nil {
				return err
			}
			never(t, 2*hold, "a primary component on the node that is cut off", func(ctx context.Context) (bool, error) {
				out, err := suite.bed.Exec(ctx, alone, "sh", "-c", `pgrep -af "[w]srep[-_]new[-_]cluster" || true`)
				return out != "", err
			})
			if err := d.Await(ctx, "galera-0", "galera-1"); err != nil {
				return err
			}
			return suite.bed.Heal(ctx)
		})
	})
	wantSound(t, act)
}

// TestSecondPowerCut cuts the power again in the moment in which a member has
// been allowed to start the cluster.
func TestSecondPowerCut(t *testing.T) {
	d := rebuilt(t)
	before := state(t)
	act := play(t, func(ctx context.Context) (drill.Act, error) {
		return d.Suffer(ctx, drill.Disaster{Name: "second power cut in recovery",
			Return: func(ctx context.Context, _ map[string]drill.Place) error {
				powerOn(ctx, t, suite.nodes...)
				eventually(t, "a member is allowed to start the cluster", func(ctx context.Context) error {
					s, err := readState(ctx)
					if err != nil {
						return err
					}
					if grant, found := s.LastGrant(); !found || !grant.Consumed || grant.Attempt <= attempt(before) {
						return fmt.Errorf("no grant after attempt %d is consumed", attempt(before))
					}
					return nil
				})
				if err := suite.bed.PowerOff(suite.nodes...); err != nil {
					return err
				}
				return suite.bed.PowerOn(ctx, suite.nodes...)
			}})
	})
	// The first attempt was used up by the power cut, so there are two.
	wantFaults(t, act, []string{"2 grants were consumed, not 1"}, nil)
}

// TestDamagedMember flips bytes in a table of a member that is as fresh as any.
// It does not start the cluster and is not overwritten; a person moves its data
// aside, and it joins by a full copy.
func TestDamagedMember(t *testing.T) {
	const damaged = "galera-0"
	d, begin := rebuilt(t), time.Now()
	act := play(t, func(ctx context.Context) (drill.Act, error) {
		return d.Suffer(ctx, drill.Disaster{Name: "a damaged member", AtOnce: true, Quiet: true, Loss: deletePods(t),
			Return: func(ctx context.Context, places map[string]drill.Place) error {
				node := places[damaged].Node
				if err := suite.bed.PowerOn(ctx, suite.nodes...); err != nil {
					return err
				}
				if err := suite.bed.WaitBooted(ctx, node); err != nil {
					return err
				}
				onVolume(ctx, t, node, damaged, flipBytes)
				apply(t, "", "-k", path.Join(suite.root, "manifests", "galera"))
				if err := d.Await(ctx, "galera-1", "galera-2"); err != nil {
					return err
				}
				wantEventSince(t, begin, "galera", "Pod", damaged, "CORRUPT", "ledger.ibd")
				onVolume(ctx, t, node, damaged, `test -e "$mount/data/berth/ledger.ibd"; mv "$mount/data" "$mount/data.damaged"`)
				return kubectl(ctx, "", "delete", "pod", damaged, "--namespace=galera", "--force", "--grace-period=0")
			}})
	})
	for _, m := range act.Members {
		if m.RowsLost > 0 || m.Before != m.After {
			t.Errorf("%s lost %d rows and went from %v to %v", m.Member, m.RowsLost, m.Before, m.After)
		}
		if (m.Transfer == drill.SST) != (m.Member == damaged) {
			t.Errorf("%s came back by %s", m.Member, m.Transfer)
		}
	}
	if act.Granted == damaged || act.GrantsConsumed != 1 {
		t.Errorf("%s started the cluster, with %d grants", act.Granted, act.GrantsConsumed)
	}
}

// flipBytes damages a page in the middle of the client's table.
const flipBytes = `
file="$mount/data/berth/ledger.ibd"
pages=$(($(stat -c %s "$file") / 16384))
test "$pages" -gt 6
printf 'damage' | dd of="$file" bs=1 seek=$((5 * 16384 + 3000)) conv=notrunc status=none
sync
`

// onVolume runs a script on a node with a member's volume at $mount, wherever it
// is mounted already, or for the time of the script.
func onVolume(ctx context.Context, t *testing.T, node, member, script string) {
	t.Helper()
	config, err := suite.bed.Config()
	if err != nil {
		t.Fatal(err)
	}
	device := config.VG + "/" + volume.LVName("galera", "data-"+member)
	if _, err := suite.bed.Exec(ctx, node, "sh", "-euc", `
lvchange -y -a y "$1"
device=$(lvs --noheadings -o lv_dm_path "$1" | tr -d ' ')
mount=$(mktemp -d)
mount "$device" "$mount"
trap 'umount "$mount"' EXIT
`+script, "sh", device); err != nil {
		t.Fatalf("change the volume of %s: %v", member, err)
	}
}

// deletePods deletes the workload while the power is off, but for its claims.
func deletePods(t *testing.T) func(context.Context) error {
	return func(ctx context.Context) error {
		for _, args := range [][]string{
			{"delete", "statefulset", "galera", "--namespace=galera", "--cascade=orphan"},
			{"delete", "pods", "--all", "--namespace=galera", "--force", "--grace-period=0"},
		} {
			if err := kubectl(ctx, "", args...); err != nil {
				return err
			}
		}
		return nil
	}
}

// TestScale adds two members on two new machines, and takes them away again.
// A restart of all does not wait for those that are no longer wanted.
func TestScale(t *testing.T) {
	d := rebuilt(t)
	added := []string{"galera-3", "galera-4"}
	act := play(t, func(ctx context.Context) (drill.Act, error) {
		return d.Endure(ctx, "scaled 3 to 5 to 3", func(ctx context.Context, _ map[string]drill.Place) error {
			powerOn(ctx, t, spareNodes()...)
			if err := suite.bed.WaitReady(ctx, spareNodes()...); err != nil {
				return err
			}
			if err := kubectl(ctx, "", "scale", "statefulset/galera", "--namespace=galera", "--replicas=5"); err != nil {
				return err
			}
			if err := d.Await(ctx, added...); err != nil {
				return err
			}
			nodes := map[string]string{}
			for _, name := range append([]string{"galera-0", "galera-1", "galera-2"}, added...) {
				node := member(t, name).Spec.NodeName
				if other, taken := nodes[node]; taken {
					t.Errorf("%s and %s run on %s", other, name, node)
				}
				nodes[node] = name
			}
			if err := kubectl(ctx, "", "scale", "statefulset/galera", "--namespace=galera", "--replicas=3"); err != nil {
				return err
			}
			eventually(t, "the added members are gone", func(ctx context.Context) error {
				pods, err := suite.client.CoreV1().Pods("galera").List(ctx, metav1.ListOptions{})
				if err != nil {
					return err
				}
				if len(pods.Items) > 3 {
					return fmt.Errorf("there are %d pods", len(pods.Items))
				}
				return nil
			})
			eventually(t, "the cluster is seen to go on without them", func(ctx context.Context) error {
				s, err := readState(ctx)
				if err == nil && len(s.Behind) != len(added) {
					err = fmt.Errorf("behind are %v", s.Behind)
				}
				return err
			})
			return retire(ctx, spareNodes()...)
		})
	})
	wantSound(t, act)
	wantSound(t, play(t, d.PowerCut))
}

// retire takes nodes out of the cluster, as somebody would.
func retire(ctx context.Context, nodes ...string) error {
	if err := suite.bed.PowerOff(nodes...); err != nil {
		return err
	}
	for _, node := range nodes {
		if err := kubectl(ctx, "", "delete", "node", node, "--ignore-not-found"); err != nil {
			return err
		}
		if err := kubectl(ctx, "", "delete", "pods", "--all-namespaces", "--field-selector=spec.nodeName="+node, "--force", "--grace-period=0"); err != nil {
			return err
		}
	}
	return nil
}

func powerOn(ctx context.Context, t *testing.T, nodes ...string) {
	t.Helper()
	if err := suite.bed.PowerOn(ctx, nodes...); err != nil {
		t.Fatal(err)
	}
}

// wantWaiting sees a member say that it waits for others whose servers ran when
// they were last heard of, and nobody start the cluster meanwhile.
func wantWaiting(t *testing.T, member string, missing ...string) {
	t.Helper()
	before := attempt(state(t))
	wantEventSince(t, time.Now(), "galera", "Pod", member, append([]string{string(rebuild.ServerUnreached)}, missing...)...)
	never(t, hold, "an attempt to start the cluster", func(ctx context.Context) (bool, error) {
		s, err := readState(ctx)
		return attempt(s) > before, err
	})
}

// never watches for something that must not happen.
func never(t *testing.T, limit time.Duration, what string, happened func(context.Context) (bool, error)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	looks := 0
	for {
		// A look that has begun is ended: the last one by the test's own limit.
		is, err := happened(t.Context())
		switch {
		case err != nil:
			t.Fatalf("look for %s: %v", what, err)
		case is:
			t.Fatalf("there is %s", what)
		}
		looks++
		select {
		case <-ctx.Done():
			if looks < 3 {
				t.Fatalf("looked only %d times for %s", looks, what)
			}
			return
		case <-tick.C:
		}
	}
}

func state(t *testing.T) rebuild.Cluster {
	t.Helper()
	s, err := readState(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func readState(ctx context.Context) (rebuild.Cluster, error) {
	config, err := suite.bed.RESTConfig()
	if err != nil {
		return rebuild.Cluster{}, err
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return rebuild.Cluster{}, err
	}
	return galeracluster.NewStore(client, "galera", "galera").Get(ctx)
}

// attempt is the number of the newest grant.
func attempt(c rebuild.Cluster) int64 {
	if len(c.Grants) == 0 {
		return 0
	}
	return slices.MaxFunc(c.Grants, func(a, b rebuild.Grant) int { return int(a.Attempt - b.Attempt) }).Attempt
}
