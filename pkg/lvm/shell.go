package lvm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"sync"
	"time"
)

// Shell is a Runner that keeps one lvm open for reports, and has it make one after the
// other (lvm(8), "lvm shell"), as lvm's own lvmdbusd can: most of a short command is the
// start of its process. Between two reports the open lvm holds no lock, no device and no
// metadata (lvm_run_command drops them, since 2.03.3); each takes the locks and reads
// devices and configuration as it would alone. What it was asked is answered by its
// command log (lvmreport(7)), with the code that the command would have ended with.
//
// Only reports, and always the same, for a shell remembers what it should not: after
// lvchange -a it lists the parts of mirrors as volumes, and after a report it would
// change a volume group of another system ID whose volumes are active (2.03.16,
// process_component_lvs and include_active_foreign_vgs, which nothing takes back). All
// other commands, all while the shell is busy, and where none can be had, are processes
// of their own, by Exec.
type Shell struct {
	Exec
	// Commands is after how many a fresh lvm takes the place of the open one, and Age
	// after how long, so that an lvm that was replaced on the machine, and whatever a
	// long life may gather, is gone soon; zero means 500, and ten minutes.
	Commands int
	Age      time.Duration
	// Said is told once why no shell is to be had; nil tells nobody.
	Said func(error)

	mu    sync.Mutex // held by who uses the shell
	open  *session
	later time.Time // no shell is tried before
	told  bool
}

// tryAgain is how long after a shell could not be had the next one is tried.
const tryAgain = 10 * time.Minute

// shellCommand is the only one that a shell is given.
const shellCommand = "fullreport"

// plain is what lvm's shell, which knows quotes and comments, passes on as it is.
var plain = regexp.MustCompile(`^[A-Za-z0-9_+.\-/=!:&@%,]+$`)

// What a shell takes in one line: lvm has room for 64 arguments and passes over a line
// that has more without an answer (MAX_ARGS, tools/lvm2cmdline.h).
const mostArguments, mostBytes = 60, 16 << 10

func fits(args []string) bool {
	bytes := 0
	for _, arg := range args {
		bytes += len(arg) + 1
	}
	return len(args) > 0 && len(args) <= mostArguments && bytes <= mostBytes && args[0] == shellCommand &&
		!slices.ContainsFunc(args, func(arg string) bool { return !plain.MatchString(arg) })
}

// Run implements Runner. A command that is told to stop ends the shell with it: as
// with any other, what it was to do may have been done.
func (s *Shell) Run(ctx context.Context, site, name string, args ...string) ([]byte, error) {
	if name != "lvm" || !fits(args) || !s.mu.TryLock() {
		return s.Exec.Run(ctx, site, name, args...)
	}
	defer s.mu.Unlock()
	ctx, cancel := s.within(ctx)
	defer cancel()
	for range 2 {
		shell := s.ready(ctx)
		if shell == nil {
			break
		}
		a, err := shell.ask(ctx, args)
		switch {
		case errors.Is(err, errNotTaken): // it had ended, and nobody had noticed
			s.drop()
			continue
		case err != nil:
			s.drop()
			return nil, fmt.Errorf("%s: %s: %w: %w", site, args[0], ErrUnknown, err)
		case a.code == 0:
			return a.out, nil
		}
		text, err := shell.lastlog(ctx)
		if err != nil {
			s.drop() // the code alone is an answer
		}
		return a.out, NewError(site, name, args, a.code, text)
	}
	return s.Exec.Run(ctx, site, name, args...)
}

// ready returns the shell, a fresh one if there is none or it has lived long enough;
// nil says that none can be had.
func (s *Shell) ready(ctx context.Context) *session {
	if s.open != nil && (s.open.hasEnded() || s.open.asked >= cmp.Or(s.Commands, 500) || time.Since(s.open.since) >= orDefault(s.Age, 10*time.Minute)) {
		s.drop()
	}
	if s.open != nil || time.Now().Before(s.later) {
		return s.open
	}
	shell, err := s.Exec.shell()
	if err == nil {
		if err = shell.greet(ctx); err != nil {
			shell.end()
		}
	}
	if err != nil {
		if ctx.Err() != nil {
			return nil // which says nothing about shells
		}
		if s.later = time.Now().Add(tryAgain); !s.told && s.Said != nil {
			s.Said(fmt.Errorf("open an lvm that takes commands: %w", err))
		}
		s.told = true
		return nil
	}
	s.open = shell
	return shell
}

func (s *Shell) drop() {
	s.open.end()
	s.open = nil
}

// Close ends the open lvm, when it has no command any more.
func (s *Shell) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open != nil {
		s.drop()
	}
}
