package main

import (
	"testing"
	"time"
)

// TestComesHome re-creates a few clusters under each scheduler. Berth's must bring
// every member home; stock must not, or the test plays no disaster.
func TestComesHome(t *testing.T) {
	small := size{clusters: 6, nodes: 9, look: 8 * time.Second, limit: 3 * time.Minute, still: 30 * time.Second}
	for _, c := range contenders() {
		t.Run(c.name, func(t *testing.T) {
			o, err := homecoming(t.Context(), c, small, "../../../manifests")
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d members: %d at home, %d on a wrong node, %d with a blank volume, %d wait; %d blank volumes made",
				small.clusters*members, o.home, o.wrong, o.blank, o.pending, o.blanksMade)
			if c.name == "stock" {
				if o.wrong+o.blanksMade == 0 {
					t.Error("stock kube-scheduler brought all members home: their volumes came back before the pods were looked at")
				}
				return
			}
			if o.wrong+o.blank+o.blanksMade+o.pending > 0 {
				t.Errorf("%+v, want all at home and no blank volume", o)
			}
		})
	}
}
