package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/uuid"

	"github.com/berth-dev/berth/pkg/lvm"
	"github.com/berth-dev/berth/pkg/volume"
)

// group is a volume group "berth" on a loop device, full of ready volumes that
// were made for another API server. Its metadata is real, and lvm reads and
// writes it without device-mapper; kernel stands in for that.
type group struct {
	lvm.Exec
	dir, device string
	image       string            // a real ext4, which every probe reads
	contents    map[string]string // file system UUID by device
}

func newGroup(ctx context.Context, dir string, volumes int) (g *group, err error) {
	g = &group{dir: dir, image: filepath.Join(dir, "image"), contents: map[string]string{}}
	g.Env = []string{"LVM_SYSTEM_DIR=" + dir}
	if err := makeFile(filepath.Join(dir, "disk"), int64(volumes+16)<<22); err != nil {
		return nil, err
	}
	if err := makeFile(g.image, 16<<20); err != nil {
		return nil, err
	}
	if _, err := command(ctx, "mkfs.ext4", "-q", g.image); err != nil {
		return nil, err
	}
	out, err := command(ctx, "losetup", "--find", "--show", filepath.Join(dir, "disk"))
	if err != nil {
		return nil, err
	}
	g.device = strings.TrimSpace(out)
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w (%v)", err, g.Close())
		}
	}()
	config := fmt.Sprintf(`devices { filter=["a|^%s$|","r|.*|"] use_devicesfile=0 obtain_device_list_from_udev=0 external_device_info_source="none" }
global { locking_dir=%q }
activation { udev_sync=0 udev_rules=0 }
`, g.device, filepath.Join(dir, "lock"))
	if err := os.WriteFile(filepath.Join(dir, "lvm.conf"), []byte(config), 0o600); err != nil {
		return nil, err
	}
	// The default area holds about a thousand volumes.
	saved := filepath.Join(dir, "saved")
	for _, args := range [][]string{{"pvcreate", "--metadatasize", "8m", g.device}, {"vgcreate", "berth", g.device}, {"vgcfgbackup", "-f", saved, "berth"}} {
		if _, err := g.lvm(ctx, args...); err != nil {
			return nil, err
		}
	}
	if err := g.fill(saved, volumes); err != nil {
		return nil, err
	}
	_, err = g.lvm(ctx, "vgcfgrestore", "-f", saved, "berth")
	return g, err
}

func (g *group) lvm(ctx context.Context, args ...string) ([]byte, error) {
	return g.Exec.Run(ctx, "setup", "lvm", append([]string{args[0], "--driverloaded", "n"}, args[1:]...)...)
}

// fill writes the volumes into saved metadata: a thousand lvcreate would take
// longer than what is measured.
func (g *group) fill(saved string, volumes int) error {
	text, err := os.ReadFile(saved)
	if err != nil {
		return err
	}
	var lvs bytes.Buffer
	lvs.WriteString("\n\tlogical_volumes {\n")
	for i := range volumes {
		claim := fmt.Sprintf("data-galera-%d", i)
		tags := volume.Tags{
			Namespace: "db", Claim: claim, Member: volume.Member{StatefulSet: "galera", Ordinal: i, Replicas: volumes},
			Class: "berth", FSType: "ext4", FSUUID: string(uuid.NewUUID()), State: volume.Ready, Generation: 1, APIServer: "former",
		}
		name := volume.LVName("db", claim)
		g.contents["/dev/mapper/berth-"+strings.ReplaceAll(name, "-", "--")] = tags.FSUUID
		fmt.Fprintf(&lvs, "\t\t%s {\n\t\t\tid = \"Vol%03d-aaaa-bbbb-cccc-dddd-eeee-%06d\"\n\t\t\tstatus = [\"READ\", \"WRITE\", \"VISIBLE\"]\n\t\t\tflags = []\n\t\t\ttags = [%s]\n"+
			"\t\t\tsegment_count = 1\n\t\t\tsegment1 {\n\t\t\t\tstart_extent = 0\n\t\t\t\textent_count = 1\n\t\t\t\ttype = \"striped\"\n\t\t\t\tstripe_count = 1\n\t\t\t\tstripes = [\n\t\t\t\t\t\"pv0\", %d\n\t\t\t\t]\n\t\t\t}\n\t\t}\n",
			name, i%1000, i, `"`+strings.Join(tags.Encode(), `", "`)+`"`, i)
	}
	lvs.WriteString("\t}\n")
	end := bytes.LastIndex(text, []byte("}"))
	if end < 0 {
		return fmt.Errorf("%s holds no volume group", saved)
	}
	return os.WriteFile(saved, append(text[:end:end], append(lvs.Bytes(), text[end:]...)...), 0o600)
}

// Close gives the loop device back.
func (g *group) Close() error {
	_, err := command(context.Background(), "losetup", "--detach", g.device)
	return err
}

// Run implements lvm.Runner. lvm is the real one without the kernel: its report
// says "active", as on a machine that never went down.
func (g *group) Run(ctx context.Context, site, name string, args ...string) ([]byte, error) {
	switch name {
	case "lvm":
		out, err := g.Exec.Run(ctx, site, name, append([]string{args[0], "--driverloaded", "n"}, args[1:]...)...)
		return bytes.ReplaceAll(out, []byte(`"lv_kernel_major":"-1"`), []byte(`"lv_kernel_major":"253"`)), err
	case "blkid":
		return g.probe(ctx, site, args[3:]) // after -p -o export
	default:
		return nil, fmt.Errorf("%s: %s %q was not expected of an agent that finds volumes again", site, name, args)
	}
}

// probe runs the real blkid on a real file system, as often as there are devices,
// and gives each answer its device's name and UUID.
func (g *group) probe(ctx context.Context, site string, devices []string) ([]byte, error) {
	out, err := g.Exec.Run(ctx, site, "blkid", append([]string{"-p", "-o", "export"}, slices.Repeat([]string{g.image}, len(devices))...)...)
	var lines []string
	device := ""
	for line := range strings.Lines(string(out)) {
		switch {
		case strings.HasPrefix(line, "DEVNAME=") && len(devices) > 0:
			device, devices = devices[0], devices[1:]
			if g.contents[device] == "" {
				return nil, fmt.Errorf("probe of %s: no volume of the group", device)
			}
			line = "DEVNAME=" + device + "\n"
		case strings.HasPrefix(line, "UUID="):
			line = "UUID=" + g.contents[device] + "\n"
		}
		lines = append(lines, line)
	}
	return []byte(strings.Join(lines, "")), err
}

func makeFile(name string, size int64) error {
	file, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	return file.Truncate(size)
}

func command(ctx context.Context, name string, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return string(out), nil
}
