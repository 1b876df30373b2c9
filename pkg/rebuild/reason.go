package rebuild

import "fmt"

// Code names a reason. Codes are the same in status, events, metrics, logs and docs.
type Code string

// Codes of all reasons.
const (
	MissingMembers    Code = "MissingMembers"    // members have not reported
	RecoveryRunning   Code = "RecoveryRunning"   // members are still looking for their position
	NoPrimary         Code = "NoPrimary"         // a server runs and is in no Primary component
	ServerUnreached   Code = "ServerUnreached"   // a member is started but does not answer
	Diverged          Code = "Diverged"          // more than one history
	ReversedHistory   Code = "ReversedHistory"   // transactions that the cluster went on without
	Regressed         Code = "Regressed"         // the best is behind what was once observed
	EpochMissing      Code = "EpochMissing"      // nobody holds the data of the newest epoch
	NoCandidate       Code = "NoCandidate"       // nobody's data may start a cluster
	DataMissing       Code = "DataMissing"       // all empty, but there was data once
	UnsoundData       Code = "UnsoundData"       // this member's data must not be overwritten
	AwaitingAgreed    Code = "AwaitingAgreed"    // members have not agreed to the grant
	AwaitingFresher   Code = "AwaitingFresher"   // a fresher member joins first
	PeersRunning      Code = "PeersRunning"      // servers of the cluster run: join them
	Chosen            Code = "Chosen"            // a member was chosen to bootstrap
	OverrideRefused   Code = "OverrideRefused"   // an override does not match what was reported
	OverrideUsed      Code = "OverrideUsed"      // an override's attempt has been issued
	OrderedReady      Code = "OrderedReady"      // the StatefulSet starts its pods one by one
	OrdinalUnwanted   Code = "OrdinalUnwanted"   // the StatefulSet has fewer replicas
	VolumeBusy        Code = "VolumeBusy"        // another process holds the volume's lock
	RecoveryDisturbed Code = "RecoveryDisturbed" // recovery failed for a reason outside the data
)

// Reason says why a verdict is as it is, and what would change it.
type Reason struct {
	Code Code   `json:"code"`
	Text string `json:"text"`
	// Unblock is what would change it, with the command where there is one; empty
	// when nothing has to be done.
	Unblock string `json:"unblock,omitempty"`
}

// String is the form for logs, events and errors.
func (r Reason) String() string {
	if r.Unblock == "" {
		return string(r.Code) + ": " + r.Text
	}
	return string(r.Code) + ": " + r.Text + "; what unblocks it: " + r.Unblock
}

func because(code Code, format string, args ...any) Reason {
	return Reason{Code: code, Text: fmt.Sprintf(format, args...)}
}

func (r Reason) unblockedBy(format string, args ...any) Reason {
	r.Unblock = fmt.Sprintf(format, args...)
	return r
}
