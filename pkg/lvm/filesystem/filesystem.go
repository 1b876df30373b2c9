package filesystem

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/berth-dev/berth/pkg/lvm"
)

// Types are the file systems that Make can make, the default first.
var Types = []string{"ext4", "xfs"}

// None stands for the file system of a raw block volume.
const None = "none"

// Content is what a probe found on a device. The zero Content is a device that
// was readable and on which nothing was recognised.
type Content struct {
	Type string // of the file system; "" when it is something else
	UUID string
	// Other names what is there when it is not a file system, such as a
	// partition table.
	Other string
}

// IsEmpty reports that the device was read and holds nothing known.
func (c Content) IsEmpty() bool { return c == Content{} }

func (c Content) String() string {
	switch {
	case c.IsEmpty():
		return "nothing"
	case c.Other != "":
		return c.Other
	default:
		return fmt.Sprintf("%s with UUID %s", c.Type, c.UUID)
	}
}

// Probe reads the device itself, past every cache of earlier answers.
func Probe(ctx context.Context, run lvm.Runner, device string) (Content, error) {
	out, err := run.Run(ctx, "probe", "blkid", "-p", "-o", "export", device)
	var ended *lvm.Error
	switch {
	case err == nil:
		return parse(out)
	case errors.As(err, &ended) && ended.Code == 2 && ended.Stderr == "" && len(bytes.TrimSpace(out)) == 0:
		// blkid gives this same code for a device that is not there or that
		// cannot be read (measured with 2.38), so it takes a second witness.
		return Content{}, readable(ctx, run, device)
	default:
		return Content{}, fmt.Errorf("probe %s: %w", device, err)
	}
}

// ProbeAll probes many devices by one command, whose start costs more than a probe.
// It returns the answers that are certain, by device: one that is missing has to be
// probed by itself, which tells what is wrong with it.
func ProbeAll(ctx context.Context, run lvm.Runner, devices []string) map[string]Content {
	out, err := run.Run(ctx, "probe", "blkid", append([]string{"-p", "-o", "export"}, devices...)...)
	if err != nil {
		return nil // blkid stops where it recognises nothing, and does not say where (2.38)
	}
	found := map[string]Content{}
	for section := range strings.SplitSeq(string(out), "\n\n") {
		if content, err := parse([]byte(section)); err == nil {
			first, _, _ := strings.Cut(section, "\n")
			found[strings.TrimPrefix(first, "DEVNAME=")] = content
		}
	}
	return found
}

// readable reads, past the page cache, the first two MiB, where the file
// systems that blkid knows keep what they are recognised by.
func readable(ctx context.Context, run lvm.Runner, device string) error {
	_, err := run.Run(ctx, "read", lvm.ReadDevice, device, strconv.Itoa(2<<20))
	if err != nil {
		return fmt.Errorf("probe %s: blkid recognises nothing, and the device cannot be read: %w", device, err)
	}
	return nil
}

func parse(out []byte) (Content, error) {
	values := map[string]string{}
	for line := range strings.Lines(string(out)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		values[key] = value
	}
	switch {
	case values["USAGE"] == "filesystem" && values["TYPE"] != "":
		return Content{Type: values["TYPE"], UUID: values["UUID"]}, nil
	case values["TYPE"] != "":
		return Content{Other: values["TYPE"]}, nil
	case values["PTTYPE"] != "":
		return Content{Other: "a partition table (" + values["PTTYPE"] + ")"}, nil
	default:
		return Content{}, fmt.Errorf("probe: blkid found something that it does not name: %q", out)
	}
}

// Make makes a file system. The device must have been probed and be empty:
// mkfs.ext4 overwrites without a question when it has no terminal.
func Make(ctx context.Context, run lvm.Runner, device, fsType, uuid string, options ...string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	var err error
	switch fsType {
	case "ext4":
		// No blocks are kept back for root: a volume has one user, the database.
		_, err = run.Run(ctx, "mkfs", "mkfs.ext4", slices.Concat([]string{"-q", "-m", "0", "-U", uuid}, options, []string{device})...)
	case "xfs":
		_, err = run.Run(ctx, "mkfs", "mkfs.xfs", slices.Concat([]string{"-q", "-m", "uuid=" + uuid}, options, []string{device})...)
	default:
		return fmt.Errorf("make file system: type %q is not one of %s", fsType, strings.Join(Types, ", "))
	}
	if err != nil {
		return fmt.Errorf("make file system on %s: %w", device, err)
	}
	return nil
}

// CheckOptions refuses options of mkfs that would undo what Make relies on: the
// UUID that the volume is known by, the refusal to overwrite, and the device,
// which is always last.
func CheckOptions(fsType string, options []string) error {
	forbidden := map[string][]string{"ext4": {"-U", "-F", "-n", "-S", "-t", "-V"}, "xfs": {"-f", "-N", "-p", "-V"}}[fsType]
	for i, o := range options {
		switch {
		case strings.HasPrefix(o, "-") && slices.ContainsFunc(forbidden, func(f string) bool { return strings.HasPrefix(o, f) }):
			return fmt.Errorf("option %s of mkfs.%s is not allowed: it changes the volume's identity or its protection", o, fsType)
		case strings.Contains(o, "uuid="):
			return fmt.Errorf("option %s sets a UUID, which Berth chooses: remove it", o)
		case !strings.HasPrefix(o, "-") && (i == 0 || !strings.HasPrefix(options[i-1], "-") || len(options[i-1]) != 2), strings.HasPrefix(o, "/"):
			return fmt.Errorf("%q is not an option, nor the value of one", o)
		}
	}
	return nil
}

// Check tells by a read-only pass whether a file system that was never mounted
// is complete: a power cut in the middle of Make can leave one that is
// recognised and is not.
func Check(ctx context.Context, run lvm.Runner, device, fsType string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	var err error
	switch fsType {
	case "ext4":
		_, err = run.Run(ctx, "check", "e2fsck", "-f", "-n", device)
	case "xfs":
		_, err = run.Run(ctx, "check", "xfs_repair", "-n", device)
	default:
		return fmt.Errorf("check file system: type %q is not one of %s", fsType, strings.Join(Types, ", "))
	}
	if err != nil {
		return fmt.Errorf("check file system on %s: %w", device, err)
	}
	return nil
}

// MinSize is the smallest device in bytes on which the type can be made.
func MinSize(fsType string) int64 {
	if fsType == "xfs" {
		return 300 << 20 // mkfs.xfs 5.19 and later refuse less
	}
	return 1 << 20
}
