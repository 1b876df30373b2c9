package chaos

import (
	"fmt"

	"github.com/berth-dev/berth/test/drill"
	"github.com/berth-dev/berth/test/loopback"
)

// judge adds what was seen of the processes to what the drill's judge finds in
// the servers' own words.
func (r *Round) judge(all []loopback.Run, before int, history string) {
	runs := all[before:]
	for _, fault := range r.Act.Judge() {
		r.Faults = append(r.Faults, fault)
	}
	fault := func(format string, args ...any) {
		r.Faults = append(r.Faults, r.Act.Name+": "+fmt.Sprintf(format, args...))
	}
	for _, pair := range loopback.Concurrent(all, before) {
		r.Concurrent++
		fault("member %d bootstrapped while the server of member %d ran", pair[1].Ordinal, pair[0].Ordinal)
	}
	consumed := map[int64]int{}
	for _, run := range runs {
		if consumed[run.Attempt]++; run.Attempt > 0 && consumed[run.Attempt] > 1 {
			r.Concurrent++
			fault("attempt %d was consumed twice", run.Attempt)
		}
	}
	if r.Act.ClusterUUID != history {
		fault("the cluster runs history %s, it was installed with %s", r.Act.ClusterUUID, history)
	}
	for _, m := range r.Act.Members {
		if m.Transfer == drill.SST && r.Act.CouldUseIST(m) {
			r.Avoidable++
		}
	}
}
