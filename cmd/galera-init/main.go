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
	var usage usageError
	if errors.As(err, &usage) {
		os.Exit(exitUsage)
	}
	if errors.Is(err, errUndecided) {
		os.Exit(exitUndecided)
	}
	os.Exit(1)
}
