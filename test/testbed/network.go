package testbed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Addresses, all inside the bed's network namespace:
//
//	10.77.0.0/24         nodes and control plane; partitions cut this one
//	10.77.1.0/24         power room: the guest agents, never cut
//	10.77.(16+n).0/24    pods of node n
//	10.96.0.0/16         services; only the API server's is ever used
const (
	controlAddress = "10.77.0.1"
	serviceAddress = "10.96.0.1"
	bridgeCluster  = "br-cluster"
	bridgeRoom     = "br-room"
	bridgeAway     = "br-away" // where partitioned nodes are put: it leads nowhere
)

// NodeAddress is the address of node n in the cluster's network.
func nodeAddress(n int) string { return "10.77.0.1" + strconv.Itoa(n) }

func roomAddress(n int) string { return "10.77.1.1" + strconv.Itoa(n) }

func run(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

func (b *Bed) ip(ctx context.Context, args ...string) error {
	_, err := run(ctx, "ip", append([]string{"-n", b.Namespace()}, args...)...)
	return err
}

func (b *Bed) makeNetwork(ctx context.Context, nodes int) error {
	if _, err := run(ctx, "ip", "netns", "add", b.Namespace()); err != nil {
		return fmt.Errorf("make network: %w", err)
	}
	steps := [][]string{
		{"link", "set", "lo", "up"},
		{"link", "add", bridgeCluster, "type", "bridge"},
		{"link", "add", bridgeRoom, "type", "bridge"},
		{"link", "add", bridgeAway, "type", "bridge"},
		{"addr", "add", controlAddress + "/24", "dev", bridgeCluster},
		{"addr", "add", serviceAddress + "/32", "dev", bridgeCluster},
		{"addr", "add", "10.77.1.1/24", "dev", bridgeRoom},
		{"link", "set", bridgeCluster, "up"},
		{"link", "set", bridgeRoom, "up"},
		{"link", "set", bridgeAway, "up"},
	}
	for n := 1; n <= nodes; n++ {
		for tap, bridge := range map[string]string{clusterTap(n): bridgeCluster, roomTap(n): bridgeRoom} {
			steps = append(steps,
				[]string{"tuntap", "add", "dev", tap, "mode", "tap"},
				[]string{"link", "set", tap, "master", bridge, "up"})
		}
		steps = append(steps, []string{"route", "add", fmt.Sprintf("10.77.%d.0/24", 16+n), "via", nodeAddress(n)})
	}
	for _, step := range steps {
		if err := b.ip(ctx, step...); err != nil {
			return fmt.Errorf("make network: %w", err)
		}
	}
	return nil
}

func clusterTap(n int) string { return "node" + strconv.Itoa(n) }
func roomTap(n int) string    { return "room" + strconv.Itoa(n) }

// Partition cuts the named nodes off from the control plane and from all nodes
// that are not named with them; among themselves they still talk.
func (b *Bed) Partition(ctx context.Context, names ...string) error {
	return b.moveToBridge(ctx, bridgeAway, names)
}

// Heal ends every partition.
func (b *Bed) Heal(ctx context.Context) error {
	c, err := b.Config()
	if err != nil {
		return err
	}
	return b.moveToBridge(ctx, bridgeCluster, c.NodeNames())
}

func (b *Bed) moveToBridge(ctx context.Context, bridge string, names []string) error {
	c, err := b.Config()
	if err != nil {
		return err
	}
	for _, name := range names {
		n, err := c.node(name)
		if err != nil {
			return err
		}
		if err := b.ip(ctx, "link", "set", clusterTap(n), "master", bridge); err != nil {
			return fmt.Errorf("move %s to %s: %w", name, bridge, err)
		}
	}
	return nil
}

// DialContext connects to an address inside the bed's network namespace. Only
// literal IP addresses work there: nothing answers names.
func (b *Bed) DialContext(ctx context.Context, network, address string) (conn net.Conn, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		// The thread is never unlocked, so it ends with this goroutine and no
		// other goroutine ever runs in the bed's namespace.
		runtime.LockOSThread()
		if unix.Gettid() != unix.Getpid() {
			conn, err = b.dialHere(ctx, network, address)
			return
		}
		// The main thread would not end but stay in the namespace, and the whole
		// process with it. While it waits here, the next try is on another one.
		defer runtime.UnlockOSThread()
		conn, err = b.DialContext(ctx, network, address)
	}()
	<-done
	return conn, err
}

func (b *Bed) dialHere(ctx context.Context, network, address string) (net.Conn, error) {
	ns, err := os.Open(filepath.Join("/run/netns", b.Namespace()))
	if err != nil {
		return nil, fmt.Errorf("enter network of test bed: %w", err)
	}
	defer ns.Close()
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		return nil, fmt.Errorf("enter network of test bed: %w", err)
	}
	dialer := net.Dialer{Timeout: 10 * time.Second}
	return dialer.DialContext(ctx, network, address)
}

// removeNetwork ends every process in the namespace and removes it. All of them
// are the bed's: nothing else is ever started there.
func (b *Bed) removeNetwork(ctx context.Context) error {
	if _, err := os.Stat(filepath.Join("/run/netns", b.Namespace())); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	deadline := time.Now().Add(20 * time.Second)
	for {
		out, err := run(ctx, "ip", "netns", "pids", b.Namespace())
		if err != nil {
			return fmt.Errorf("list processes of test bed: %w", err)
		}
		pids := strings.Fields(out)
		if len(pids) == 0 {
			break
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("processes %s of the test bed do not end", strings.Join(pids, ", "))
		}
		for _, field := range pids {
			if pid, err := strconv.Atoi(field); err == nil {
				_ = unix.Kill(pid, unix.SIGKILL) // it may have ended by itself
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	if _, err := run(ctx, "ip", "netns", "delete", b.Namespace()); err != nil {
		return fmt.Errorf("remove network: %w", err)
	}
	return nil
}
