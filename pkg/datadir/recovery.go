package datadir

import (
	"regexp"
	"strconv"
	"strings"
	"sync"
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
	// Prepared says that there are prepared transactions whose outcome nobody here
	// knows: they stop the recovery, or wait behind it.
	Prepared bool
	// Environment is a line that blames the surroundings (lock, permission, space)
	// and not the data; such a run is repeated and decides nothing.
	Environment string
	// Crashed says that the server crashed behind the position, and that nothing
	// before spoke of damage: perhaps a fault of its shutdown, which does not happen
	// twice. It is one of the Errors.
	Crashed bool
	// Errors are lines that speak of damage, at most 8.
	Errors []string
}

// lazily compiles a regular expression when it is first used: a command that reads
// no log does not wait for it.
func lazily(pattern string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(pattern) })
}

// errorLimit is how many lines of damage are kept.
const errorLimit = 8

var (
	// The line is "WSREP: Recovered position: U:N" in MariaDB, "[WSREP] Recovered
	// position: U:N" in MySQL's form of the log, and has no colon after "position"
	// in mysqld_safe's. MariaDB appends ",D-S-N" with wsrep_gtid_mode, Codership's
	// MySQL "/LOCAL/SERVER/UUID".
	recoveredPattern = lazily(`(?i)recovered position:?[ \t]+([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}):(-?[0-9]+)`)
	// Escape sequences of a coloured log.
	colourPattern = lazily("\x1b\\[[0-9;]*[A-Za-z]")

	// Error numbers of Linux: EAGAIN, ENOMEM, EACCES, EMFILE, ENOSPC, EROFS, EDQUOT.
	environmentPattern = lazily(`(?i)Errcode: (11|12|13|24|28|30|122)\b|OS errno (11|12|13|24|28|30|122)\b|Unable to lock \./|Can't lock aria control|` +
		`Could not get an exclusive lock|Cannot allocate memory|Can't start server|Please (read|consult).*how to run m.*d as root`)
	preparedPattern  = lazily(`(?i)Found [0-9]+ prepared (transactions! It means|XA transactions)`)
	heuristicPattern = lazily(`(?i)heuristic crash recovery mode|restart without --tc-heuristic-recover`)
	// Errors of the storage engines, whatever they are about, and signs of damage
	// that are no errors to the server: it would come up with them.
	damagePattern = lazily(`(?i)\[(ERROR|FATAL)\].*(InnoDB|Aria)|Assertion failure|got signal [0-9]+|` +
		`corrupt|Ignoring tablespace for .* could not be opened|log sequence number .* is in the future|log (block|header) checksum`)
	crashPattern = lazily(`mariadbd got signal 11\b`)
	// What looks like damage and is the repair of it, or is about a leftover of an
	// interrupted ALTER, which nobody misses.
	harmlessPattern = lazily(`(?i)Recovered page \[|from the doublewrite buffer|#sql-`)
)

// ParseRecovery reads the log of a --wsrep-recover run; the last position counts.
func ParseRecovery(log string) Recovery {
	r := Recovery{Position: Undefined}
	for line := range strings.Lines(colourPattern().ReplaceAllString(log, "")) {
		line = strings.TrimSpace(line)
		if p, found := recoveredPosition(line); found {
			r.Found, r.Position = true, p
			continue
		}
		switch {
		case preparedPattern().MatchString(line):
			r.Prepared = true
		case heuristicPattern().MatchString(line):
			r.Heuristic = true
		case environmentPattern().MatchString(line):
			if r.Environment == "" {
				r.Environment = line
			}
		case crashPattern().MatchString(line) && r.Found && len(r.Errors) == 0:
			r.Crashed, r.Errors = true, []string{line}
		case damagePattern().MatchString(line) && !harmlessPattern().MatchString(line) && len(r.Errors) < errorLimit:
			r.Errors = append(r.Errors, line)
		}
	}
	return r
}

func recoveredPosition(line string) (Position, bool) {
	match := recoveredPattern().FindStringSubmatch(line)
	if match == nil {
		return Undefined, false
	}
	seqno, err := strconv.ParseInt(match[2], 10, 64)
	if err != nil || seqno < -1 {
		return Undefined, false
	}
	return Position{UUID: strings.ToLower(match[1]), Seqno: seqno}, true
}
