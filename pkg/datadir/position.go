package datadir

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/berth-dev/berth/pkg/gcache"
)

// ZeroUUID is the uuid that Galera writes when it knows of no history.
const ZeroUUID = "00000000-0000-0000-0000-000000000000"

// Position is a point in the history of a Galera cluster: the history's uuid
// and the seqno of the last write set that is durable.
type Position struct {
	UUID  string `json:"uuid"`
	Seqno int64  `json:"seqno"`
}

// Undefined is the position of a member that knows of no history.
var Undefined = Position{UUID: ZeroUUID, Seqno: -1}

// ParsePosition reads "UUID:SEQNO".
func ParsePosition(s string) (Position, error) {
	uuid, number, found := strings.Cut(s, ":")
	if !found {
		return Undefined, fmt.Errorf("position %q: expected UUID:SEQNO", s)
	}
	uuid = strings.ToLower(uuid)
	if !gcache.IsUUID(uuid) {
		return Undefined, fmt.Errorf("position %q: %q is not a uuid", s, uuid)
	}
	seqno, err := strconv.ParseInt(number, 10, 64)
	if err != nil || seqno < -1 {
		return Undefined, fmt.Errorf("position %q: %q is not a seqno", s, number)
	}
	return Position{UUID: uuid, Seqno: seqno}, nil
}

// KnowsHistory says whether the uuid is a real one.
func (p Position) KnowsHistory() bool {
	return p.UUID != "" && p.UUID != ZeroUUID
}

// IsReal says whether the position can be handed to a server: a real uuid and a seqno.
func (p Position) IsReal() bool {
	return p.KnowsHistory() && p.Seqno >= 0
}

// String is the form that --wsrep-start-position takes.
func (p Position) String() string {
	if p.UUID == "" {
		return Undefined.String()
	}
	return p.UUID + ":" + strconv.FormatInt(p.Seqno, 10)
}
