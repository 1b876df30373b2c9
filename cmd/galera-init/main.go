// Command galera-init brings a member of a Galera cluster from its volume to
// its place in the cluster.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"k8s.io/klog/v2"
)

// Exit codes beside 0 and 1. exitUsage is sysexits' EX_USAGE.
const (
	exitUndecided = 2
	exitWaits     = 3
	exitRefuses   = 4
	exitUsage     = 64
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	err := newRootCommand().ExecuteContext(ctx)
	klog.Flush()
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "galera-init:", err)
	os.Exit(exitCode(err))
}

func exitCode(err error) int {
	var usage usageError
	switch {
	case errors.As(err, &usage):
		return exitUsage
	case errors.Is(err, errUndecided):
		return exitUndecided
	case errors.Is(err, errWaits):
		return exitWaits
	case errors.Is(err, errRefuses):
		return exitRefuses
	}
	return 1
}
