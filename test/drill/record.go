package drill

// Transfer is how a member came to the state of the others.
type Transfer string

// Transfers, as the servers themselves logged them.
const (
	Bootstrapped Transfer = "bootstrap" // started the primary component
	IST          Transfer = "IST"       // received the missing transactions only
	SST          Transfer = "SST"       // received a full copy
	NoTransfer   Transfer = "none"      // had everything already
	Stayed       Transfer = "stayed up" // its server ran all the time
	UnknownMove  Transfer = "unknown"   // the log does not say
)

// Place is where a member's data lives, as the disk itself says: the logical
// volume with the claim's tag, found on the node by lvm.
type Place struct {
	Node   string `json:"node"`
	LVUUID string `json:"lvUUID"`
}

// MemberRecord is what one act did to one member.
type MemberRecord struct {
	Member   string   `json:"member"`
	Before   Place    `json:"before"`
	After    Place    `json:"after"`
	Class    string   `json:"class"`    // as reported by galera-init
	Position string   `json:"position"` // uuid:seqno, as reported by galera-init
	Seqno    int64    `json:"seqno"`
	UUID     string   `json:"uuid"`
	Transfer Transfer `json:"transfer"`
	// OldestCached is the oldest transaction that the bootstrapped member could
	// send when it was up (wsrep_local_cached_downto); 0 when not known.
	OldestCached int64 `json:"oldestCached,omitempty"`
	// Later says that the report is newer than the grant, on which it had no bearing.
	Later    bool `json:"later,omitempty"`
	Rows     int  `json:"rows"`     // acknowledged rows found on this member
	RowsLost int  `json:"rowsLost"` // acknowledged rows missing on this member
}

// Act is one disaster and what came of it.
type Act struct {
	Name    string         `json:"name"`
	Members []MemberRecord `json:"members"`
	// Granted names who was allowed to bootstrap, Why the rule and the reason.
	Granted string `json:"granted,omitempty"`
	Why     string `json:"why,omitempty"`
	// GrantsConsumed counts the grants that were used up in this act.
	GrantsConsumed int `json:"grantsConsumed"`
	// Rebuild says that no server ran before: then exactly one bootstraps.
	Rebuild bool `json:"rebuild"`
	// Interrupted says that members were ended while they came back: grants may be
	// used up and volumes half filled, and still nothing is wrong.
	Interrupted bool `json:"interrupted,omitempty"`
	// Install says that there was no data before: then joiners need a full copy.
	Install bool `json:"install"`
	// ClusterUUID is the history that the servers run in the end.
	ClusterUUID      string  `json:"clusterUUID"`
	FirstSyncedAfter float64 `json:"firstSyncedAfterSeconds"`
	AllSyncedAfter   float64 `json:"allSyncedAfterSeconds"`
	RowsAcknowledged int     `json:"rowsAcknowledged"`
}

// Record is a whole drill.
type Record struct {
	Acts []Act `json:"acts"`
}
