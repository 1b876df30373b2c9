package corpus

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// JoinUntil starts a server on the empty directory d that asks the donor for a
// full copy, and kills it with all its helpers as soon as enough says so. An error
// is also that the copy was complete before.
func (d Directory) JoinUntil(ctx context.Context, donor *Server, enough func() (bool, error)) (err error) {
	d.Settings = []string{"wsrep_cluster_address=gcomm://127.0.0.1:4567", "wsrep_sst_method=rsync", "wsrep_sst_receive_address=127.0.0.1:4578",
		`wsrep_provider_options="base_port=4577;gmcast.listen_addr=tcp://127.0.0.1:4577;ist.recv_addr=127.0.0.1:4579;gcache.size=16M"`}
	if err := d.prepare(); err != nil {
		return err
	}
	run, err := runDirectory()
	if err != nil {
		return err
	}
	defer os.RemoveAll(run)
	network := fmt.Sprintf("--net=/proc/%d/ns/net", donor.process.Pid)
	if out, err := exec.CommandContext(ctx, "nsenter", network, "ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		return fmt.Errorf("bring up the donor's loopback: %w: %s", err, out)
	}
	log, err := os.Create(d.logFile())
	if err != nil {
		return err
	}
	defer log.Close()
	// The server is process 1 of a namespace: its end is that of its transfer too.
	cmd := exec.CommandContext(ctx, "nsenter", network, "sh", "-c", `mount -t proc proc /proc && exec setpriv --reuid=mysql --regid=mysql --clear-groups "$@"`, "sh",
		"mariadbd", "--defaults-file="+d.config(), "--socket="+filepath.Join(run, "s"), "--pid-file="+filepath.Join(run, "p"))
	cmd.Dir, cmd.Stdout, cmd.Stderr = "/", log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID, Unshareflags: syscall.CLONE_NEWNS}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start joiner: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for deadline := time.Now().Add(patience); ; {
		done, err := enough()
		if done || err != nil || time.Now().After(deadline) {
			if !done && err == nil {
				err = fmt.Errorf("the copy did not come so far in %s\n%s", patience, complaints(d.Log()))
			}
			cmd.Process.Kill()
			<-ended
			return err
		}
		select {
		case err := <-ended:
			return fmt.Errorf("the joiner ended by itself: %w\n%s", errors.Join(errEnded, err), complaints(d.Log()))
		case <-time.After(time.Millisecond):
		}
	}
}
