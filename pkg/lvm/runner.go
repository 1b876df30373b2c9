package lvm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"
)

// A Runner runs one command to its end and returns what it wrote to stdout.
// Site names the place in the program that asks ("create", "probe", …), for
// errors, records and injected faults. A command that ended with another code
// than 0 yields an *Error; one whose end was not seen yields ErrUnknown.
type Runner interface {
	Run(ctx context.Context, site, name string, args ...string) ([]byte, error)
}

// Exec is the real Runner. The zero value is ready to use.
type Exec struct {
	// Env is added to the environment of every command.
	Env []string
	// Timeout ends a command that runs longer, unless the context has a
	// deadline of its own; zero means two minutes.
	Timeout time.Duration
	// Grace is how long a command may take to end after SIGTERM before its
	// process group is killed; zero means ten seconds. lvm holds the lock of the
	// volume group and may be halfway through device-mapper work, so it is better
	// to wait than to kill.
	Grace time.Duration
	// Place is where lvm itself runs; zero means InContainer. All other programs
	// run here: they need the devices only.
	Place Place
}

// A fixed search path: the caller's could put something else in lvm's place.
var searchPath = []string{"/usr/sbin", "/usr/bin", "/sbin", "/bin"}

// enter runs a program among the machine's mounts (locks, archive, devices file,
// udev), with its host name, which can be a system ID, and its semaphores, by
// which udev says that a device is ready. nsenter replaces itself by the program:
// what ends one ends the other.
var enter = []string{"nsenter", "--target=1", "--mount", "--uts", "--ipc", "--"}

// Run implements Runner.
func (e Exec) Run(ctx context.Context, site, name string, args ...string) ([]byte, error) {
	ctx, cancel := e.within(ctx)
	defer cancel()
	if name == ReadDevice {
		return e.readDevice(ctx, site, args)
	}
	cmd, err := e.command(ctx, name, args...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", site, err)
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	if err == nil {
		return stdout.Bytes(), nil
	}
	var exit *exec.ExitError
	// A command that was told to stop may still end with a code of its own; that
	// code is no answer to what was asked.
	if errors.As(err, &exit) && exit.Exited() && ctx.Err() == nil {
		return stdout.Bytes(), NewError(site, name, args, exit.ExitCode(), stderr.String())
	}
	if cmd.Process == nil {
		return nil, fmt.Errorf("%s: start %s: %w", site, cmd.Path, err)
	}
	// What is left of the group when the grace ran out.
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	return nil, fmt.Errorf("%s: %s %s: %w: %w", site, name, strings.Join(args, " "), ErrUnknown, err)
}

// within is the context of a command without a deadline of its own.
func (e Exec) within(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, set := ctx.Deadline(); set {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, orDefault(e.Timeout, 2*time.Minute))
}

// command is one that is ready to start, in a process group of its own, which is
// told to stop when the context ends.
func (e Exec) command(ctx context.Context, name string, args ...string) (*exec.Cmd, error) {
	line := append([]string{name}, args...)
	if name == "lvm" && e.Place == OnHost {
		line = append(slices.Clone(enter), line...)
	}
	path, err := lookPath(line[0])
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, path, line[1:]...)
	// Texts of errors are compared, so the language is fixed; lvm would
	// otherwise warn about every descriptor that a Go program has open.
	cmd.Env = append([]string{"PATH=" + strings.Join(searchPath, ":"), "LC_ALL=C", "LVM_SUPPRESS_FD_WARNINGS=1"}, e.Env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = orDefault(e.Grace, 10*time.Second)
	return cmd, nil
}

func lookPath(name string) (string, error) {
	for _, dir := range searchPath {
		path := dir + "/" + name
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0 {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is not in %s: install it (Debian: lvm2, e2fsprogs, xfsprogs, util-linux)", name, strings.Join(searchPath, ":"))
}

func orDefault(d, otherwise time.Duration) time.Duration {
	if d == 0 {
		return otherwise
	}
	return d
}
