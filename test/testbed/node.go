package testbed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func (b *Bed) disk(node string, number int) string {
	return b.path("disks", fmt.Sprintf("%s-%d.img", node, number))
}

// makeDisks makes a node's disks as sparse files: number 0 holds the node's own
// state and starts as a copy of seed, if one is given; the others are its physical
// volumes and start empty.
func (b *Bed) makeDisks(c Config, node, seed string) error {
	for i := range c.Disks + 1 {
		var err error
		switch {
		case i > 0:
			err = makeSparse(b.disk(node, i), int64(c.DiskGB)<<30)
		case seed != "":
			err = copySparse(seed, b.disk(node, i))
		default:
			err = makeSparse(b.disk(node, i), stateDiskSize)
		}
		if err != nil {
			return fmt.Errorf("make disk of %s: %w", node, err)
		}
	}
	return nil
}

// stateDiskSize is the size of a node's state disk in bytes; it is sparse.
const stateDiskSize = 6 << 30

func makeSparse(name string, size int64) error {
	file, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	return errors.Join(file.Truncate(size), file.Close())
}

// PowerOn boots the named nodes. It does not wait for them: see WaitReady.
func (b *Bed) PowerOn(ctx context.Context, names ...string) error {
	c, err := b.Config()
	if err != nil {
		return err
	}
	// hostfs does not follow a link at its root.
	rootfs, err := filepath.EvalSymlinks(b.Paths.RootFS)
	if err != nil {
		return fmt.Errorf("find root file system of the nodes: %w", err)
	}
	kernel, modules, err := b.kernel()
	if err != nil {
		return err
	}
	for _, name := range names {
		n, err := c.node(name)
		if err != nil {
			return err
		}
		if on, err := b.PoweredOn(name); err != nil || on {
			return fmt.Errorf("power on %s: it is on already (%v)", name, err)
		}
		vg := c.VG
		if slices.Contains(c.NoVG, name) {
			vg = ""
		}
		argv := append([]string{"taskset", "--cpu-list", processorFor(n)}, kernel...)
		argv = append(argv,
			"seccomp=auto", "mem="+strconv.Itoa(c.MemoryMB)+"M", "umid="+b.Namespace()+"-"+name, "uml_dir="+b.path("run"),
			"rootfstype=hostfs", "rootflags="+rootfs, "ro", "quiet", "con=null", "con0=null,fd:1", "con1=null,fd:1",
			"vec0:transport=tap,ifname="+clusterTap(n)+",depth=128,gro=1", "vec1:transport=tap,ifname="+roomTap(n)+",depth=128,gro=1",
			"init=/sbin/bed-init", "berth.node="+name, "berth.index="+strconv.Itoa(n), "berth.bed="+b.Dir, "berth.vg="+vg,
			"berth.modules="+modules,
		)
		for i := range c.Disks + 1 {
			argv = append(argv, fmt.Sprintf("ubd%c=%s", 'a'+i, b.disk(name, i)))
		}
		if err := b.start(name, b.path("run"), argv...); err != nil {
			return err
		}
	}
	return nil
}

// processorFor chooses the one processor of this machine on which a node runs.
// The node has one itself: its kernel and its processes take turns at each system
// call, and to wake each other across processors costs twice as much (14 and 25
// microseconds a turn under a hypervisor that keeps page tables by software).
func processorFor(node int) string {
	var allowed unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil || allowed.Count() == 0 {
		return "0"
	}
	turn := node % allowed.Count()
	for cpu := 0; ; cpu++ {
		if !allowed.IsSet(cpu) {
			continue
		}
		if turn == 0 {
			return strconv.Itoa(cpu)
		}
		turn--
	}
}

// PowerOff cuts the power of the named nodes: their kernels end at once, without
// writing anything more. All of them are cut at the same moment, as far as one
// process can.
func (b *Bed) PowerOff(names ...string) error {
	c, err := b.Config()
	if err != nil {
		return err
	}
	for _, name := range names {
		if _, err := c.node(name); err != nil {
			return err
		}
		if err := b.stop(name, syscall.SIGKILL); err != nil {
			return fmt.Errorf("power off %s: %w", name, err)
		}
		if err := os.RemoveAll(filepath.Join(b.path("run"), b.Namespace()+"-"+name)); err != nil {
			return fmt.Errorf("power off %s: %w", name, err)
		}
	}
	return nil
}

// PoweredOn says whether a node's kernel runs.
func (b *Bed) PoweredOn(name string) (bool, error) {
	pid, err := b.process(name)
	return pid != 0, err
}

// WaitBooted waits until the guest agents of the named nodes answer.
func (b *Bed) WaitBooted(ctx context.Context, names ...string) error {
	for _, name := range names {
		for {
			_, err := b.Exec(ctx, name, "true")
			if err == nil {
				break
			}
			if on, _ := b.PoweredOn(name); !on {
				return fmt.Errorf("%s lost power while booting: see %s", name, b.path("log", name+".log"))
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("wait for %s to boot (see %s): %w", name, b.path("log", name+".log"), err)
			case <-time.After(200 * time.Millisecond):
			}
		}
	}
	return nil
}
