package provisioner

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-dev/berth/pkg/volume"
)

// vouchTimeout is how long volumes wait at most to be brought home for an API server
// that does not answer.
const vouchTimeout = 10 * time.Second

// vouch makes sure that the volumes that this agent has seen are those of the API
// server that answers now, and notes which one that is. An API server that has lost
// its memory is seen by one watch after the other: a pass that still sees the former
// one's volumes would publish none of them, and then the capacity that says that all
// are there. Capacity names the API server that was vouched for, and counts as a
// report to no other.
//
// It costs two reads, so it is done by the first pass, and by those before and after
// which capacity is made. What a cache holds only gets newer after that. fresh says
// that this pass has done it.
func (a *Agent) vouch(ctx context.Context) (fresh bool, err error) {
	if a.vouched {
		return false, nil
	}
	a.life = ""
	ctx, cancel := context.WithTimeout(ctx, vouchTimeout)
	defer cancel()
	seen := a.pvs.List()
	life, err := a.apiServer(ctx)
	if err != nil {
		return false, err
	}
	list, err := a.client.CoreV1().PersistentVolumes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return false, fmt.Errorf("list PVs to hold what was seen against them: %w", err)
	}
	live := make(map[types.UID]bool, len(list.Items))
	for i := range list.Items {
		live[list.Items[i].UID] = true
	}
	for _, obj := range seen {
		pv, ok := obj.(*corev1.PersistentVolume)
		if ok && pv.Annotations[annProvisionedBy] == volume.Provisioner && !live[pv.UID] {
			return false, fmt.Errorf("PersistentVolume %s (UID %s) was seen and is not on the API server: no capacity is published until the watch has caught up; if that takes more than a minute, delete this agent's pod, which is safe at any time", pv.Name, pv.UID)
		}
	}
	a.life, a.vouched = life, true
	return true, nil
}

// errNotVouched ends a pass that has capacity to make and has not vouched: the next one
// does that first.
var errNotVouched = errors.New("capacity is made only by a pass that has held what it sees against the API server")

// vouchAgain has the next pass do so, soon.
func (a *Agent) vouchAgain() {
	a.vouched = false
	a.Wake()
}
