package damage

import (
	"math/rand/v2"

	"github.com/berth-dev/berth/pkg/innodb"
)

// State is what happened to a directory before it is damaged.
type State string

// States of a directory. Killed were killed under load and not recovered, with
// a small buffer pool that wrote pages back, or Unflushed with none written back;
// Transfer and Definition come damaged from a server that was killed in the
// middle of receiving a copy, or of a DDL statement.
const (
	Stopped    State = "stopped"
	Killed     State = "killed"
	Unflushed  State = "unflushed"
	Transfer   State = "transfer"
	Definition State = "definition"
)

// Case is one kind of damage.
type Case struct {
	// ID is the number in the reference's table.
	ID   string
	What string
	On   State
	// Codes are kinds of findings, one of which has to be there; none, when no
	// check without a server can see it.
	Codes []innodb.Code
	// Verdict of the directory.
	Verdict innodb.Verdict
	do      func(s *scene, m Material) error
}

// Material is what some kinds of damage are made of: other states of the same
// directory.
type Material struct {
	// Older is the directory before it was written to again.
	Older string
	// Newer is the directory after it was written to again.
	Newer string
	// Recovered are the killed directories after the server's recovery.
	Recovered map[State]string
	// End is the LSN at which their logs end.
	End map[State]uint64
}

// Do damages the data directory dir at places that the seed chooses.
func (c Case) Do(dir string, m Material, seed uint64) error {
	return c.do(&scene{dir: dir, rand: rand.New(rand.NewPCG(seed, 0))}, m)
}

// Unseen says that no check without a server can see it.
func (c Case) Unseen() bool { return len(c.Codes) == 0 }

// Cases lists all kinds, in the order of the reference.
func Cases() []Case {
	var all []Case
	for _, some := range [][]Case{tables(), undo(), redoLog(), killed(), aria(), files(), system(), schema(), unfinished(), harmless(), unseen()} {
		all = append(all, some...)
	}
	return all
}
