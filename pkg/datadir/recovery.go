package datadir

import (
	"regexp"
	"strconv"
	"strings"
)

// Recovery is what one run of the server with --wsrep-recover said. Its exit
// code 0 proves nothing: a server without wsrep exits 0 without a position.
type Recovery struct {
	// Found says that the log has a position line; the position may be Undefined.
	Found    bool
	Position Position
	// Heuristic says that the server rolled prepared transactions back or
	// committed them by guess: the data is no longer what the cluster agreed on.
	Heuristic bool
	// Prepared says that prepared transactions stopped the recovery.
	Prepared bool
	// Environment is a line that blames the surroundings (lock, permission, space)
	// and not the data; such a run is repeated and decides nothing.
	Environment string
	// Errors are the storage engine's error lines, at most 8.
	Errors []string
}

// The colon after "position" is missing in mysqld_safe's form; MariaDB appends
// ",D-S-N" and Codership's MySQL "/…" to the seqno.
var (
	recoveredPattern   = regexp.MustCompile(`(?i)recovered position:?[ \t]+([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}):(-?[0-9]+)`)
	environmentPattern = regexp.MustCompile(`Errcode: (11|12|13|24|28|30)\b|Unable to lock \./|Can't lock aria control|Could not get an exclusive lock|Cannot allocate memory|Can't start server`)
	engineErrorPattern = regexp.MustCompile(`\[ERROR\].*(InnoDB|Aria)`)
)

// ParseRecovery reads the log of a --wsrep-recover run; the last position counts.
func ParseRecovery(log string) Recovery {
	r := Recovery{Position: Undefined}
	if all := recoveredPattern.FindAllStringSubmatch(log, -1); len(all) > 0 {
		last := all[len(all)-1]
		if seqno, err := strconv.ParseInt(last[2], 10, 64); err == nil && seqno >= -1 {
			r.Found = true
			r.Position = Position{UUID: strings.ToLower(last[1]), Seqno: seqno}
		}
	}
	for line := range strings.Lines(log) {
		line = strings.TrimSpace(line)
		switch {
		case strings.Contains(line, "Heuristic crash recovery mode"):
			r.Heuristic = true
		case strings.Contains(line, "prepared transactions! It means"):
			r.Prepared = true
		case r.Environment == "" && environmentPattern.MatchString(line):
			r.Environment = line
		case engineErrorPattern.MatchString(line) && len(r.Errors) < 8:
			r.Errors = append(r.Errors, line)
		}
	}
	return r
}
