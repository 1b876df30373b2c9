package datadir

import "fmt"

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

// Sources of a position.
const (
	FromGrastate = "grastate.dat"
	FromRecovery = "wsrep-recover"
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
func (e Evidence) NeedsRecovery() bool { return !e.Grastate.IsReal() || len(e.Traces) > 0 }

// Assess classifies a volume. Recovery may be nil when the evidence is decided,
// when a finding is fatal, or when none is needed; findings are those of
// CheckFiles and CheckTablespaces.
func (e Evidence) Assess(owner Owner, recovery *Recovery, findings []Finding) Assessment {
	a := Assessment{Position: Undefined, Source: FromNowhere, Findings: findings}
	corrupt := func(more ...Finding) Assessment {
		a.Class, a.Findings = Corrupt, append(a.Findings, more...)
		// The position says what would be missed without this volume.
		a.Position, a.Source = e.Grastate.Position, FromGrastate
		if recovery != nil && recovery.Position.IsReal() {
			a.Position, a.Source = recovery.Position, FromRecovery
		}
		return a
	}
	switch {
	case e.isForeign(owner):
		a.Class = Foreign
		a.Findings = append(a.Findings, Finding{
			File:     "lineage.json",
			Expected: fmt.Sprintf("member %d of %s/%s", owner.Ordinal, owner.Namespace, owner.Cluster),
			Found:    fmt.Sprintf("member %d of %s/%s", e.Lineage.Ordinal, e.Lineage.Namespace, e.Lineage.Cluster),
			Do:       "bind the claim to the member's own volume; this one is left as it is",
		})
		return a
	case e.isEmpty():
		a.Class = Empty
		return a
	case e.isTransferVictim():
		a.Class = SSTVictim
		return a
	case anyFatal(findings):
		return corrupt()
	case !e.NeedsRecovery():
		a.Class, a.Position, a.Source = Clean, e.Grastate.Position, FromGrastate
		return a
	}

	switch {
	case recovery.Heuristic:
		a.Class, a.Position, a.Source = Tainted, recovery.Position, FromRecovery
		return a
	case recovery.Prepared:
		return corrupt(Finding{Fatal: true, File: "ibdata1", Expected: "no prepared transactions after recovery",
			Found: "prepared transactions whose outcome the server does not know",
			Do:    "let this member join by a full transfer from another one, or resolve them by hand with --tc-heuristic-recover"})
	case !recovery.Found:
		return corrupt(Finding{Fatal: true, File: "ibdata1", Expected: "a position from --wsrep-recover",
			Found: "none" + firstOf(recovery.Errors), Do: "see the recovery log above; keep the volume and rebuild this member from another one"})
	case len(recovery.Errors) > 0:
		return corrupt(Finding{Fatal: true, File: "ibdata1", Expected: "recovery without errors of the storage engine",
			Found: recovery.Errors[0], Do: "keep the volume and rebuild this member from another one"})
	}

	saved, found := e.Grastate.Position, recovery.Position
	switch {
	case saved.KnowsHistory() && found.UUID == saved.UUID && found.IsReal():
		a.Class, a.Position, a.Source = Crashed, found, FromRecovery
	case saved.KnowsHistory() && !found.KnowsHistory() && e.Lineage != nil && e.Lineage.Begin == (Position{saved.UUID, 0}):
		// The storage engine has no position because nothing was committed since the
		// epoch began at 0: the power went in the first seconds of a first install.
		a.Class, a.Position, a.Source = Crashed, e.Lineage.Begin, FromLineage
	case saved.KnowsHistory():
		return corrupt(Finding{Fatal: true, File: "grastate.dat", Expected: "the uuid of the storage engine, " + found.UUID,
			Found: saved.UUID, Do: "find out which history this volume belongs to; keep it as it is until then"})
	case found.IsReal():
		a.Class, a.Position, a.Source = UnsafeDDL, found, FromRecovery
	default:
		a.Class = Foreign
		a.Findings = append(a.Findings, Finding{File: "grastate.dat", Expected: "a Galera position in grastate.dat or in the storage engine",
			Found: "data that was never part of a cluster",
			Do:    "import it through a running cluster, or empty the volume so that the member joins by a full transfer"})
	}
	return a
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
	return len(e.Markers) > 0 || (cut && e.Lineage != nil && e.Lineage.FullTransfer)
}

func firstOf(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	return ": " + lines[0]
}
