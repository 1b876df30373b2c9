package lvmtest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/berth-dev/berth/pkg/lvm"
)

// Recorder passes commands on and keeps them.
type Recorder struct {
	Next lvm.Runner

	mu    sync.Mutex
	calls []string
}

// Run implements lvm.Runner.
func (r *Recorder) Run(ctx context.Context, site, name string, args ...string) ([]byte, error) {
	r.mu.Lock()
	r.calls = append(r.calls, site+": "+name+" "+strings.Join(args, " "))
	r.mu.Unlock()
	return r.Next.Run(ctx, site, name, args...)
}

// Take returns the calls since the last Take, each as "site: name arguments".
func (r *Recorder) Take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	calls := r.calls
	r.calls = nil
	return calls
}

// ErrInjected is behind every error that Faults makes up.
var ErrInjected = errors.New("injected fault")

// Faults passes commands on, except for one.
type Faults struct {
	Next lvm.Runner
	// At is the number, from 1, of the call that goes wrong; 0 is none.
	At int
	// Commits lets that call have its effect before it fails, as when lvm is
	// killed after it wrote the metadata.
	Commits bool
	// Hangs lets that call end with its context only.
	Hangs bool

	mu    sync.Mutex
	calls int
}

// Run implements lvm.Runner.
func (f *Faults) Run(ctx context.Context, site, name string, args ...string) ([]byte, error) {
	f.mu.Lock()
	f.calls++
	hit := f.calls == f.At
	f.mu.Unlock()
	if !hit {
		return f.Next.Run(ctx, site, name, args...)
	}
	if f.Commits {
		// Whether it worked is what the caller does not get to know.
		_, _ = f.Next.Run(ctx, site, name, args...)
	}
	if f.Hangs {
		<-ctx.Done()
	}
	return nil, fmt.Errorf("%s: %s: %w: %w", site, name, lvm.ErrUnknown, ErrInjected)
}

// Calls returns how many commands were run, the failed one included.
func (f *Faults) Calls() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls
}
