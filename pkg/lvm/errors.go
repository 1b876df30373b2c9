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
	// ErrSameSize says that a volume is as large as it was to become, or larger.
	ErrSameSize = errors.New("nothing to extend")
	// ErrPartial says that physical volumes of the volume group are missing.
	ErrPartial = errors.New("physical volumes are missing")
	// ErrInUse says that somebody holds the device.
	ErrInUse = errors.New("in use")
	// ErrMetadataFull says that the metadata area takes no further change.
	ErrMetadataFull = errors.New("no room for metadata")
	// ErrLocked says that the lock of the volume group was not to be had.
	ErrLocked = errors.New("locked")
	// ErrForeign says that the volume group belongs to another machine's system ID.
	ErrForeign = errors.New("belongs to another system ID")
	// ErrAmbiguous says that several volume groups have the name.
	ErrAmbiguous = errors.New("name is there more than once")
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
// may take a class for the state of the disk. Codes: lvm2 tools/errors.h.
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

// texts are parts of messages as the source of lvm2 has them at the tags
// v2_02_98, v2_02_187, v2_03_00, v2_03_16 and v2_03_39. What says why stands
// before what follows from it.
var texts = []struct {
	part string
	kind error
}{
	{"with local system ID", ErrForeign},
	{"with unknown local system ID", ErrForeign},
	{"Multiple VGs found with the same name", ErrAmbiguous},
	{"Can't get lock for", ErrLocked},
	{"locking initialisation failed", ErrLocked},
	{"too large for circular buffer", ErrMetadataFull},
	{"insufficient free space", ErrNoSpace},
	{"Insufficient free space", ErrNoSpace},
	{"allocatable extents", ErrNoSpace}, // "Insufficient suitable contiguous allocatable extents"
	{"is above threshold, new volumes are not allowed", ErrNoSpace},
	{"over the autoextend threshold", ErrNoSpace},
	{"must not exceed number of physical volumes", ErrNoSpace},
	{"matches existing size", ErrSameSize},
	{"not larger than existing size", ErrSameSize},
	{"already exists in volume group", ErrExists},
	{"already exists in Volume group", ErrExists},
	{"while PVs are missing", ErrPartial},
	{"is inconsistent or has PVs missing", ErrPartial}, // it is called "not found" as well
	{"Refusing activation of partial LV", ErrPartial},
	{"contains a filesystem in use", ErrInUse},
	{" in use.", ErrInUse},
	{"Failed to find logical volume", ErrNotFound},
	{"logical volume(s) not found", ErrNotFound},
	{"not found in volume group", ErrNotFound}, // lvrename, lvextend
	{"Cannot process volume group", ErrNotFound},
	{"\" not found", ErrNotFound}, // Volume group "…" not found
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
