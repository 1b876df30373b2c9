package datadir

import (
	"fmt"

	"github.com/berth-dev/berth/pkg/innodb"
)

// cacheLead is how far galera.cache may be ahead of the database: by what is
// being committed, and by a second's transactions where
// innodb_flush_log_at_trx_commit is not 1. Most that was seen is 1171.
const cacheLead = 2000

// Findings says in the terms of a page check what the evidence of Galera itself
// says against a data directory: a half-finished copy has sound pages, too.
func (e Evidence) Findings(check innodb.Report) []innodb.Finding {
	var findings []innodb.Finding
	add := func(verdict innodb.Verdict, code innodb.Code, file, expected, found, do string) {
		if check.InUse {
			verdict = innodb.NotVerified
		}
		findings = append(findings, innodb.Finding{Verdict: verdict, Code: code, File: file, Page: -1, Expected: expected, Found: found, Do: do})
	}
	for _, name := range e.Markers {
		add(innodb.Fatal, innodb.TransferPartial, name, "a finished state transfer", "a mark of one that was interrupted",
			"let this member join by a full transfer; it never starts a cluster")
	}
	saved := e.Grastate
	history := check.Position != nil && Position{UUID: check.Position.UUID, Seqno: check.Position.Seqno}.IsReal()
	switch {
	case !history && !saved.KnowsHistory():
	case saved.State == GrastateEmpty || saved.State == GrastateMissing:
		add(innodb.Repairable, innodb.Grastate, "grastate.dat", "the position in the cluster's history", string(saved.State),
			"write the recovered position there before the server starts (galera-init prepare does), or it joins by a full transfer")
	case saved.State == GrastateMalformed:
		add(innodb.Repairable, innodb.Grastate, "grastate.dat", "the position in the cluster's history", "content of another kind",
			"write the recovered position there before the server starts, or it joins by a full transfer")
	case !saved.KnowsHistory():
		add(innodb.Repairable, innodb.Grastate, "grastate.dat", "the uuid of a history", "the zero uuid: the server was stopped within a DDL statement",
			"let this member join by a full transfer; only when all members are like this one of them may start the cluster (galera-init prepare)")
	case history && saved.UUID != check.Position.UUID:
		add(innodb.Fatal, innodb.Grastate, "grastate.dat", "the storage engine's uuid "+check.Position.UUID, saved.UUID,
			"find out which history the directory belongs to, and keep it as it is until then")
	}
	if history && e.Cache.UUID == check.Position.UUID && e.Cache.Last > check.Position.Seqno+cacheLead {
		add(innodb.NotVerified, innodb.RedoCut, "galera.cache", fmt.Sprintf("no write sets far above the position %d", check.Position.Seqno),
			fmt.Sprintf("write sets up to %d", e.Cache.Last),
			"compare with the other members: either innodb_flush_log_at_trx_commit is not 1, or the redo log has lost its end")
	}
	return findings
}
