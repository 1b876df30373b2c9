// Package mutant changes Berth's source on purpose and builds what comes of it,
// so that tests can see that a check fails when the code is wrong.
package mutant

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/berth-dev/berth/test/controlplane"
)

// Mutation is one change of the source. The old text has to be there exactly
// once.
type Mutation struct{ File, Old, New string }

// joinAhead takes away the last guard of a joiner that holds more than the cluster.
var joinAhead = Mutation{"pkg/rebuild/decide.go", "return ReversedHistory, tail(r, g.Epochs)", `return "", ""`}

// Mutants of galera-init that more than one suite plants.
var (
	// HandOverNothing: a joiner keeps its position to itself, and pays with a full
	// copy.
	HandOverNothing = []Mutation{
		{"pkg/member/start.go", "if me.Class.KeepsPosition() {", "if false {"},
	}
	// BootstrapAlways: a joiner starts a primary component of its own. The name of
	// the group keeps the other servers from noticing, which would end it.
	BootstrapAlways = []Mutation{
		{"pkg/member/start.go", "WriteGrastate(m.Volume.Data, me.Position, false)", "WriteGrastate(m.Volume.Data, me.Position, true)"},
		{"pkg/member/start.go", "return m.replace(me, state.Addresses(), extra...)",
			`return m.replace(me, state.Addresses(), append(extra, "--wsrep-new-cluster", "--wsrep-cluster-name=second")...)`},
	}
	// LowestOrdinal: whoever has the lowest ordinal starts the cluster, whatever was
	// observed. The others join although they are ahead, and hand over nothing, for
	// Galera itself stops a joiner that is ahead.
	LowestOrdinal = []Mutation{
		{"pkg/rebuild/decide.go", "cmp.Compare(b.Position.Seqno, a.Position.Seqno),", "cmp.Compare(a.Ordinal, b.Ordinal),"},
		{"pkg/rebuild/decide.go", "high-best.Position.Seqno > max(0, c.Spec.Policy.AllowedLoss) {", "high < -1 {"},
		joinAhead,
		HandOverNothing[0],
	}
	// SkipAgreement: the chosen one starts without asking whether the others' reports
	// still come from processes that live.
	SkipAgreement = []Mutation{
		{"pkg/rebuild/grant.go", "r.State != Waiting || r.Agreed != g.Attempt {", "r.State != Waiting {"},
		joinAhead,
		HandOverNothing[0],
	}
)

// All are these mutants by name.
func All() map[string][]Mutation {
	return map[string][]Mutation{
		"hand over nothing": HandOverNothing, "bootstrap always": BootstrapAlways,
		"lowest ordinal": LowestOrdinal, "skip agreement": SkipAgreement,
	}
}

// Overlay writes the changed source into a directory and gives the arguments
// with which `go build` builds it.
func Overlay(dir string, mutations []Mutation) ([]string, error) {
	changed := map[string]string{}
	for _, m := range mutations {
		path, err := controlplane.Repository(m.File)
		if err != nil {
			return nil, err
		}
		source, known := changed[path]
		if !known {
			raw, err := os.ReadFile(path)
			if err != nil {
				return nil, fmt.Errorf("make a mutant: %w", err)
			}
			source = string(raw)
		}
		if n := strings.Count(source, m.Old); n != 1 {
			return nil, fmt.Errorf("%s holds %q %d times, not once: bring the mutation in line with the source", m.File, m.Old, n)
		}
		changed[path] = strings.Replace(source, m.Old, m.New, 1)
	}
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	for path, source := range changed {
		copied := filepath.Join(dir, strings.ReplaceAll(path, "/", "_"))
		if err := os.WriteFile(copied, []byte(source), 0o644); err != nil {
			return nil, fmt.Errorf("make a mutant: %w", err)
		}
		overlay.Replace[path] = copied
	}
	raw, err := json.Marshal(overlay)
	if err != nil {
		return nil, fmt.Errorf("make a mutant: %w", err)
	}
	list := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(list, raw, 0o644); err != nil {
		return nil, fmt.Errorf("make a mutant: %w", err)
	}
	return []string{"-overlay", list}, nil
}
