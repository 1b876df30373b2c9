package drill

import (
	"fmt"

	"github.com/berth-dev/berth/pkg/datadir"
)

// Judge lists everything in an act that must not happen. It believes no
// decision: it compares what was decided with what was reported, and what was
// acknowledged with what was found.
func (a Act) Judge() []string {
	var faults []string
	fault := func(format string, args ...any) {
		faults = append(faults, a.Name+": "+fmt.Sprintf(format, args...))
	}
	for _, m := range a.Members {
		if !a.Install && m.Before != m.After {
			fault("%s changed its home: %s on %s before, %s on %s after", m.Member, m.Before.LVUUID, m.Before.Node, m.After.LVUUID, m.After.Node)
		}
		if m.After.Node == "" || m.After.LVUUID == "" {
			fault("%s has no home: no logical volume carries its claim", m.Member)
		}
		if m.RowsLost > 0 {
			fault("%s lost %d of %d acknowledged rows", m.Member, m.RowsLost, a.RowsAcknowledged)
		}
		if m.Transfer == UnknownMove {
			fault("%s: its server's log does not say how it came to its state", m.Member)
		}
		if m.Transfer == SST && a.CouldUseIST(m) {
			fault("%s took a full copy (SST) from %s although the transactions it lacked were cached", m.Member, m.Position)
		}
	}
	faults = append(faults, a.judgeBootstrap()...)
	for i, m := range a.Members {
		for _, other := range a.Members[:i] {
			if m.After.Node == other.After.Node {
				fault("%s and %s live on the same node %s", other.Member, m.Member, m.After.Node)
			}
		}
	}
	if a.RowsAcknowledged == 0 {
		fault("no row was acknowledged: the act proves nothing")
	}
	return faults
}

func (a Act) judgeBootstrap() []string {
	var faults []string
	fault := func(format string, args ...any) {
		faults = append(faults, a.Name+": "+fmt.Sprintf(format, args...))
	}
	var starters []MemberRecord
	for _, m := range a.Members {
		if m.Transfer == Bootstrapped {
			starters = append(starters, m)
		}
	}
	want := 0
	if a.Rebuild {
		want = 1
	}
	if len(starters) != want {
		fault("%d members bootstrapped, not %d", len(starters), want)
	}
	if a.GrantsConsumed != want && (!a.Interrupted || a.GrantsConsumed < want) {
		fault("%d grants were consumed, not %d", a.GrantsConsumed, want)
	}
	if a.Install {
		return faults
	}
	for _, m := range a.Members {
		// The report of a member that stayed up is of how it once came: empty, perhaps.
		if m.UUID != a.ClusterUUID && !((a.Interrupted || m.Transfer == Stayed) && m.withoutHistory()) {
			fault("the cluster runs history %s, %s reported %s", a.ClusterUUID, m.Member, m.UUID)
		}
	}
	for _, starter := range starters {
		for _, m := range a.Members {
			if m.UUID == starter.UUID && m.Seqno > starter.Seqno && !m.Later {
				fault("%s bootstrapped from %d although %s was at %d", starter.Member, starter.Seqno, m.Member, m.Seqno)
			}
		}
	}
	return faults
}

// CouldUseIST says whether a running member still had the transactions that a
// joiner lacked. A member that joins an empty volume needs a full copy, and one
// that was killed while it changed a table's definition: that may be half done.
func (a Act) CouldUseIST(joiner MemberRecord) bool {
	if a.Install || joiner.Seqno < 0 || joiner.Class == string(datadir.UnsafeDDL) || joiner.Class == string(datadir.SSTVictim) {
		return false
	}
	for _, donor := range a.Members {
		if donor.Member != joiner.Member && joiner.UUID == a.ClusterUUID && donor.OldestCached > 0 && donor.OldestCached <= joiner.Seqno+1 {
			return true
		}
	}
	return false
}

// withoutHistory says that a member was interrupted before it had data.
func (m MemberRecord) withoutHistory() bool {
	return m.Class == string(datadir.Empty) || m.Class == string(datadir.SSTVictim)
}

// Lost is the number of acknowledged rows that some member does not have.
func (a Act) Lost() int {
	lost := 0
	for _, m := range a.Members {
		lost = max(lost, m.RowsLost)
	}
	return lost
}
