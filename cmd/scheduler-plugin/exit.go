package main

import (
	"errors"
	"fmt"
	"os"
)

// usageError is a wrong use of a sub-command.
type usageError struct{ error }

// Exit codes. kube-scheduler itself knows 0 and 1.
const (
	exitFailed = 1
	exitUsage  = 2
	exitWaits  = 3
)

// exitCode says what went wrong, and turns it into an exit code.
func exitCode(err error) int {
	var usage usageError
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errWaits):
		return exitWaits
	case errors.As(err, &usage):
		fmt.Fprintln(os.Stderr, "Error:", err)
		return exitUsage
	}
	fmt.Fprintln(os.Stderr, "Error:", err)
	return exitFailed
}
