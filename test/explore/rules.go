package explore

import (
	"time"

	"github.com/berth-dev/berth/pkg/rebuild"
)

// Rules are the real functions by which a member changes the object.
type Rules struct {
	Put     func(*rebuild.Cluster, rebuild.Report)
	Act     func(rebuild.Waiter, *rebuild.Cluster, time.Time, func() string) (rebuild.Waiter, rebuild.Verdict, int64, bool)
	Ready   func(rebuild.Waiter, rebuild.Cluster, rebuild.Verdict, time.Time) (*rebuild.Grant, bool)
	Consume func(rebuild.Waiter, *rebuild.Cluster, int64, time.Time) *rebuild.Reason
	Enter   func(rebuild.Waiter, *rebuild.Cluster, time.Time) *rebuild.Reason
	Witness func(*rebuild.Cluster, rebuild.Sighting) bool
	// Stranded is asked by the sidecar of a server that takes no connections yet.
	Stranded func(c rebuild.Cluster, ordinal int, podUID string, silent []int) bool
}

// Real are those of pkg/rebuild.
func Real() Rules {
	return Rules{
		Put:     (*rebuild.Cluster).Put,
		Act:     rebuild.Waiter.Act,
		Ready:   rebuild.Waiter.Ready,
		Consume: rebuild.Waiter.Consume,
		Enter:   rebuild.Waiter.Enter,
		Witness: (*rebuild.Cluster).Witness,

		Stranded: rebuild.Stranded,
	}
}
