package lvm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// Shell is a Runner that keeps an lvm open for each of three kinds of command (kinds),
// and has it run one after the other (lvm(8), "lvm shell"), as lvm's own lvmdbusd can:
// most of a short command is the start of its process. Between two commands an open lvm
// holds no lock, no device and no metadata (lvm_run_command drops them, since 2.03.3);
// each takes the locks and reads devices and configuration as it would alone. What it
// was asked is answered by its command log (lvmreport(7)), with the code that the command
// would have ended with.
//
// One kind each, for a shell remembers what it should not: after lvchange -a it lists
// the parts of mirrors as volumes, and after a report it would change a volume group of
// another system ID whose volumes are active (2.03.16, process_component_lvs and
// include_active_foreign_vgs, which nothing takes back). What a command of one kind
// leaves behind is met by commands only that would set the same themselves. All other
// commands, all of a kind while its lvm is busy, and where none can be had, are processes
// of their own, by Exec.
type Shell struct {
	Exec
	// Commands is after how many a fresh lvm takes the place of an open one, and Age
	// after how long, so that an lvm that was replaced on the machine, and whatever a
	// long life may gather, is gone soon; zero means 500, and ten minutes.
	Commands int
	Age      time.Duration
	// Said is told once why no shell is to be had; nil tells nobody.
	Said func(error)

	kept [len(kinds)]kept
	fate fate
}

// kept is the lvm of one kind.
type kept struct {
	mu   sync.Mutex // held by who uses it
	open *session
}

// fate of attempts to open an lvm.
type fate struct {
	mu    sync.Mutex
	later time.Time // none is tried before
	told  bool
}

// tryAgain is how long after a shell could not be had the next one is tried.
const tryAgain = 10 * time.Minute

// kinds are the commands that get an lvm of their own, with the options that they may
// have; nil is any. A command with another option may set what the others do not.
var kinds = [...]struct {
	command string
	options []string
}{
	{"fullreport", nil},
	// A linear volume.
	{"lvcreate", []string{"--driverloaded", "-y", "--setautoactivation", "-W", "-Z", "-an", "-l", "-n", "--addtag"}},
	// Tags of a volume.
	{"lvchange", []string{"--driverloaded", "--deltag", "--addtag"}},
}

// plain is what lvm's shell, which knows quotes and comments, passes on as it is.
var plain = regexp.MustCompile(`^[A-Za-z0-9_+.\-/=!:&@%,]+$`)

// What a shell takes in one line: lvm has room for 64 arguments and passes over a line
// that has more without an answer (MAX_ARGS, tools/lvm2cmdline.h).
const mostArguments, mostBytes = 60, 16 << 10

// kindOf returns the index in kinds of a command, or -1 for one that a shell is not sure
// to take.
func kindOf(args []string) int {
	bytes := 0
	for _, arg := range args {
		bytes += len(arg) + 1
	}
	if len(args) == 0 || len(args) > mostArguments || bytes > mostBytes ||
		slices.ContainsFunc(args, func(arg string) bool { return !plain.MatchString(arg) }) {
		return -1
	}
	for i, k := range kinds {
		if k.command == args[0] && (k.options == nil || !slices.ContainsFunc(args[1:], func(arg string) bool {
			return strings.HasPrefix(arg, "-") && !slices.Contains(k.options, arg)
		})) {
			return i
		}
	}
	return -1
}

// Run implements Runner. A command that is told to stop ends the shell with it: as
// with any other, what it was to do may have been done.
func (s *Shell) Run(ctx context.Context, site, name string, args ...string) ([]byte, error) {
	kind := -1
	if name == "lvm" {
		kind = kindOf(args)
	}
	if kind < 0 || !s.kept[kind].mu.TryLock() {
		return s.Exec.Run(ctx, site, name, args...)
	}
	k := &s.kept[kind]
	defer k.mu.Unlock()
	ctx, cancel := s.within(ctx)
	defer cancel()
	for range 2 {
		if !s.ready(ctx, k) {
			break
		}
		a, err := k.open.ask(ctx, args)
		switch {
		case errors.Is(err, errNotTaken): // it had ended, and nobody had noticed
			k.drop()
			continue
		case err != nil:
			k.drop()
			return nil, fmt.Errorf("%s: %s: %w: %w", site, args[0], ErrUnknown, err)
		case a.code == 0:
			return a.out, nil
		}
		// The code alone is an answer. What lvm remembers of a command that went wrong
		// is of no use to the next.
		text, _ := k.open.lastlog(ctx)
		k.drop()
		return a.out, NewError(site, name, args, a.code, text)
	}
	return s.Exec.Run(ctx, site, name, args...)
}

// ready opens an lvm, a fresh one if there is none or it has lived long enough; false
// says that none can be had.
func (s *Shell) ready(ctx context.Context, k *kept) bool {
	if k.open != nil && (k.open.hasEnded() || k.open.asked >= cmp.Or(s.Commands, 500) || time.Since(k.open.since) >= orDefault(s.Age, 10*time.Minute)) {
		k.drop()
	}
	if k.open != nil || s.fate.tooEarly() {
		return k.open != nil
	}
	shell, err := s.Exec.shell()
	if err == nil {
		if err = shell.greet(ctx); err != nil {
			shell.end()
		}
	}
	if err == nil {
		k.open = shell
	} else if ctx.Err() == nil { // which says nothing about shells
		s.fate.failed(fmt.Errorf("open an lvm that takes commands: %w", err), s.Said)
	}
	return k.open != nil
}

func (f *fate) tooEarly() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return time.Now().Before(f.later)
}

func (f *fate) failed(why error, say func(error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.later = time.Now().Add(tryAgain)
	if !f.told && say != nil {
		say(why)
	}
	f.told = true
}

func (k *kept) drop() {
	k.open.end()
	k.open = nil
}

// Close ends each open lvm, when it has no command any more.
func (s *Shell) Close() {
	for i := range s.kept {
		k := &s.kept[i]
		k.mu.Lock()
		if k.open != nil {
			k.drop()
		}
		k.mu.Unlock()
	}
}
