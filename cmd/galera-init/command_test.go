package main

import (
	"errors"
	"strings"
	"testing"
)

// TestMistakesInTheCommandLine sees that each is a usage error that says what
// to do; main turns those into exit code 64.
func TestMistakesInTheCommandLine(t *testing.T) {
	good := []string{"prepare", "--namespace=n", "--pod-name=galera-0", "--pod-uid=u", "--pod-ip=10.0.0.1", "--claim=data-galera-0"}
	for _, test := range []struct {
		name string
		args []string
		want string
	}{
		{"unknown flag", []string{"prepare", "--nmespace=n"}, "unknown flag: --nmespace"},
		{"unknown command", []string{"prepair"}, `unknown command or argument "prepair"`},
		{"no server", good, "after --"},
		{"no pod name", []string{"exec", "--", "mariadbd"}, "--pod-name"},
		{"not a StatefulSet's pod", append(good, "--pod-name=galera-abc", "--", "mariadbd"), "NAME-ORDINAL"},
		{"data directory is the volume", append(good, "--datadir=/var/lib/galera", "--", "mariadbd"), "below --volume"},
		{"data directory is Berth's", append(good, "--datadir=/var/lib/galera/berth/data", "--", "mariadbd"), "below --volume"},
		{"output", []string{"status", "galera", "--output=yaml"}, "table or json"},
		{"no cluster", []string{"status"}, "name of one cluster"},
		{"no directory", []string{"install"}, "one directory"},
		{"nothing to validate", []string{"validate"}, "one data directory"},
		{"level", []string{"validate", "--level=full", "."}, "quick, sample, checksum or deep"},
		{"rate", []string{"validate", "--rate=fast", "."}, "bytes a second"},
	} {
		t.Run(test.name, func(t *testing.T) {
			root := newRootCommand()
			root.SetArgs(test.args)
			err := root.Execute()
			var usage usageError
			if !errors.As(err, &usage) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, expected a usage error about %q", err, test.want)
			}
		})
	}
}
