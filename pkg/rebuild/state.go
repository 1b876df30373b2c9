package rebuild

import (
	"fmt"
	"slices"

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
	// Attempt and Begin are those of the newest epoch in the lineage file; 0 when
	// there is none. Epochs are all of its epochs, oldest first.
	Attempt int64             `json:"attempt,omitempty"`
	Begin   *datadir.Position `json:"begin,omitempty"`
	Epochs  []datadir.Epoch   `json:"epochs,omitempty"`
	// Committed is what the running server was last seen to have committed.
	Committed *datadir.Position `json:"committed,omitempty"`
	// Notes say which files of evidence make no sense, and why.
	Notes []string `json:"notes,omitempty"`
}

// Phase is one step of a member's preparation.
type Phase struct {
	Name         string `json:"name"`
	Milliseconds int64  `json:"milliseconds"`
}

// Report is what a member's newest process says about its volume.
type Report struct {
	Ordinal int    `json:"ordinal"`
	Pod     string `json:"pod"`
	PodUID  string `json:"podUID"`
	// Start names one start of the pod's container; a restarted container
	// reports anew under another one.
	Start    string            `json:"start"`
	Node     string            `json:"node"`
	Address  string            `json:"address"` // IP address of the pod
	Volume   string            `json:"volume"`  // name of the claim's PersistentVolume
	State    State             `json:"state"`
	Class    datadir.Class     `json:"class,omitempty"`
	Position datadir.Position  `json:"position"`
	Source   string            `json:"source,omitempty"`
	Evidence Evidence          `json:"evidence"`
	Findings []datadir.Finding `json:"findings,omitempty"`
	Phases   []Phase           `json:"phases,omitempty"`
	// Agreed is the attempt to which this process has agreed.
	Agreed int64 `json:"agreed,omitempty"`
}

// Is says whether two reports come from the same process.
func (r Report) Is(other Report) bool {
	return r.Ordinal == other.Ordinal && r.PodUID == other.PodUID && r.Start == other.Start
}

// Grant is the permission to bootstrap once. Grants are never changed but for
// Consumed, which goes from false to true.
type Grant struct {
	Attempt  int64            `json:"attempt"`
	Member   int              `json:"member"`
	Pod      string           `json:"pod"`
	PodUID   string           `json:"podUID"`
	Start    string           `json:"start"`
	Volume   string           `json:"volume"`
	Position datadir.Position `json:"position"`
	Rule     Rule             `json:"rule"`
	Consumed bool             `json:"consumed"`
	// Reports are those on which the decision rests.
	Reports []Report `json:"reports"`
}

// Epoch is what the grant begins. A start gets one grant at most an attempt, so
// that its name and the attempt's number are a name that no other epoch has.
func (g Grant) Epoch() datadir.Epoch {
	return datadir.Epoch{ID: fmt.Sprintf("%d-%s", g.Attempt, g.Start), Attempt: g.Attempt, Begin: g.Position}
}

// Cluster is everything the decision rests on. Answering is seen by the one who
// decides and is not kept.
type Cluster struct {
	// Replicas and FirstOrdinal give the expected members.
	Replicas     int      `json:"replicas"`
	FirstOrdinal int      `json:"firstOrdinal,omitempty"`
	Members      []Report `json:"members,omitempty"`
	// Grants are the last ones, oldest first.
	Grants []Grant `json:"grants,omitempty"`
	// Observed is the highest position ever reported, one for each uuid.
	Observed []datadir.Position `json:"observed,omitempty"`

	// Answering are the ordinals of members whose group port accepted a connection.
	// It proves that a server runs there; silence proves nothing.
	Answering []int `json:"-"`
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

// LastGrant gives the newest grant.
func (c *Cluster) LastGrant() (*Grant, bool) {
	if len(c.Grants) == 0 {
		return nil, false
	}
	return &c.Grants[len(c.Grants)-1], true
}

// Put replaces a member's report by that of its newest process and remembers
// the position.
func (c *Cluster) Put(r Report) {
	if old, found := c.Member(r.Ordinal); found {
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

func sorted(reports []Report) []Report {
	reports = slices.Clone(reports)
	slices.SortFunc(reports, func(a, b Report) int { return a.Ordinal - b.Ordinal })
	return reports
}
