package provisioning

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-dev/berth/test/controlplane"
)

// scenarios are what users of other provisioners have reported, by number (the 35
// of the collection that issue 5 names), each with the tests that play it, as
// "directory: function", on the lowest level that is honest.
var scenarios = map[int]struct {
	what  string
	tests []string
}{
	1:  {"etcd is wiped, the manifests are applied again", []string{"pkg/provisioner: TestPassAfterTheAPIWasWiped", "test/e2e: TestDrill"}},
	2:  {"the same with nodes installed anew and renamed", []string{"pkg/provisioner: TestNamesSwappedAfterTheAPIWasLost", "pkg/provisioner: TestSurveyOfRealLVM"}},
	3:  {"a probe without an answer is not an empty device", []string{"pkg/lvm/filesystem: TestProbeDoubtIsNotEmpty", "pkg/lvm/filesystem: TestProbeMissingIsNotEmpty", "pkg/provisioner: TestProvisionContinuesCreating"}},
	4:  {"a volume whose start cannot be read", []string{"pkg/provisioner: TestPassHidesWhatItCannotVerify"}},
	5:  {"another volume under the old name behind a living PV", []string{"pkg/provisioner: TestImposter"}},
	6:  {"tracking objects lost, claims kept", []string{"pkg/provisioner: TestProvisionFindsTheVolume"}},
	7:  {"two nodes swap their names", []string{"pkg/provisioner: TestNamesSwappedAfterTheAPIWasLost"}},
	8:  {"a new machine under the old name, with an empty group", []string{"pkg/provisioner: TestNewMachineUnderTheOldName"}},
	9:  {"node name and host name differ", []string{"pkg/provisioner: TestProvision", "pkg/inventory: TestHomeIsFoundByLabel"}},
	10: {"the Node object is deleted and joins again", []string{"pkg/provisioner: TestNodeObjectDeleted"}},
	11: {"our own objects are deleted and made again", []string{"pkg/provisioner: TestOurObjectsDeleted"}},
	12: {"an empty API server, for ever", []string{"pkg/provisioner: TestNothingIsRemovedForEver"}},
	13: {"a wrong lvremove is undone from the archive; archive and locks are the machine's", []string{"test/provisioning: TestArchiveUndoesARemoval", "pkg/lvm: TestSelfTest"}},
	14: {"two agents at once", []string{"pkg/lvm: TestLVMTwoWriters", "pkg/provisioner: TestTwoAgentsServeOneClaim"}},
	15: {"20 claims at once for 10 volumes' room", []string{"test/scheduling: TestTwentyClaimsForTen"}},
	16: {"nodes without room, group, or the right kind of room", []string{"pkg/plugin: TestFourthMemberFindsNoRoom", "pkg/provisioner: TestPassWithoutTheVolumeGroup", "pkg/lvm: TestLVMLayouts"}},
	17: {"a group is extended, waiting pods go on", []string{"test/scheduling: TestTwentyClaimsForTen"}},
	18: {"100 re-created pods against retained volumes", []string{"test/scheduling: TestRace"}},
	19: {"a lost node is given up, its volume fenced when it returns", []string{"pkg/provisioner: TestAbandonAndReturn"}},
	20: {"a claim is deleted and made again", []string{"pkg/provisioner: TestPassReservesReleased", "pkg/provisioner: TestControlPlane"}},
	21: {"killed between lvcreate and PV, the claim deleted meanwhile", []string{"pkg/provisioner: TestKilledBetweenVolumeAndPV", "pkg/provisioner: TestOrphans"}},
	22: {"lvm fails: deleting says so", []string{"pkg/provisioner: TestDeleteWantsProof"}},
	23: {"a new volume does not show old blocks", []string{"pkg/provisioner: TestTrash", "test/provisioning: TestWipeOnADevice"}},
	24: {"a new volume on old signatures", []string{"pkg/provisioner: TestCreateOverOldSignatures", "pkg/lvm/filesystem: TestOldSignatures"}},
	25: {"a group with a disk missing", []string{"pkg/provisioner: TestPassPublishesCapacity", "pkg/provisioner: TestProvisionRefuses"}},
	26: {"lvm hangs", []string{"pkg/lvm: TestExecEndsTheWholeGroup", "pkg/provisioner: TestEveryCallGoesWrongOnce"}},
	27: {"a volume grows while its pod runs", []string{"pkg/provisioner: TestGrowOnline", "pkg/provisioner: TestGrowConvergesAfterEveryFault", "pkg/lvm/filesystem: TestGrow"}},
	28: {"deleted while mounted elsewhere", []string{"pkg/provisioner: TestDeleteWantsProof"}},
	29: {"a boot with inactive volumes", []string{"pkg/provisioner: TestPassAfterTheAPIWasWiped", "test/e2e: TestDrill"}},
	30: {"a pod with nodeName passes the scheduler by", []string{"pkg/provisioner: TestPodPassesTheSchedulerBy", "pkg/provisioner: TestControlPlane"}},
	31: {"50 creations on one node, and others' reads", []string{"pkg/lvm: TestLVMFiftyCreations"}},
	32: {"affinity to the disks, not to the host", []string{"pkg/provisioner: TestDisksInASpareMachine"}},
	33: {"deleting compares the LV UUID", []string{"pkg/provisioner: TestDeleteWantsProof"}},
	34: {"all volumes are back, and the database has to start", []string{"test/e2e: TestDrill"}},
	35: {"an idle agent runs one command an interval", []string{"pkg/provisioner: TestPassIdleCostsOneCommandAndNoWrites"}},
}

// TestEveryScenarioIsPlayed: each of the 35 has its tests, which exist.
func TestEveryScenarioIsPlayed(t *testing.T) {
	if len(scenarios) != 35 {
		t.Errorf("%d scenarios, want 35", len(scenarios))
	}
	for n := 1; n <= 35; n++ {
		s := scenarios[n]
		if len(s.tests) == 0 {
			t.Errorf("scenario %d (%s) has no test", n, s.what)
		}
		for _, test := range s.tests {
			if !exists(t, test) {
				t.Errorf("scenario %d (%s): there is no test %s", n, s.what, test)
			}
		}
	}
}

// exists looks for "directory: function" in the sources.
func exists(t *testing.T, where string) bool {
	t.Helper()
	dir, function, _ := strings.Cut(where, ": ")
	pattern, err := controlplane.Repository(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(content), "func "+function+"(") {
			return true
		}
	}
	return false
}
