package corpus

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Maker makes directories below a root. Freshly installed ones are kept, and
// copied for every format that can start from them.
type Maker struct {
	Root string

	mutex sync.Mutex
}

// NewMaker makes directories below root, which the server's user must be able to
// reach.
func NewMaker(root string) (*Maker, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return nil, err
	}
	for dir := root; dir != "/"; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil {
			return nil, err
		}
		if info.Mode().Perm()&1 == 0 {
			return nil, fmt.Errorf("corpus in %s: the server's user cannot enter %s (mode %o); choose another place", root, dir, info.Mode().Perm())
		}
	}
	return &Maker{Root: root}, nil
}

// Fresh makes an installed directory without tables of the load.
func (m *Maker) Fresh(ctx context.Context, format Format, name string, settings ...string) (Directory, error) {
	d := Directory{Root: filepath.Join(m.Root, name), Format: format, Settings: settings}
	if err := os.RemoveAll(d.Root); err != nil {
		return d, err
	}
	if format.Outside {
		return d, d.Install(ctx)
	}
	base, err := m.base(ctx, format)
	if err != nil {
		return d, err
	}
	base.Format, base.Settings = format, settings
	return base.Copy(ctx, d.Root)
}

func (m *Maker) base(ctx context.Context, format Format) (Directory, error) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	d := Directory{Root: filepath.Join(m.Root, "base", format.base()), Format: format}
	done := filepath.Join(d.Root, "installed")
	if _, err := os.Stat(done); err == nil {
		return d, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return d, err
	}
	if err := os.RemoveAll(d.Root); err != nil {
		return d, err
	}
	if err := d.Install(ctx); err != nil {
		return d, err
	}
	return d, os.WriteFile(done, nil, 0o644)
}

// Clean makes a directory with tables of so many rows that was shut down in
// order.
func (m *Maker) Clean(ctx context.Context, format Format, name string, rows int, settings ...string) (Directory, error) {
	d, err := m.Fresh(ctx, format, name, settings...)
	if err != nil {
		return d, err
	}
	s, err := d.Start(ctx, "")
	if err != nil {
		return d, err
	}
	if err := s.Create(ctx, rows); err != nil {
		s.Kill()
		return d, fmt.Errorf("make %s: %w", name, err)
	}
	return d, s.Stop()
}

// Crash is how a server is to be killed.
type Crash struct {
	Format Format
	Shape  Shape
	// Rows is the size of each table before the load.
	Rows int
	// After is how long the load runs after its first step was acknowledged.
	After time.Duration
	// Binlog lets the server write a binary log, through which commits go in two
	// phases.
	Binlog bool
	// Flush is innodb_flush_log_at_trx_commit.
	Flush int
	Seed  uint64
}

// RandomCrash chooses by the seed all that the format and the shape leave open.
func RandomCrash(format Format, shape Shape, seed uint64) Crash {
	r := rand.New(rand.NewPCG(seed, 0))
	return Crash{Format: format, Shape: shape, Seed: seed,
		Rows: 300 + r.IntN(1500), After: time.Duration(200+r.IntN(1300)) * time.Millisecond,
		Flush: []int{1, 1, 2, 0}[r.IntN(4)]}
}

// Killed makes a directory whose server was killed under load; done is the
// number of steps of the load that the server had acknowledged.
func (m *Maker) Killed(ctx context.Context, c Crash, name string) (d Directory, done int64, err error) {
	settings := append([]string{fmt.Sprintf("innodb_flush_log_at_trx_commit=%d", c.Flush)}, c.Shape.Settings...)
	if c.Shape.SmallPool {
		settings = append(settings, fmt.Sprintf("innodb_buffer_pool_size=%dM", c.Format.smallestPool()))
	}
	if c.Binlog {
		settings = append(settings, "log_bin=binlog", "log_slave_updates=ON", "max_binlog_size=1M")
	}
	if d, err = m.Fresh(ctx, c.Format, name, settings...); err != nil {
		return d, 0, err
	}
	s, err := d.Start(ctx, "")
	if err != nil {
		return d, 0, err
	}
	if err := s.Create(ctx, c.Rows); err != nil {
		s.Kill()
		return d, 0, fmt.Errorf("make %s: %w", name, err)
	}
	load := s.Load(ctx, c.Shape, c.Rows, c.Seed)
	select {
	case <-load.Begun():
		time.Sleep(c.After)
	case <-time.After(patience):
	case <-ctx.Done():
	}
	s.Kill()
	if err := load.Wait(); err != nil {
		return d, 0, fmt.Errorf("make %s: %w", name, err)
	}
	if load.Done.Load() == 0 {
		return d, 0, fmt.Errorf("make %s: the server was killed before the load did anything", name)
	}
	return d, load.Done.Load(), ctx.Err()
}
