// Command testbed starts, ends and works a Kubernetes test bed on this machine.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/berth-dev/berth/test/testbed"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(status(root().ExecuteContext(ctx)))
}

// status turns the result of a command into an exit status: 0, the status of the
// program that was run for the user, or 1.
func status(err error) int {
	var local *exec.ExitError
	var remote *testbed.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &local):
		return local.ExitCode()
	case errors.As(err, &remote):
		if n, err := strconv.Atoi(remote.Status); err == nil {
			return n
		}
	}
	fmt.Fprintln(os.Stderr, "testbed:", err)
	return 1
}
