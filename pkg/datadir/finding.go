package datadir

import (
	"fmt"
	"slices"

	"github.com/berth-dev/berth/pkg/innodb"
)

// Finding is one thing that is not as it should be.
type Finding struct {
	File     string `json:"file"`
	Expected string `json:"expected"`
	Found    string `json:"found"`
	Do       string `json:"do"`
	// Fatal findings make the member CORRUPT.
	Fatal bool `json:"fatal,omitempty"`
}

// String is the finding in a sentence.
func (f Finding) String() string {
	return fmt.Sprintf("%s: expected %s, found %s; %s", f.File, f.Expected, f.Found, f.Do)
}

const rebuildFromPeer = "keep the volume, and rebuild this member from another one"

// findingLimit is how many findings of one check are kept: a report has to fit
// into an object.
const findingLimit = 12

// FindingsOf takes over what a check of the pages found, the worst first. What
// the server's next start repairs, and what is fine or cannot be judged, stays
// out. What somebody has to mend by hand before the server starts is fatal too;
// what is mended on a server that runs is only told.
func FindingsOf(r innodb.Report) []Finding {
	var worst, findings []innodb.Finding
	for _, f := range r.Findings {
		switch {
		case f.Heals:
		case f.Verdict == innodb.Fatal:
			worst = append(worst, f)
		case f.Verdict == innodb.Repairable:
			findings = append(findings, f)
		}
	}
	var taken []Finding
	for _, f := range slices.Concat(worst, findings) {
		if len(taken) == findingLimit {
			taken[findingLimit-1].Do += fmt.Sprintf(" (and %d more findings: galera-init validate shows all)", len(worst)+len(findings)-findingLimit)
			break
		}
		taken = append(taken, Finding{File: f.Place(), Expected: f.Expected, Found: f.Found, Do: f.Do, Fatal: !f.Starts})
	}
	return taken
}

// AnyFatal says whether one of the findings makes the member CORRUPT.
func AnyFatal(findings []Finding) bool {
	return slices.ContainsFunc(findings, func(f Finding) bool { return f.Fatal })
}
