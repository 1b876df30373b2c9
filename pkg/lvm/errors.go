package lvm

import (
	"errors"
	"fmt"
	"strings"
)

var (
	// ErrUnknown says that a command was ended before it told its result. What it
	// was to do may have been done: look it up.
	ErrUnknown = errors.New("result unknown")
	// ErrUsage says that lvm did not accept the command line: a fault in this program.
	ErrUsage = errors.New("command line not accepted")
	// ErrNoSpace says that the volume group has too little room of the kind asked for.
	ErrNoSpace = errors.New("not enough free space")
	// ErrExists says that a logical volume of this name is already there.
	ErrExists = errors.New("already exists")
	// ErrNotFound says that the volume group or the logical volume is not there.
	ErrNotFound = errors.New("not found")
	// ErrPartial says that physical volumes of the volume group are missing.
	ErrPartial = errors.New("physical volumes are missing")
)

// Error is a command that ended by itself with a code other than 0. It unwraps
// to one of the sentinels above when its meaning is known.
type Error struct {
	Site   string
	Name   string
	Args   []string
	Code   int
	Stderr string
	kind   error
}

// NewError returns the Error of a command that wrote stderr and ended with code.
func NewError(site, name string, args []string, code int, stderr string) *Error {
	e := &Error{Site: site, Name: name, Args: args, Code: code, Stderr: strings.TrimSpace(stderr)}
	if name == "lvm" {
		e.kind = classify(code, stderr)
	}
	return e
}

func (e *Error) Error() string {
	what := e.Name
	if e.Name == "lvm" && len(e.Args) > 0 {
		what = e.Args[0]
	}
	return fmt.Sprintf("%s: %s ended with code %d: %s", e.Site, what, e.Code, oneLine(e.Stderr))
}

func (e *Error) Unwrap() error { return e.kind }

// classify reads what lvm says. Its manual calls codes broad and texts subject
// to change, so the code decides first, the text only refines it, and no caller
// may take a class for the state of the disk. Codes: lvm2 tools/errors.h; texts
// as written by 2.03.16.
func classify(code int, stderr string) error {
	const usage, failed = 3, 5
	switch code {
	case usage:
		return ErrUsage
	case failed:
		for _, text := range texts {
			if strings.Contains(stderr, text.part) {
				return text.kind
			}
		}
	}
	return nil
}

var texts = []struct {
	part string
	kind error
}{
	{"insufficient free space", ErrNoSpace},
	{"Insufficient free space", ErrNoSpace},
	{"Insufficient suitable allocatable extents", ErrNoSpace},
	{"already exists in volume group", ErrExists},
	{"while PVs are missing", ErrPartial},
	{"Failed to find logical volume", ErrNotFound},
	{"Cannot process volume group", ErrNotFound},
}

// oneLine keeps what lvm says about the failure and leaves out its warnings.
func oneLine(stderr string) string {
	var lines []string
	for line := range strings.Lines(stderr) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "WARNING:") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "; ")
}
