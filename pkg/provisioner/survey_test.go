package provisioner

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-dev/berth/pkg/lvm"
	"github.com/berth-dev/berth/pkg/lvm/lvmtest"
	"github.com/berth-dev/berth/pkg/volume"
)

// What lvcreate wrote onto a disk is read from it by somebody who knows nothing
// else, next to volumes of others.
func TestSurveyOfRealLVM(t *testing.T) {
	run := lvmtest.LoopGroup(t, "berth", "128M")
	system := lvm.New(run, lvm.MetadataOnly())
	report, err := system.Report(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := volume.Tags{
		Namespace: "db", Claim: "data-my-galera.v2-1", Member: volume.Member{StatefulSet: "my-galera.v2", Ordinal: 1, Replicas: 3},
		Class: "berth.fast", FSType: "xfs", FSUUID: "11111111-2222-3333-4444-555555555555",
		State: volume.Creating, Generation: 1, APIServer: "99999999-2222-3333-4444-555555555555",
	}
	vg := report.VGs[0]
	if err := system.Create(t.Context(), vg, volume.LVName(want.Namespace, want.Claim), 8<<20, lvm.Layout{}, append(want.Encode(), "owner=us")); err != nil {
		t.Fatal(err)
	}
	if err := system.Create(t.Context(), vg, "theirs", 8<<20, lvm.Layout{}, []string{"owner=them"}); err != nil {
		t.Fatal(err)
	}
	made := lvm.LV{Name: volume.LVName(want.Namespace, want.Claim)}
	if err := system.SwapTag(t.Context(), vg, made, volume.StateTag(volume.Creating), volume.StateTag(volume.Ready)); err != nil {
		t.Fatal(err)
	}
	want.State = volume.Ready

	// A stranger: another System, and the name is gone.
	if _, err := run.Run(t.Context(), "test", "lvm", "lvrename", "--driverloaded", "n", "berth", made.Name, "renamed"); err != nil {
		t.Fatal(err)
	}
	if report, err = lvm.New(run, lvm.MetadataOnly()).Report(t.Context()); err != nil {
		t.Fatal(err)
	}
	found, err := ofClaim(Survey(report), want.Namespace, want.Claim)
	if err != nil || len(found) != 1 {
		t.Fatalf("%d volumes of the claim, %v", len(found), err)
	}
	if diff := cmp.Diff(want, found[0].Tags); diff != "" {
		t.Errorf("tags (-want +got)\n%s", diff)
	}
	if n := len(Survey(report)); n != 1 {
		t.Errorf("%d volumes of Berth, want 1: the other is somebody else's", n)
	}
}
