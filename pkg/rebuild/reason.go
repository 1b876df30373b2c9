package rebuild

import "fmt"

// Code names a reason. Codes are the same in status, events, logs and docs.
type Code string

// Codes of all reasons.
const (
	MissingMembers    Code = "MissingMembers"    // members have not reported
	RecoveryRunning   Code = "RecoveryRunning"   // members are still looking for their position
	ServerUnreached   Code = "ServerUnreached"   // a member is started but does not answer
	Diverged          Code = "Diverged"          // more than one history
	Regressed         Code = "Regressed"         // the best is behind what was once observed
	NoCandidate       Code = "NoCandidate"       // nobody's data may start a cluster
	DataMissing       Code = "DataMissing"       // all empty, but there was data once
	UnsoundData       Code = "UnsoundData"       // this member's data must not be overwritten
	AwaitingAgreed    Code = "AwaitingAgreed"    // members have not agreed to the grant
	PeersRunning      Code = "PeersRunning"      // servers of the cluster run: join them
	Chosen            Code = "Chosen"            // a member was chosen to bootstrap
	OrderedReady      Code = "OrderedReady"      // the StatefulSet starts its pods one by one
	OrdinalUnwanted   Code = "OrdinalUnwanted"   // the StatefulSet has fewer replicas
	VolumeBusy        Code = "VolumeBusy"        // another process holds the volume's lock
	RecoveryDisturbed Code = "RecoveryDisturbed" // recovery failed for a reason outside the data
)

// Reason says why a verdict is as it is and what would change it.
type Reason struct {
	Code Code   `json:"code"`
	Text string `json:"text"`
}

// String is the form for logs and errors.
func (r Reason) String() string { return string(r.Code) + ": " + r.Text }

func because(code Code, format string, args ...any) Reason {
	return Reason{Code: code, Text: fmt.Sprintf(format, args...)}
}
