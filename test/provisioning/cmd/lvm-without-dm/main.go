// Lvm-without-dm stands in the place of lvm, blkid and mkfs on a machine without
// device-mapper: metadata, locks and allocation are real lvm's, and a volume that
// is activated is a loop device on its own extents. It also kills its caller, when
// it is told to, right before or right after a command.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// dir holds, in this program's mount namespace, the real programs, the disk, the
// devices and the countdown to a kill.
const dir = "/etc/lvm/real"

func main() {
	name, args := filepath.Base(os.Args[0]), os.Args[1:]
	if name == "lvm" && len(args) == 0 {
		shell()
		return
	}
	os.Exit(counted(streams{os.Stdout, os.Stderr}, name, args))
}

// streams are where a command writes to.
type streams struct{ out, err io.Writer }

// counted runs a command, unless it is the one at which to kill.
func counted(to streams, name string, args []string) int {
	when := countdown()
	if when == "before" {
		kill()
	}
	code, err := run(to, name, args)
	if err != nil {
		fmt.Fprintln(to.err, err)
	}
	if when == "after" {
		kill()
	}
	return code
}

// countdown takes one off the number of commands until the kill and says "before"
// or "after" when this is the one.
func countdown() string {
	path := filepath.Join(dir, "countdown")
	raw, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	count, when, _ := strings.Cut(strings.TrimSpace(string(raw)), " ")
	n, err := strconv.Atoi(count)
	if err != nil || n <= 0 {
		return ""
	}
	if err := os.WriteFile(path, fmt.Appendf(nil, "%d %s", n-1, when), 0o600); err != nil || n > 1 {
		return ""
	}
	return when
}

// kill ends the agent and this program, as it is: no handler of either runs.
func kill() {
	_ = syscall.Kill(os.Getppid(), syscall.SIGKILL)
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
}

func run(to streams, name string, args []string) (int, error) {
	if name != "lvm" {
		return through(to, name, args)
	}
	switch args[0] {
	case "lvmconfig", "version":
		return through(to, name, args)
	case "fullreport":
		return report(to, args)
	case "lvchange":
		if i := slices.Index(args, "-a"); i >= 0 {
			if args[i+1] == "n" {
				return deactivate(args[len(args)-1])
			}
			return activate(args[len(args)-1])
		}
	case "lvcreate":
		for _, flag := range []string{"-W", "-Z"} {
			if i := slices.Index(args, flag); i >= 0 {
				args[i+1] = "n"
			}
		}
		args = slices.Insert(args, 1, "-an")
	}
	return through(to, name, slices.Insert(args, 1, "--driverloaded", "n"))
}

// through runs the real program.
func through(to streams, name string, args []string) (int, error) {
	cmd := exec.Command(filepath.Join(dir, name), args...)
	cmd.Stdout, cmd.Stderr = to.out, to.err
	return codeOf(cmd.Run())
}

func codeOf(err error) (int, error) {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0, nil
	case errors.As(err, &exit):
		return exit.ExitCode(), nil
	default:
		return 127, err
	}
}

func device(uuid string) string { return filepath.Join(dir, "devices", uuid) }

// report says of each volume whether it is active, and where its device is.
func report(to streams, args []string) (int, error) {
	var out bytes.Buffer
	cmd := exec.Command(filepath.Join(dir, "lvm"), slices.Insert(args, 1, "--driverloaded", "n")...)
	cmd.Stdout, cmd.Stderr = &out, to.err
	if code, err := codeOf(cmd.Run()); code != 0 {
		return code, err
	}
	var doc struct {
		Report []map[string][]map[string]string `json:"report"`
	}
	if err := json.Unmarshal(out.Bytes(), &doc); err != nil {
		return 5, err
	}
	for _, section := range doc.Report {
		for _, lv := range section["lv"] {
			lv["lv_dm_path"] = device(lv["lv_uuid"])
			if _, err := os.Stat(device(lv["lv_uuid"])); err == nil {
				lv["lv_kernel_major"] = "7"
			}
		}
	}
	return 0, json.NewEncoder(to.out).Encode(doc)
}

// lookUp asks lvm for a volume's UUID, and where its one segment begins and ends
// on the disk, in bytes.
func lookUp(lv string) (uuid string, from, size int64, err error) {
	out, err := exec.Command(filepath.Join(dir, "lvm"), "lvs", "--driverloaded", "n", "--noheadings", "--units", "b", "--nosuffix", "--separator", "|",
		"-o", "lv_uuid,lv_size,vg_extent_size,seg_pe_ranges", lv).Output()
	if err != nil {
		return "", 0, 0, err
	}
	fields := strings.Split(strings.TrimSpace(string(out)), "|")
	if len(fields) != 4 || strings.Contains(fields[3], " ") || strings.Contains(string(bytes.TrimSpace(out)), "\n") {
		return "", 0, 0, fmt.Errorf("%s lies in several pieces: %q", lv, out)
	}
	_, extents, _ := strings.Cut(fields[3], ":")
	first, _, _ := strings.Cut(extents, "-")
	start, err1 := strconv.ParseInt(first, 10, 64)
	size, err2 := strconv.ParseInt(fields[1], 10, 64)
	extent, err3 := strconv.ParseInt(fields[2], 10, 64)
	const dataStart = 1 << 20 // of a physical volume made with the defaults
	return fields[0], dataStart + start*extent, size, errors.Join(err1, err2, err3)
}

func activate(lv string) (int, error) {
	uuid, from, size, err := lookUp(lv)
	if err != nil {
		return 5, fmt.Errorf("Failed to find logical volume %q: %w", lv, err)
	}
	if _, err := os.Stat(device(uuid)); err == nil {
		return 0, nil
	}
	_ = os.Remove(device(uuid)) // a link to a loop device that is gone
	out, err := exec.Command("losetup", "--find", "--show", "--offset", strconv.FormatInt(from, 10), "--sizelimit", strconv.FormatInt(size, 10), filepath.Join(dir, "disk")).Output()
	if err != nil {
		return 5, err
	}
	if err := os.Symlink(strings.TrimSpace(string(out)), device(uuid)); err != nil {
		return 5, err
	}
	return 0, nil
}

func deactivate(lv string) (int, error) {
	uuid, _, _, err := lookUp(lv)
	if err != nil {
		return 5, err
	}
	loop, err := os.Readlink(device(uuid))
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 5, err
	}
	if code, err := codeOf(exec.Command("losetup", "--detach", loop).Run()); code != 0 {
		return 5, err
	}
	return 0, os.Remove(device(uuid))
}
