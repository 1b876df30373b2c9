package provisioning

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/berth-dev/berth/pkg/lvm"
	"github.com/berth-dev/berth/pkg/provisioner"
	"github.com/berth-dev/berth/test/controlplane"
)

// machine is one node on this machine: the real agent, in a mount namespace in
// which lvm, blkid and mkfs are stood in for by lvm-without-dm, on a disk that is
// a file. All else is real: lvm's metadata and locks, file systems, the API server.
type machine struct {
	t    *testing.T
	dir  string
	cp   *controlplane.ControlPlane
	run  lvm.Runner // lvm outside of the namespace, on the same disk
	loop string
	log  *os.File

	agent *exec.Cmd
	ended chan struct{}
}

const node = "n1"

// programs are those that lvm-without-dm stands in for.
var programs = []string{"lvm", "blkid", "mkfs.ext4", "e2fsck"}

func newMachine(t *testing.T) *machine {
	t.Helper()
	m := &machine{t: t, dir: t.TempDir()}
	m.cp = controlplane.ForTest(t, controlplane.Config{Controllers: []string{
		"persistentvolume-binder-controller", "persistentvolumeclaim-protection-controller", "persistentvolume-protection-controller",
	}})
	root, err := controlplane.Repository(".")
	if err != nil {
		t.Fatal(err)
	}
	m.command("go", "build", "-C", root, "-o", m.path("agent"), "./cmd/lvm-provisioner")
	m.command("go", "build", "-C", root, "-o", m.path("stand-in"), "./test/provisioning/cmd/lvm-without-dm")
	for _, dir := range []string{"lvm/real/devices", "lock/lvm", "links", "outside", "empty"} {
		if err := os.MkdirAll(m.path(dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range programs {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		m.command("cp", "-L", path, m.path("lvm/real/"+name))
	}
	m.command("truncate", "-s", "4G", m.path("lvm/real/disk"))
	m.loop = strings.TrimSpace(m.command("losetup", "--find", "--show", m.path("lvm/real/disk")))
	t.Cleanup(m.end)
	config := fmt.Sprintf(`devices { filter=["a|^%s$|","r|.*|"] use_devicesfile=0 obtain_device_list_from_udev=0 external_device_info_source="none" }
activation { udev_sync=0 udev_rules=0 }
`, m.loop)
	// The test reads the disk from outside of the namespace, with the same locks.
	outside := config + fmt.Sprintf("global { locking_dir=%q }\n", m.path("lock/lvm"))
	for file, content := range map[string]string{"lvm/lvm.conf": config, "outside/lvm.conf": outside} {
		if err := os.WriteFile(m.path(file), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if m.log, err = os.Create(m.path("log")); err != nil {
		t.Fatal(err)
	}
	m.run = lvm.Exec{Env: []string{"LVM_SYSTEM_DIR=" + m.path("outside")}}
	for _, args := range [][]string{{"pvcreate", "--driverloaded", "n", m.loop}, {"vgcreate", "--driverloaded", "n", "berth", m.loop}} {
		if _, err := m.run.Run(t.Context(), "setup", "lvm", args...); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"namespace.yaml", "storageclass.yaml", "provisioner.yaml"} {
		m.kubectl("", "apply", "-f", filepath.Join(root, "manifests/base", file))
	}
	m.kubectl("apiVersion: v1\nkind: Node\nmetadata: {name: "+node+"}\n", "apply", "-f", "-")
	return m
}

func (m *machine) path(name string) string { return filepath.Join(m.dir, name) }

// start starts the agent, in a mount namespace of its own.
func (m *machine) start() {
	m.t.Helper()
	// Process 1 is hidden, as in a pod: the namespace stands for the machine.
	script := "mount --bind " + m.path("empty") + " /proc/1 && mkdir -p /run/lock/lvm && mount --bind " + m.path("lvm") + " /etc/lvm && mount --bind " + m.path("lock/lvm") + " /run/lock/lvm"
	for _, name := range programs {
		path, err := exec.LookPath(name)
		if err != nil {
			m.t.Fatal(err)
		}
		if path, err = filepath.EvalSymlinks(path); err != nil {
			m.t.Fatal(err)
		}
		script += " && mount --bind " + m.path("stand-in") + " " + path
	}
	script += " && exec " + m.path("agent") + " agent --node-name " + node + " --kubeconfig " + m.cp.Kubeconfig() +
		" --link-dir " + m.path("links") + " --interval 1s --trash-per-hour 100000 --listen 127.0.0.1:0"
	m.agent = exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c", script)
	m.agent.Stdout, m.agent.Stderr = m.log, m.log
	if err := m.agent.Start(); err != nil {
		m.t.Fatal(err)
	}
	m.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan struct{}) {
		_ = cmd.Wait()
		close(ended)
	}(m.agent, m.ended)
}

// kill ends the agent as the kernel does.
func (m *machine) kill() {
	_ = m.agent.Process.Signal(syscall.SIGKILL)
	<-m.ended
}

// killChild ends what the agent has started, if it has just started something.
func (m *machine) killChild() bool {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", m.agent.Process.Pid, m.agent.Process.Pid))
	if err != nil {
		return false
	}
	killed := false
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", m.agent.Process.Pid))
	for _, task := range tasks {
		if raw, err = os.ReadFile(task); err != nil {
			continue
		}
		for _, pid := range strings.Fields(string(raw)) {
			var n int
			if _, err := fmt.Sscan(pid, &n); err == nil && syscall.Kill(-n, syscall.SIGKILL) == nil {
				killed = true
			}
		}
	}
	return killed
}

// countdown has the agent killed at its n-th command from now.
func (m *machine) countdown(n int, when string) {
	if err := os.WriteFile(m.path("lvm/real/countdown"), fmt.Appendf(nil, "%d %s", n, when), 0o600); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) end() {
	if m.agent != nil {
		m.kill()
	}
	entries, _ := os.ReadDir(m.path("lvm/real/devices"))
	for _, e := range entries {
		if loop, err := os.Readlink(m.path("lvm/real/devices/" + e.Name())); err == nil {
			_ = exec.Command("losetup", "--detach", loop).Run()
		}
	}
	_ = exec.Command("losetup", "--detach", m.loop).Run()
	if m.t.Failed() {
		if log, err := os.ReadFile(m.path("log")); err == nil {
			m.t.Logf("the agent's log ends with\n%s", log[max(0, len(log)-4000):])
		}
	}
}

// volumes reads the disk, past the agent and its stand-ins.
func (m *machine) volumes() []provisioner.Volume {
	m.t.Helper()
	report, err := lvm.New(m.run, lvm.MetadataOnly()).Report(m.t.Context())
	if err != nil {
		m.t.Fatal(err)
	}
	return provisioner.Survey(report)
}

// write puts a file into a volume's file system and returns its checksum.
func (m *machine) write(uuid, text string) [32]byte {
	m.t.Helper()
	file := m.path("content")
	content := bytes.Repeat([]byte(text), 4096)
	if err := os.WriteFile(file, content, 0o600); err != nil {
		m.t.Fatal(err)
	}
	m.command("debugfs", "-w", "-R", "write "+file+" content", m.path("lvm/real/devices/"+uuid))
	return sha256.Sum256(content)
}

// read returns the checksum of what write put there.
func (m *machine) read(uuid string) [32]byte {
	m.t.Helper()
	out, err := exec.Command("debugfs", "-R", "cat content", m.path("lvm/real/devices/"+uuid)).Output()
	if err != nil {
		m.t.Fatal(err)
	}
	return sha256.Sum256(out)
}

func (m *machine) kubectl(stdin string, args ...string) string {
	m.t.Helper()
	out, err := m.cp.Kubectl(m.t.Context(), stdin, args...)
	if err != nil {
		m.t.Fatal(err)
	}
	return string(out)
}

// until waits for what several processes bring about together.
func (m *machine) until(what string, happened func() bool) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), time.Minute)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for !happened() {
		select {
		case <-ctx.Done():
			m.t.Fatalf("%s: not within a minute", what)
		case <-ticker.C:
		}
	}
}

func (m *machine) command(name string, args ...string) string {
	m.t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		m.t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}
