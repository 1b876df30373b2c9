package lvmtest

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// options are those of lvm's that the commands in memory know, with the number
// of values that follow.
var options = map[string]int{
	"-y": 0, "-an": 0, "-a": 1, "-n": 1, "-l": 1, "-V": 1, "-W": 1, "-Z": 1, "-o": 1,
	"--addtag": 1, "--deltag": 1, "--driverloaded": 1, "--setautoactivation": 1,
	"--type": 1, "--stripes": 1, "--mirrors": 1, "--thinpool": 1,
	"--reportformat": 1, "--units": 1, "--nosuffix": 0, "--configreport": 1, "--typeconfig": 1, "--config": 1,
}

// Names and tags that lvm takes: lib/misc/lvm-string.c of lvm2.
var (
	validTag      = regexp.MustCompile(`^[A-Za-z0-9_+.\-/=!:#&]+$`)
	validName     = regexp.MustCompile(`^[A-Za-z0-9_+.][A-Za-z0-9_+.\-]*$`)
	reservedStart = []string{"pvmove", "snapshot"}
	reservedParts = []string{"_cdata", "_cmeta", "_corig", "_cpool", "_cvol", "_wcorig", "_mimage", "_mlog", "_rimage", "_rmeta", "_tdata", "_tmeta",
		"_vdata", "_imeta", "_iorig", "_pmspare", "_vorigin"}
)

// usage is why lvm would not accept a command line, or "".
func usage(args []string) string {
	const parsing = "\n  Error during parsing of command line."
	for i := 1; i < len(args); i++ {
		if !strings.HasPrefix(args[i], "-") {
			continue
		}
		values, known := options[args[i]]
		if !known || i+values >= len(args) {
			return args[0] + ": unrecognized option '" + args[i] + "'" + parsing
		}
		if (args[i] == "--addtag" || args[i] == "--deltag") && !validTag.MatchString(args[i+1]) {
			return fmt.Sprintf("Invalid argument for %s: %s%s", args[i], args[i+1], parsing)
		}
		i += values
	}
	name := after(args, "-n")
	if args[0] == "lvrename" {
		name = args[len(args)-1]
	}
	switch {
	case name == "":
	case !validName.MatchString(name):
		return fmt.Sprintf("Logical volume name %q is invalid.%s", name, parsing)
	case slices.ContainsFunc(reservedStart, func(p string) bool { return strings.HasPrefix(name, p) }),
		slices.ContainsFunc(reservedParts, func(p string) bool { return strings.Contains(name, p) }):
		return fmt.Sprintf("Names like %q are reserved. Please choose a different LV name.", name)
	}
	return ""
}
