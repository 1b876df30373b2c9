package controlplane

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// process is one of the control plane's programs.
type process struct {
	name string
	cmd  *exec.Cmd
	log  string
	done chan struct{} // closed when it has ended and been waited for
}

// start runs a program of the control plane. It ends with its parent at the latest.
func start(c Config, name string, args ...string) (*process, error) {
	p := &process{name: name, log: filepath.Join(c.Dir, name+".log"), done: make(chan struct{})}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.cmd = exec.Command(filepath.Join(c.Bin, name), args...)
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = c.Dir, log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		_ = p.cmd.Wait() // ends by a signal, as a rule
		close(p.done)
	}()
	return p, nil
}

// stop ends the process at once and returns when it is gone. It may be called again.
func (p *process) stop() {
	_ = p.cmd.Process.Kill() // fails when it has ended already
	<-p.done
}

// tail is the end of the program's log, in a form that follows a message.
func (p *process) tail() string {
	log, err := os.ReadFile(p.log)
	if err != nil {
		return fmt.Sprintf("\n%s: %v", p.name, err)
	}
	return fmt.Sprintf("\n%s: … %s", p.name, log[max(0, len(log)-2000):])
}

// writeFiles makes the administrator's kubeconfig and what the API server reads.
func (c *ControlPlane) writeFiles() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	kubeconfig, err := c.KubeconfigAs("")
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(c.path("service-account.key"), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), 0o600),
		os.WriteFile(c.path("tokens.csv"), []byte(adminToken+`,admin,admin,"system:masters"`+"\n"), 0o600),
		os.WriteFile(c.Kubeconfig(), kubeconfig, 0o600))
}

// freePorts asks the kernel for ports of loopback that nobody uses. All are open
// at once, so that they differ.
func freePorts(count int) ([]int, error) {
	var ports []int
	for range count {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}
