package loopback

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
)

// isolated says to a program that it runs in the namespaces of Isolate; the
// value is its scratch directory.
const isolated = "BERTH_LOOPBACK"

// Isolate starts this very program again in network and mount namespaces of its
// own and exits with its status; in the program that was started it returns the
// path of a tmpfs for everything that is written. Both end with the program.
func Isolate() (scratch string, err error) {
	if scratch := os.Getenv(isolated); scratch != "" {
		return scratch, enter(scratch)
	}
	// Short: the path of a socket below it has to fit into 107 bytes.
	if scratch, err = os.MkdirTemp("", "lo"); err != nil {
		return "", fmt.Errorf("isolate: %w", err)
	}
	defer os.Remove(scratch)
	program, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("isolate: %w", err)
	}
	cmd := exec.Command(program, os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), isolated+"="+scratch)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Pdeathsig: syscall.SIGKILL, Cloneflags: syscall.CLONE_NEWNET, Unshareflags: syscall.CLONE_NEWNS,
	}
	if err := cmd.Start(); err != nil {
		return "", fmt.Errorf("isolate (needs root): %w", err)
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		for s := range signals {
			_ = cmd.Process.Signal(s) // fails when it has ended already
		}
	}()
	err = cmd.Wait()
	os.Remove(scratch)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return "", fmt.Errorf("isolate: %w", err)
	}
	os.Exit(max(0, cmd.ProcessState.ExitCode()) + btoi(cmd.ProcessState.ExitCode() < 0))
	return "", nil
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// enter makes the namespaces usable.
func enter(scratch string) error {
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		return fmt.Errorf("isolate: bring loopback up: %w: %s", err, out)
	}
	// Go has made the mounts private to this namespace already (CLONE_NEWNS).
	if err := syscall.Mount("tmpfs", scratch, "tmpfs", 0, "size=6g,mode=0755"); err != nil {
		return fmt.Errorf("isolate: mount %s: %w", scratch, err)
	}
	return os.MkdirAll(filepath.Join(scratch, "tmp"), 0o1777)
}
