package attack

import (
	"fmt"
	"slices"

	"github.com/berth-dev/berth/pkg/innodb"
	"github.com/berth-dev/berth/test/corpus/damage"
)

// Missed says what of a case the report does not tell; it is empty when the
// report is as the case wants it.
func Missed(c damage.Case, r innodb.Report) string {
	if c.Unseen() {
		if r.Damaged() {
			return "found, although no check without a server should see it: docs/limitations.md is then wrong"
		}
		return ""
	}
	if !slices.ContainsFunc(r.Findings, func(f innodb.Finding) bool { return slices.Contains(c.Codes, f.Code) }) {
		return fmt.Sprintf("no finding of the kinds %v", c.Codes)
	}
	if r.Verdict != c.Verdict {
		return fmt.Sprintf("verdict %q, want %q", r.Verdict, c.Verdict)
	}
	return ""
}
