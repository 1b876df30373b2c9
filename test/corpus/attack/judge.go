package attack

import (
	"context"
	"fmt"

	"github.com/berth-dev/berth/pkg/datadir"
	"github.com/berth-dev/berth/pkg/innodb"
	"github.com/berth-dev/berth/pkg/innodb/position"
	"github.com/berth-dev/berth/test/corpus"
)

// Judgement is what Berth says of a directory without a server.
type Judgement struct {
	Report innodb.Report
	Place  position.Position
}

// Judge looks at a directory as galera-init does: every page, the log and the
// position, and Galera's own files. recovered says that the server's recovery has
// just ended well.
func Judge(ctx context.Context, d corpus.Directory, recovered bool) (Judgement, error) {
	report, err := innodb.Verify(ctx, d.Data(), innodb.Options{UndoDir: d.UndoDir(), SystemFiles: d.SystemFiles(), Recovered: recovered})
	if err != nil {
		return Judgement{}, err
	}
	evidence, err := datadir.Look(datadir.Volume{Root: d.Root, Data: d.Data()})
	if err != nil {
		return Judgement{}, err
	}
	report.Add(evidence.Findings(report)...)
	j := Judgement{Report: report, Place: position.Position{Certainty: position.Unknown}}
	if report.Position != nil {
		j.Place = *report.Position
	}
	return j, nil
}

// falseAlarms are the findings on a directory that is known to be sound. Pages
// that nobody can verify without keys are no alarm, and neither is the zero uuid
// in grastate.dat of a server that died within a DDL statement.
func falseAlarms(d corpus.Directory, r innodb.Report) []string {
	var alarms []string
	for _, f := range r.Findings {
		harmless := f.Verdict == innodb.Fine || (f.Verdict == innodb.Repairable && (f.Heals || f.Code == innodb.Grastate))
		if !harmless && !(f.Verdict == innodb.NotVerified && unverifiable(d.Format, f.Code)) {
			alarms = append(alarms, fmt.Sprintf("%s: %s", f.Code, f))
		}
	}
	if r.Pages == 0 {
		alarms = append(alarms, "no page was checked")
	}
	return alarms
}

// unverifiable says whether a format has parts that cannot be verified: pages
// compressed and encrypted before full_crc32, which have no checksum, and all that
// an encrypted redo log might still change.
func unverifiable(f corpus.Format, code innodb.Code) bool {
	return f.EncryptedRedo || code == innodb.PageUnverified && f.Encrypted() && f.Checksum == "crc32"
}

// sentences are a report's first findings in words.
func sentences(r innodb.Report) []string {
	var lines []string
	for _, f := range r.Findings[:min(10, len(r.Findings))] {
		lines = append(lines, string(f.Code)+": "+f.String())
	}
	return lines
}
