package scheduling

import (
	"encoding/json"
	"errors"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/test/controlplane"
)

// TestExplain asks a running scheduler about a member that waits for its node, and
// about one that may go, as a person and as a program.
func TestExplain(t *testing.T) {
	y := newYard(t)
	y.machine("n1", 50*gibi)
	y.machine("n2", 5*gibi)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	y.must(err)
	address := listener.Addr().String()
	listener.Close()
	y.must(y.agent.run(t.Context()))
	y.start("scheduler", "--explain-address="+address)
	y.member("db", 0)
	y.await("first placed", time.Minute, func(nodes, _ map[string]string) bool { return placed(nodes) == 1 })
	y.member("db", 1)
	y.await("second told", time.Minute, func(_, told map[string]string) bool { return told["db-1"] != "" })

	text, code := y.explain("db-1", address)
	for _, want := range []string{"MemberOnNode", "NoSpace", "no node fits", "n1", "n2"} {
		if !strings.Contains(text, want) {
			t.Errorf("the table does not say %s:\n%s", want, text)
		}
	}
	if code != 3 {
		t.Errorf("exit code %d for a pod that waits, want 3", code)
	}
	text, code = y.explain("db-0", address, "--output=json")
	var answer struct {
		BoundTo, Action string
		Nodes           []struct{ Node string }
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil || answer.BoundTo != "n1" || answer.Action != "pin" || len(answer.Nodes) != 2 || code != 0 {
		t.Errorf("exit code %d, error %v, answer %s", code, err, text)
	}
	if text, code := y.explain("nobody", address); code != 1 {
		t.Errorf("exit code %d for a pod that is not there, want 1: %s", code, text)
	}
}

// explain runs the sub-command.
func (y *yard) explain(pod, address string, args ...string) (text string, code int) {
	y.Helper()
	bin, err := controlplane.Binaries()
	y.must(err)
	cmd := exec.Command(filepath.Join(bin, "scheduler-plugin"), append([]string{"explain", pod, "-n", namespace, "--server=http://" + address}, args...)...)
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		y.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}
