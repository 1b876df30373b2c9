package testbed

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// start runs a program of the bed in the bed's network namespace, in a session
// of its own, so that it outlives the command that started it and a power cut
// ends it with all its children. Output goes to log/NAME.log.
func (b *Bed) start(name, dir string, argv ...string) error {
	log, err := os.OpenFile(b.path("log", name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	defer log.Close()
	cmd := exec.Command("ip", append([]string{"netns", "exec", b.Namespace()}, argv...)...)
	cmd.Dir = dir
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	// The child is reaped while this process lives; afterwards init does it.
	go func() { _ = cmd.Wait() }()
	pid := strconv.Itoa(cmd.Process.Pid)
	return os.WriteFile(b.pidFile(name), []byte(pid+" "+startTime(cmd.Process.Pid)+"\n"), 0o644)
}

func (b *Bed) pidFile(name string) string { return b.path("run", name+".pid") }

// process returns the pid of a program that start started, or 0 when it does not
// run. The start time guards against a pid that was given to somebody else.
func (b *Bed) process(name string) (int, error) {
	raw, err := os.ReadFile(b.pidFile(name))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	var pid int
	var started string
	if _, err := fmt.Sscan(string(raw), &pid, &started); err != nil {
		return 0, fmt.Errorf("read %s: %w", b.pidFile(name), err)
	}
	if startTime(pid) != started {
		return 0, nil
	}
	return pid, nil
}

// startTime is field 22 of /proc/PID/stat (proc(5)): clock ticks after boot. It
// is empty for a process that is gone or only waits to be reaped.
func startTime(pid int) string {
	raw, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return ""
	}
	_, after, ok := strings.Cut(string(raw), ") ")
	fields := strings.Fields(after)
	if !ok || len(fields) < 20 || fields[0] == "Z" {
		return ""
	}
	return fields[19]
}

// stop ends a program and everything in its session with the given signal and
// waits until it is gone.
func (b *Bed) stop(name string, signal syscall.Signal) error {
	pid, err := b.process(name)
	if err != nil {
		return fmt.Errorf("stop %s: %w", name, err)
	}
	if pid == 0 {
		return nil
	}
	deadline := time.Now().Add(15 * time.Second)
	for startTime(pid) != "" {
		if time.Now().After(deadline) {
			signal = syscall.SIGKILL
			deadline = deadline.Add(15 * time.Second)
		}
		if err := syscall.Kill(-pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("stop %s: %w", name, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err := os.Remove(b.pidFile(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("stop %s: %w", name, err)
	}
	return nil
}
