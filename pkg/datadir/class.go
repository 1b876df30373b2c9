package datadir

import (
	"fmt"
	"slices"
)

// Class says what a data directory may be used for.
type Class string

// Classes, in the order in which they may start a cluster. Classes after
// UnsafeDDL never start one.
const (
	Clean     Class = "CLEAN"      // stopped in order; the position is in grastate.dat
	Crashed   Class = "CRASHED"    // the server's own recovery gave a position of the same uuid
	UnsafeDDL Class = "UNSAFE-DDL" // no usable grastate.dat, but recovery gave a real position
	SSTVictim Class = "SST-VICTIM" // a state transfer was interrupted: half a copy
	Tainted   Class = "TAINTED"    // transactions were rolled back by guess
	Empty     Class = "EMPTY"      // no data
	Foreign   Class = "FOREIGN"    // belongs to another cluster or member, or to none
	Corrupt   Class = "CORRUPT"    // validation or recovery fails
)

// KeepsPosition says whether a member of this class joins with its own
// position, so that an incremental transfer is enough.
func (c Class) KeepsPosition() bool { return c == Clean || c == Crashed }

// MayLead says whether a member of this class can start a cluster.
func (c Class) MayLead() bool { return c == Clean || c == Crashed || c == UnsafeDDL }

// Sources of a position.
const (
	FromGrastate = "grastate.dat"
	FromRecovery = "wsrep-recover"
	FromFiles    = "files" // read without the server: a lower bound
	FromLineage  = "lineage"
	FromNowhere  = "none"
)

// Owner is the member to which a volume should belong.
type Owner struct {
	Namespace string
	Cluster   string
	Ordinal   int
}

// Assessment is the value of a volume.
type Assessment struct {
	Class    Class
	Position Position
	Source   string
	Findings []Finding
}

// Decided says whether the evidence alone gives the class: volumes that are
// foreign, empty or half of a copy are neither validated nor recovered.
func (e Evidence) Decided(owner Owner) bool {
	return e.isForeign(owner) || e.isEmpty() || e.isTransferVictim()
}

// NeedsRecovery says whether only the server's own recovery can tell the
// position. It changes files, and after a stop in order it is not needed.
func (e Evidence) NeedsRecovery() bool {
	return !e.Grastate.IsReal() || len(e.Traces) > 0 || len(e.Markers) > 0
}

// Assess classifies a volume. Recovery may be nil when the evidence is decided,
// when a finding is fatal, or when none is needed. Native is the position that
// was read without the server and without writing, Undefined when it could not
// be; findings are those of the check of the files.
func (e Evidence) Assess(owner Owner, native Position, recovery *Recovery, findings []Finding) Assessment {
	a := Assessment{Position: Undefined, Source: FromNowhere, Findings: findings}
	switch {
	case e.isForeign(owner):
		a.Class = Foreign
		a.Findings = append(a.Findings, Finding{
			File:     "lineage.json",
			Expected: fmt.Sprintf("member %d of %s/%s", owner.Ordinal, owner.Namespace, owner.Cluster),
			Found:    fmt.Sprintf("member %d of %s/%s", e.Lineage.Ordinal, e.Lineage.Namespace, e.Lineage.Cluster),
			Do:       "bind the claim to the member's own volume; this one is left as it is",
		})
	case e.isEmpty():
		a.Class = Empty
	case e.isTransferVictim():
		a.Class = SSTVictim
	case AnyFatal(findings):
		e.condemn(&a, native, recovery)
	case !e.NeedsRecovery() && e.strange(e.Grastate.Position):
		e.disown(&a, e.Grastate.Position, FromGrastate)
	case !e.NeedsRecovery():
		a.Class, a.Position, a.Source = Clean, e.Grastate.Position, FromGrastate
		e.compare(&a, native, recovery)
	case recovery.Heuristic, recovery.Prepared:
		e.taint(&a, native, recovery)
	case !recovery.Found:
		e.condemn(&a, native, recovery, Finding{Fatal: true, File: "ibdata1", Expected: "a position from --wsrep-recover",
			Found: "none" + firstOf(recovery.Errors), Do: "see the recovery log above; " + rebuildFromPeer})
	case len(recovery.Errors) > 0:
		e.condemn(&a, native, recovery, Finding{Fatal: true, File: "ibdata1", Expected: "recovery without signs of damage",
			Found: recovery.Errors[0], Do: rebuildFromPeer})
	default:
		e.place(&a, recovery.Position)
		e.compare(&a, native, recovery)
	}
	return a
}

// place classifies by the position that the server's own recovery gave.
func (e Evidence) place(a *Assessment, found Position) {
	saved := e.Grastate.Position
	switch {
	case e.strange(found):
		e.disown(a, found, FromRecovery)
	case saved.KnowsHistory() && found.UUID == saved.UUID && found.IsReal():
		a.Class, a.Position, a.Source = Crashed, found, FromRecovery
	case saved.KnowsHistory() && !found.KnowsHistory() && e.Lineage != nil && e.Lineage.Newest().Begin == (Position{saved.UUID, 0}):
		// The storage engine has no position because nothing was committed since the
		// epoch began at 0: the power went in the first seconds of a first install.
		a.Class, a.Position, a.Source = Crashed, Position{saved.UUID, 0}, FromLineage
	case saved.KnowsHistory():
		e.condemn(a, Undefined, &Recovery{Position: found}, Finding{Fatal: true, File: "grastate.dat", Expected: "the uuid of the storage engine, " + found.UUID,
			Found: saved.UUID, Do: "find out which history this volume belongs to; keep it as it is until then"})
	case found.IsReal():
		a.Class, a.Position, a.Source = UnsafeDDL, found, FromRecovery
	default:
		a.Class = Foreign
		a.Findings = append(a.Findings, Finding{File: "grastate.dat", Expected: "a Galera position in grastate.dat or in the storage engine",
			Found: "data that was never part of a cluster",
			Do:    "import it through a running cluster, or empty the volume so that the member joins by a full transfer"})
	}
}

// disown makes the volume FOREIGN for the history it holds.
func (e Evidence) disown(a *Assessment, found Position, source string) {
	a.Class, a.Position, a.Source = Foreign, found, source
	a.Findings = append(a.Findings, Finding{File: "grastate.dat", Expected: "history " + e.Lineage.Newest().Begin.UUID + ", in which the volume's lineage took part",
		Found: "history " + found.UUID, Do: "find out where this data directory came from; it is left as it is"})
}

// strange says that the data is of another history than the volume's lineage: a
// data directory that was copied here. While a full transfer was under way, the
// old history may still be there.
func (e Evidence) strange(found Position) bool {
	return e.Lineage != nil && !e.Lineage.FullTransfer && found.KnowsHistory() && found.UUID != e.Lineage.Newest().Begin.UUID
}

// compare sees that the position is not lower than what was read from the same
// files without the server: recovery can only go on from there.
func (e Evidence) compare(a *Assessment, native Position, recovery *Recovery) {
	if !native.IsReal() || !a.Position.IsReal() || (native.UUID == a.Position.UUID && native.Seqno <= a.Position.Seqno) {
		return
	}
	e.condemn(a, native, recovery, Finding{Fatal: true, File: "ibdata1", Expected: "a position of at least " + native.String() + ", which rollback segments and redo log hold",
		Found: a.Position.String() + " from " + a.Source, Do: "the server or grastate.dat is behind its own files; " + rebuildFromPeer})
}

// taint classifies data that is not, or cannot be made, what the cluster agreed on.
func (e Evidence) taint(a *Assessment, native Position, recovery *Recovery) {
	a.Class = Tainted
	switch {
	case recovery.Position.IsReal():
		a.Position, a.Source = recovery.Position, FromRecovery
	case native.IsReal():
		a.Position, a.Source = native, FromFiles
	}
	if recovery.Heuristic {
		a.Findings = append(a.Findings, Finding{File: "ibdata1", Expected: "transactions that ended as the cluster decided",
			Found: "prepared transactions that the server ended by guess (--tc-heuristic-recover)",
			Do:    "let this member take a full copy: move its data directory aside once the others are Synced"})
		return
	}
	how := "run the server once with --tc-heuristic-recover=ROLLBACK, or COMMIT if the transactions' coordinator says so"
	if recovery.Found {
		how = "start the server alone (--wsrep-on=OFF --skip-networking), end what XA RECOVER lists as its coordinator says, and stop it in order"
	}
	a.Findings = append(a.Findings, Finding{File: "ibdata1", Expected: "no prepared transactions after recovery",
		Found: "prepared (XA) transactions whose outcome the server does not know",
		Do:    "move this data directory aside once the others are Synced, so that the member takes a full copy. If it is the only copy: save the volume, then " + how})
}

// condemn makes the volume CORRUPT. The position says what would be missed
// without it.
func (e Evidence) condemn(a *Assessment, native Position, recovery *Recovery, more ...Finding) {
	a.Class, a.Findings = Corrupt, append(a.Findings, more...)
	a.Position, a.Source = e.Grastate.Position, FromGrastate
	switch {
	case recovery != nil && recovery.Position.IsReal() && recovery.Position.Seqno >= native.Seqno:
		a.Position, a.Source = recovery.Position, FromRecovery
	case native.IsReal() && native.Seqno > a.Position.Seqno:
		a.Position, a.Source = native, FromFiles
	}
}

func (e Evidence) isForeign(o Owner) bool {
	return e.Lineage != nil &&
		(e.Lineage.Namespace != o.Namespace || e.Lineage.Cluster != o.Cluster || e.Lineage.Ordinal != o.Ordinal)
}

// An installation that was not finished never had a server on it.
func (e Evidence) isEmpty() bool {
	return e.Entries == 0 || (e.Installing && e.Lineage == nil)
}

// A joiner whose full transfer was cut leaves grastate.dat at length zero; a
// zero uuid in a complete file is an interrupted DDL, after the transfer.
func (e Evidence) isTransferVictim() bool {
	cut := e.Grastate.State == GrastateEmpty || e.Grastate.State == GrastateMissing
	joiner := slices.ContainsFunc(e.Markers, func(name string) bool { return !slices.Contains(donorMarkers, name) })
	lost := len(e.Markers) > 0 && !e.Grastate.KnowsHistory()
	return joiner || lost || (cut && e.Lineage != nil && e.Lineage.FullTransfer)
}

func firstOf(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	return ": " + lines[0]
}
