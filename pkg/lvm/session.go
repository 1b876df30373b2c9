package lvm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// session is an lvm that waits for commands on its stdin and writes one JSON document
// for each to a pipe: its report, if it makes one, and its command log.
type session struct {
	cmd     *exec.Cmd
	stdin   io.WriteCloser
	reports *os.File
	answers *json.Decoder
	ended   chan struct{}
	grace   time.Duration
	since   time.Time
	asked   int // commands
}

// profile is lvm's own for programs that use its shell: it has every command answer in
// JSON, with its code. lvm ends at once where it is not installed.
const profile = "LVM_COMMAND_PROFILE=lvmdbusd"

// greeting is how long a shell may take for its first answer.
const greeting = 10 * time.Second

func (e Exec) shell() (*session, error) {
	s := &session{ended: make(chan struct{}), grace: orDefault(e.Grace, 10*time.Second), since: time.Now()}
	var err error
	if s.cmd, err = e.command(context.Background(), "lvm"); err != nil {
		return nil, err
	}
	reports, writes, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer writes.Close()
	s.reports, s.answers = reports, json.NewDecoder(reports)
	s.cmd.ExtraFiles = []*os.File{writes} // descriptor 3
	// The history of commands goes nowhere, and no number of lines makes lvm give up.
	s.cmd.Env = append(s.cmd.Env, profile, "LVM_REPORT_FD=3", "LVM_LOG_FILE_MAX_LINES=0", "HOME=/nonexistent")
	if s.stdin, err = s.cmd.StdinPipe(); err == nil {
		err = s.cmd.Start()
	}
	if err != nil {
		reports.Close()
		return nil, err
	}
	go func() {
		_ = s.cmd.Wait() // it is what it answered that counts
		// What it wrote before it ended is there now.
		_ = reports.SetReadDeadline(time.Now().Add(time.Second))
		close(s.ended)
	}()
	return s, nil
}

// greet sees whether the shell answers as it should, before anything depends on it.
func (s *session) greet(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, greeting)
	defer cancel()
	a, err := s.ask(ctx, []string{"version"})
	if err == nil && a.code != 0 {
		err = fmt.Errorf("version ended with code %d", a.code)
	}
	return err
}

// answer is what a command had to say. out is the whole document.
type answer struct {
	out  []byte
	code int
	text string // of the messages in the log
}

var (
	errOutOfStep = errors.New("the answer of lvm's shell is none to the command")
	// errNotTaken says that nobody was there to read the command to its end.
	errNotTaken = errors.New("lvm's shell takes no command")
)

// ask runs a command. After an error the shell is of no use any more, and whether the
// command did anything is not known.
func (s *session) ask(ctx context.Context, args []string) (answer, error) {
	type read struct {
		doc json.RawMessage
		err error
	}
	s.asked++
	if _, err := io.WriteString(s.stdin, strings.Join(args, " ")+"\n"); err != nil {
		return answer{}, fmt.Errorf("%w: %w", errNotTaken, err)
	}
	got := make(chan read, 1)
	go func() {
		var r read
		r.err = s.answers.Decode(&r.doc)
		got <- r
	}()
	select {
	case r := <-got:
		if r.err != nil {
			return answer{}, fmt.Errorf("lvm's shell has ended: %w", r.err)
		}
		return answerOf(args[0], r.doc)
	case <-ctx.Done():
		s.end()
		return answer{}, ctx.Err()
	}
}

// lastlog asks for all messages of the command before, of which the profile shows the
// outermost only.
func (s *session) lastlog(ctx context.Context) (string, error) {
	a, err := s.ask(ctx, []string{"lastlog"})
	return a.text, err
}

// answerOf reads the command log: it ends with the status of the command, whose code 1
// is success (ECMD_PROCESSED, tools/errors.h; a process ends with 0 then).
func answerOf(command string, doc []byte) (answer, error) {
	var parsed struct {
		Log []struct {
			Type    string `json:"log_type"`
			Context string `json:"log_context"`
			Object  string `json:"log_object_name"`
			Message string `json:"log_message"`
			Code    string `json:"log_ret_code"`
		} `json:"log"`
	}
	if err := json.Unmarshal(doc, &parsed); err != nil {
		return answer{}, err
	}
	a := answer{out: doc}
	statuses := 0
	var messages []string
	for _, line := range parsed.Log {
		if line.Type != "status" {
			if line.Type != "print" {
				messages = append(messages, line.Message)
			}
			continue
		}
		if line.Context != "shell" {
			continue
		}
		code, err := strconv.Atoi(line.Code)
		if err != nil || command != "lastlog" && line.Object != command {
			return answer{}, errOutOfStep
		}
		if statuses++; code != 1 {
			a.code = code
		}
	}
	a.text = strings.Join(messages, "\n")
	if statuses != 1 {
		return answer{}, errOutOfStep
	}
	return a, nil
}

func (s *session) hasEnded() bool {
	select {
	case <-s.ended:
		return true
	default:
		return false
	}
}

// end ends the shell as any command that is told to stop. One that waits for a command
// ends at once.
func (s *session) end() {
	s.stdin.Close()
	defer s.reports.Close() // and with it the reader
	if s.hasEnded() {
		return // its number may be another process's
	}
	_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGTERM)
	select {
	case <-s.ended:
	case <-time.After(s.grace):
		_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
	}
}
