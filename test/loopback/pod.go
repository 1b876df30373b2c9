package loopback

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/berth-dev/berth/pkg/member"
)

// pod is one pod's processes and the kubelet that cares for them.
type pod struct {
	member *Member
	uid    string

	mutex   sync.Mutex
	running *exec.Cmd // prepare or exec
	beside  *exec.Cmd // sidecar
	stopped bool
	done    chan struct{} // closed when nobody cares any more and no process runs
}

// follow runs the pod until it is to run no further and nothing of it runs.
func (p *pod) follow(steps ...string) {
	var containers sync.WaitGroup
	containers.Go(func() { p.containers(steps...) })
	containers.Go(p.sidecar)
	containers.Wait()
	close(p.done)
}

// sidecar runs the container beside the server, again when it fails.
func (p *pod) sidecar() {
	m := p.member
	for {
		cmd := m.container("sidecar", "--socket="+filepath.Join(m.run, "mysqld.sock"), "--account=root", "--listen="+m.Address()+":9104",
			"--volume="+m.Volume, "--datadir="+filepath.Join(m.Volume, "data"), "--run-dir="+m.run, "--non-primary-limit=5s", "--object-interval=2s",
			"--kubeconfig="+filepath.Join(m.dir, "kubeconfig"), "--namespace="+namespace, "--pod-name="+m.Name(), "--pod-uid="+p.uid)
		cmd.Stdout, cmd.Stderr = m.Journal, m.Journal
		p.mutex.Lock()
		if p.stopped {
			p.mutex.Unlock()
			return
		}
		p.beside = cmd
		err := cmd.Start()
		p.mutex.Unlock()
		if err == nil {
			_ = cmd.Wait() // by a signal, or because an old pod still has the port
		}
		time.Sleep(backOff)
	}
}

// containers runs galera-init's sub-commands one after the other, each again
// when it fails, and the last for ever.
func (p *pod) containers(steps ...string) {
	for i := 0; i < len(steps); {
		ok, stopped := p.container(steps[i])
		if stopped {
			return
		}
		if ok && i < len(steps)-1 {
			i++
		} else {
			time.Sleep(backOff)
		}
	}
}

// container runs one container and says whether it ended well, and whether the
// pod is to run no further.
func (p *pod) container(step string) (ok, stopped bool) {
	cmd := p.command(step)
	run, err := p.start(cmd, step)
	if run == nil {
		return false, true
	}
	if err == nil {
		probed := func() {}
		if step == "exec" {
			probed = p.probe(cmd)
		}
		err = cmd.Wait()
		probed()
	}
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.member.ended(run)
	if err != nil && !p.stopped {
		fmt.Fprintf(p.member.Journal, "== %s ended: %v\n", step, err)
	}
	return err == nil, p.stopped
}

// probe is the liveness probe of the main container: it ends a server for whose
// end the sidecar asks.
func (p *pod) probe(cmd *exec.Cmd) (stop func()) {
	done := make(chan struct{})
	go func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			if _, err := os.Stat(member.EndFile(p.member.run)); err == nil {
				_ = cmd.Process.Kill() // fails when it has ended already
			}
		}
	}()
	return func() { close(done) }
}

// start starts a container's process, unless the pod is to run no further.
func (p *pod) start(cmd *exec.Cmd, step string) (*Run, error) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if p.stopped {
		return nil, nil
	}
	run := p.member.started(step)
	out := &output{member: p.member, run: run}
	cmd.Stdout, cmd.Stderr = out, out
	p.running = cmd
	return run, cmd.Start()
}

// command is the container of prepare or exec.
func (p *pod) command(step string) *exec.Cmd {
	m := p.member
	return m.container(step,
		"--kubeconfig="+filepath.Join(m.dir, "kubeconfig"), "--namespace="+namespace, "--pod-name="+m.Name(), "--pod-uid="+p.uid,
		"--pod-ip="+m.Address(), "--node-name=loopback", "--claim=data-"+m.Name(), "--volume="+m.Volume,
		"--datadir="+filepath.Join(m.Volume, "data"), "--run-dir="+m.run, "--init-sql="+m.initSQL(),
		"--", "mariadbd", "--defaults-file="+m.config)
}

// container is one of galera-init's sub-commands in a container. The shell becomes
// galera-init and later the server, process 1 of its namespace: when it ends, the
// kernel ends all others in it.
func (m *Member) container(step string, args ...string) *exec.Cmd {
	cmd := exec.Command("sh", append([]string{"-c", `mount -t proc proc /proc && exec setpriv --reuid=mysql --regid=mysql --clear-groups "$@"`, "sh",
		m.Program(), step}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Pdeathsig: syscall.SIGKILL, Cloneflags: syscall.CLONE_NEWPID, Unshareflags: syscall.CLONE_NEWNS,
	}
	return cmd
}

// stop ends the care: what runs runs on, and nothing follows it.
func (p *pod) stop() {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.stopped = true
}

// kill sends a signal to the containers that run.
func (p *pod) kill(signal syscall.Signal) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	for _, cmd := range []*exec.Cmd{p.running, p.beside} {
		if cmd != nil && cmd.Process != nil {
			_ = cmd.Process.Signal(signal) // fails when it has ended already
		}
	}
}

// started and ended keep the cluster's list of runs.
func (m *Member) started(step string) *Run {
	m.cluster.mutex.Lock()
	defer m.cluster.mutex.Unlock()
	run := &Run{Ordinal: m.Ordinal, Step: step, Mark: m.Journal.Mark(), Started: time.Now()}
	m.cluster.runs = append(m.cluster.runs, run)
	return run
}

func (m *Member) ended(run *Run) {
	m.cluster.mutex.Lock()
	defer m.cluster.mutex.Unlock()
	run.Ended = time.Now()
}
