package rebuild

import (
	"slices"
	"time"

	"github.com/berth-dev/berth/pkg/datadir"
)

// State says what a member does.
type State string

// States of a member.
const (
	// Recovering: the pod holds the volume's lock and has read the evidence; the
	// position is not known yet.
	Recovering State = "recovering"
	// Waiting: the pod holds the volume's lock, no server runs on it, and the
	// report is complete.
	Waiting State = "waiting"
	// Started: a server runs on the volume, or did when the pod was last heard of.
	Started State = "started"
)

// Evidence is what was found on the volume before anything was changed.
type Evidence struct {
	Grastate datadir.Grastate `json:"grastate"`
	View     *datadir.View    `json:"view,omitempty"`
	Markers  []string         `json:"markers,omitempty"` // of an interrupted state transfer
	Traces   []string         `json:"traces,omitempty"`  // of a server that was not stopped in order
	// Cache is what the member could send to joiners, if its server keeps it.
	Cache datadir.Cache `json:"cache,omitzero"`
	// Lineage is what the volume remembers; nil when no server ever ran on it.
	Lineage *datadir.Lineage `json:"lineage,omitempty"`
	// Promised is the highest attempt to which a process on this volume has agreed.
	Promised int64 `json:"promised,omitempty"`
	// Committed is the last position that was seen to be durable on this volume
	// while its server ran.
	Committed *datadir.Position `json:"committed,omitempty"`
	// Notes say which files of evidence make no sense, and why.
	Notes []string `json:"notes,omitempty"`
}

// epochs are those that the volume has lived through, oldest first.
func (e Evidence) epochs() []datadir.Epoch {
	if e.Lineage == nil {
		return nil
	}
	return e.Lineage.Epochs
}

// attempt is the highest attempt that the volume knows of.
func (e Evidence) attempt() int64 {
	highest := e.Promised
	for _, epoch := range e.epochs() {
		highest = max(highest, epoch.Attempt)
	}
	return highest
}

// Phase is one step of a member's preparation.
type Phase struct {
	Name         string `json:"name"`
	Milliseconds int64  `json:"milliseconds"`
}

// Check is how far a member's pages were looked at, and what came of it (see
// package innodb).
type Check struct {
	Level       string `json:"level"`
	Verdict     string `json:"verdict"`
	Pages       int64  `json:"pages,omitempty"`
	NotVerified int64  `json:"notVerified,omitempty"`
	Bytes       int64  `json:"bytes,omitempty"`
}

// Report is what a member's newest process says about its volume.
type Report struct {
	Ordinal int    `json:"ordinal"`
	Pod     string `json:"pod"`
	PodUID  string `json:"podUID"`
	// Start names one start of the pod's container; a restarted container
	// reports anew under another one.
	Start    string           `json:"start"`
	Node     string           `json:"node"`
	Address  string           `json:"address"` // IP address of the pod
	Volume   string           `json:"volume"`  // name of the claim's PersistentVolume
	State    State            `json:"state"`
	Class    datadir.Class    `json:"class,omitempty"`
	Position datadir.Position `json:"position"`
	Source   string           `json:"source,omitempty"`
	// Native was read without the server and without writing: what the position is at
	// least, known before the server has recovered it.
	Native   *datadir.Position `json:"native,omitempty"`
	Check    Check             `json:"check,omitzero"`
	Evidence Evidence          `json:"evidence"`
	Findings []datadir.Finding `json:"findings,omitempty"`
	Phases   []Phase           `json:"phases,omitempty"`
	// Observed is what the member's server was last seen to have committed, and Seen
	// when the member last wrote, by its own clock (RFC 3339). Both are for people:
	// decisions rest on Cluster.Observed and on no clock.
	Observed *datadir.Position `json:"observed,omitempty"`
	Seen     string            `json:"seen,omitempty"`
	// Agreed is the attempt to which this process has agreed.
	Agreed int64 `json:"agreed,omitempty"`
	// Joined: its server was seen in the Primary component.
	Joined bool `json:"joined,omitempty"`
}

// Is says whether two reports come from the same process.
func (r Report) Is(other Report) bool {
	return r.Ordinal == other.Ordinal && r.PodUID == other.PodUID && r.Start == other.Start
}

// Stray is a volume that its member no longer has, and on which a server was
// started whose end nobody has seen.
type Stray struct {
	Ordinal int    `json:"ordinal"`
	Pod     string `json:"pod"`
	Node    string `json:"node"`
	Volume  string `json:"volume"`
	Address string `json:"address"`
}

// Behind says that a member beyond the replicas was in the Primary component of
// an epoch, and that the component went on without it.
type Behind struct {
	Ordinal int    `json:"ordinal"`
	Epoch   string `json:"epoch"`
}

// Settled names the last Primary view of which a member was seen to have
// everything durable that was written before it.
type Settled struct {
	Epoch string `json:"epoch"`
	View  string `json:"view"`
}

// Cluster is everything the decision rests on.
type Cluster struct {
	// Replicas and FirstOrdinal give the expected members.
	Replicas     int      `json:"replicas"`
	FirstOrdinal int      `json:"firstOrdinal,omitempty"`
	Members      []Report `json:"members,omitempty"`
	Strays       []Stray  `json:"strays,omitempty"`
	Behind       []Behind `json:"behind,omitempty"`
	Settled      Settled  `json:"settled,omitzero"`
	// Grants are the last ones, oldest first.
	Grants []Grant `json:"grants,omitempty"`
	// Observed is the highest position ever reported, one for each uuid.
	Observed []datadir.Position `json:"observed,omitempty"`
	Summary  `json:",inline"`

	// Namespace, Name, Generation and Spec are those of the object.
	Namespace  string `json:"-"`
	Name       string `json:"-"`
	Generation int64  `json:"-"`
	Spec       Spec   `json:"-"`

	// The rest is known only to the one who decides. Answering are the ordinals of
	// members whose group port accepted a connection. It proves that a server runs
	// there; silence proves nothing.
	Answering []int `json:"-"`
	// Outside are members whose server answers and, by its own sidecar's word, is in
	// no Primary component: it proves a server, and nobody can join it.
	Outside []int `json:"-"`
	// Seen is the highest attempt that this process has seen, also in states that
	// the object has lost since.
	Seen int64 `json:"-"`
	// Alive are members whose process is known to run: the one that decides.
	Alive []int `json:"-"`
	// Waited is how long the state has not changed, by this process's own clock.
	// Only policies look at it, never a proof.
	Waited time.Duration `json:"-"`
}

// Member gives the report of an ordinal.
func (c *Cluster) Member(ordinal int) (*Report, bool) {
	for i := range c.Members {
		if c.Members[i].Ordinal == ordinal {
			return &c.Members[i], true
		}
	}
	return nil, false
}

// Expected lists the ordinals of the members that the cluster should have.
func (c *Cluster) Expected() []int {
	ordinals := make([]int, 0, c.Replicas)
	for i := range c.Replicas {
		ordinals = append(ordinals, c.FirstOrdinal+i)
	}
	return ordinals
}

// IsExpected says whether a member is one of the StatefulSet's replicas.
func (c *Cluster) IsExpected(ordinal int) bool {
	return ordinal >= c.FirstOrdinal && ordinal < c.FirstOrdinal+c.Replicas
}

// Addresses lists the addresses of all reported members, lowest ordinal first.
func (c *Cluster) Addresses() []string {
	var addresses []string
	for _, r := range sorted(c.Members) {
		if r.Address != "" {
			addresses = append(addresses, r.Address)
		}
	}
	return addresses
}

// Put replaces a member's report by that of its newest process and remembers
// the position.
func (c *Cluster) Put(r Report) {
	// The lock of a volume proves that no server runs on it, and nothing about the
	// volume that the member had before.
	c.Strays = slices.DeleteFunc(slices.Clone(c.Strays), func(s Stray) bool { return s.Volume == r.Volume })
	if old, found := c.Member(r.Ordinal); found {
		if old.State == Started && old.Volume != r.Volume {
			c.Strays = append(c.Strays, Stray{Ordinal: old.Ordinal, Pod: old.Pod, Node: old.Node, Volume: old.Volume, Address: old.Address})
		}
		*old = r
	} else {
		c.Members = append(c.Members, r)
	}
	c.Members = sorted(c.Members)
	// A corrupt volume's position counts: what was acknowledged up to there must
	// not be lost unnoticed. That of an interrupted transfer is its donor's.
	if mayLead(r.Class) || r.Class == datadir.Corrupt {
		c.observe(r.Position)
	}
}

func (c *Cluster) observe(p datadir.Position) {
	if !p.IsReal() {
		return
	}
	for i := range c.Observed {
		if c.Observed[i].UUID == p.UUID {
			c.Observed[i].Seqno = max(c.Observed[i].Seqno, p.Seqno)
			return
		}
	}
	c.Observed = append(c.Observed, p)
}

// Clone copies the state as deep as its transitions change it.
func (c *Cluster) Clone() Cluster {
	copied := *c
	copied.Members = slices.Clone(c.Members)
	copied.Grants = slices.Clone(c.Grants)
	copied.Observed = slices.Clone(c.Observed)
	copied.Strays = slices.Clone(c.Strays)
	copied.Behind = slices.Clone(c.Behind)
	copied.Conditions = slices.Clone(c.Conditions)
	return copied
}

func sorted(reports []Report) []Report {
	reports = slices.Clone(reports)
	slices.SortFunc(reports, func(a, b Report) int { return a.Ordinal - b.Ordinal })
	return reports
}
