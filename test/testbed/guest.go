package testbed

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// A guest agent runs in each node and answers on the network that partitions do
// not cut. One request runs one command: the body is the standard input, the
// answer a sequence of frames {stream byte, length uint32 big endian, data}.
const (
	frameStdout = 1
	frameStderr = 2
	frameExit   = 3 // data: the exit status in decimal, or the error of a command that could not start
	guestPort   = "22"
)

// ServeGuest answers commands for the node it runs in until ctx ends.
func ServeGuest(ctx context.Context, address string) error {
	server := &http.Server{Addr: address, Handler: http.HandlerFunc(runForGuest), ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve guest: %w", err)
	}
	return nil
}

type frameWriter struct {
	mu sync.Mutex
	w  http.ResponseWriter
}

func (f *frameWriter) frame(stream byte, data []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	header := [5]byte{stream}
	binary.BigEndian.PutUint32(header[1:], uint32(len(data)))
	if _, err := f.w.Write(append(header[:], data...)); err != nil {
		return err
	}
	return http.NewResponseController(f.w).Flush()
}

type streamWriter struct {
	*frameWriter
	stream byte
}

func (s streamWriter) Write(p []byte) (int, error) { return len(p), s.frame(s.stream, p) }

func runForGuest(w http.ResponseWriter, r *http.Request) {
	var argv []string
	if err := json.Unmarshal([]byte(r.Header.Get("Argv")), &argv); err != nil || len(argv) == 0 {
		http.Error(w, "header Argv must hold a JSON array with the command", http.StatusBadRequest)
		return
	}
	// Output is sent while the input is still being read.
	_ = http.NewResponseController(w).EnableFullDuplex()
	frames := &frameWriter{w: w}
	cmd := exec.CommandContext(r.Context(), argv[0], argv[1:]...)
	cmd.Stdin = r.Body
	cmd.Stdout, cmd.Stderr = streamWriter{frames, frameStdout}, streamWriter{frames, frameStderr}
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		_ = frames.frame(frameExit, []byte("0"))
	case errors.As(err, &exit):
		_ = frames.frame(frameExit, fmt.Append(nil, exit.ExitCode()))
	default:
		_ = frames.frame(frameExit, []byte(err.Error()))
	}
}

// ExitError is the answer of a command that ran in a node and did not exit with 0.
type ExitError struct {
	Node   string
	Argv   []string
	Status string // exit status, or why the command could not be started
	Stderr string
}

func (e *ExitError) Error() string {
	return fmt.Sprintf("%s on %s: exit %s: %s", strings.Join(e.Argv, " "), e.Node, e.Status, strings.TrimSpace(e.Stderr))
}

// Exec runs a command in a node and returns its standard output.
func (b *Bed) Exec(ctx context.Context, node string, argv ...string) (string, error) {
	var stdout bytes.Buffer
	err := b.ExecStream(ctx, node, argv, nil, &stdout, nil)
	return stdout.String(), err
}

// ExecStream runs a command in a node with the given streams; any may be nil.
func (b *Bed) ExecStream(ctx context.Context, node string, argv []string, stdin io.Reader, stdout, stderr io.Writer) error {
	c, err := b.Config()
	if err != nil {
		return err
	}
	n, err := c.node(node)
	if err != nil {
		return err
	}
	header, err := json.Marshal(argv)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+net.JoinHostPort(roomAddress(n), guestPort)+"/", stdin)
	if err != nil {
		return err
	}
	request.Header.Set("Argv", string(header))
	client := http.Client{Transport: &http.Transport{DialContext: b.DialContext, DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("reach %s: %w", node, err)
	}
	defer response.Body.Close()
	var kept bytes.Buffer
	streams := map[byte]io.Writer{frameStdout: stdout, frameStderr: &kept}
	if stderr != nil {
		streams[frameStderr] = io.MultiWriter(&kept, stderr)
	}
	for {
		var head [5]byte
		if _, err := io.ReadFull(response.Body, head[:]); err != nil {
			return fmt.Errorf("run %s on %s: the answer broke off: %w", argv[0], node, err)
		}
		data := io.LimitReader(response.Body, int64(binary.BigEndian.Uint32(head[1:])))
		if head[0] == frameExit {
			status, err := io.ReadAll(data)
			if err != nil || string(status) == "0" {
				return err
			}
			return &ExitError{Node: node, Argv: argv, Status: string(status), Stderr: kept.String()}
		}
		to := streams[head[0]]
		if to == nil {
			to = io.Discard
		}
		if _, err := io.Copy(to, data); err != nil {
			return fmt.Errorf("run %s on %s: %w", argv[0], node, err)
		}
	}
}

// CopyIn writes a file of the host into a node.
func (b *Bed) CopyIn(ctx context.Context, node, from, to string) error {
	file, err := os.Open(from)
	if err != nil {
		return err
	}
	defer file.Close()
	return b.ExecStream(ctx, node, []string{"sh", "-c", `cat >"$1"`, "sh", to}, file, nil, nil)
}
