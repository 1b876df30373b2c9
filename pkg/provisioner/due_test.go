package provisioner

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/berth-dev/berth/pkg/lvm/lvmtest"
)

// A deletion that fell due while the disks were away is asked for again with the pass
// that finds them, once, and each time that they come.
func TestDeletionDueWhenTheDisksCome(t *testing.T) {
	f := newFixture(t)
	pv := f.deletable("data-galera-0")
	f.mustProvision("scratch") // of no concern
	away := lvmtest.NewDisk(0)
	f.disk.Swap(away)
	f.start(f.calls)
	var asked []string
	f.agent.ask = func(pv *corev1.PersistentVolume) { asked = append(asked, pv.Name) }
	for range 2 { // with an agent that has never seen them, and with one that has
		f.pass()
		if len(asked) > 0 {
			t.Fatalf("asked for %q while the disks are away", asked)
		}
		f.disk.Swap(away)
		f.pass()
		if !slices.Equal(asked, []string{pv.Name}) || !f.agent.ShouldDelete(t.Context(), &pv) {
			t.Fatalf("asked for %q, want %s", asked, pv.Name)
		}
		f.pass()
		if len(asked) > 1 {
			t.Fatalf("asked for %q in the next pass, too", asked)
		}
		asked = nil
		f.disk.Swap(away)
	}
}
