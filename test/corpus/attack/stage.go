package attack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/berth-dev/berth/pkg/datadir"
	"github.com/berth-dev/berth/test/corpus"
	"github.com/berth-dev/berth/test/corpus/damage"
)

// Stage has the directories that are damaged, one for each state, and what damage
// is made of. All are of one history.
type Stage struct {
	maker    *corpus.Maker
	states   map[damage.State]corpus.Directory
	material damage.Material
	// positions are those of the states, by the server's recovery.
	positions map[damage.State]datadir.Position
}

// stageFormat is that of the reference's table, with tables of plain formats.
func stageFormat() (corpus.Format, error) {
	found, err := corpus.Named("full_crc32-16k")
	if err != nil {
		return corpus.Format{}, err
	}
	found[0].Undo = 2
	return found[0], nil
}

// stageRows is the number of rows of each table.
const stageRows = 1200

// NewStage makes all states. It takes some seconds.
func NewStage(ctx context.Context, maker *corpus.Maker, seed uint64) (*Stage, error) {
	format, err := stageFormat()
	if err != nil {
		return nil, err
	}
	s := &Stage{maker: maker, states: map[damage.State]corpus.Directory{}, positions: map[damage.State]datadir.Position{}}
	older, err := maker.Clean(ctx, format, "stage/older", stageRows)
	if err != nil {
		return nil, err
	}
	stopped, err := s.further(ctx, older, "stage/stopped", seed)
	if err != nil {
		return nil, err
	}
	newer, err := s.further(ctx, stopped, "stage/newer", seed+1)
	if err != nil {
		return nil, err
	}
	s.states[damage.Stopped] = stopped
	s.material = damage.Material{Older: older.Data(), Newer: newer.Data(), Recovered: map[damage.State]string{}, End: map[damage.State]uint64{}}
	if err := errors.Join(s.kill(ctx, stopped, small, seed), s.kill(ctx, stopped, large, seed), s.interrupt(ctx, stopped), s.transfer(ctx, stopped)); err != nil {
		return nil, err
	}
	for _, state := range []damage.State{damage.Stopped, damage.Definition} {
		if err := s.locate(ctx, state); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// copy makes an empty place and copies a directory to it.
func (s *Stage) copy(ctx context.Context, from corpus.Directory, name string, settings ...string) (corpus.Directory, error) {
	root := filepath.Join(s.maker.Root, name)
	if err := os.RemoveAll(root); err != nil {
		return corpus.Directory{}, err
	}
	if len(settings) > 0 {
		from.Settings = settings
	}
	return from.Copy(ctx, root)
}

// further copies a directory and lets a server write to it.
func (s *Stage) further(ctx context.Context, from corpus.Directory, name string, seed uint64) (corpus.Directory, error) {
	d, err := s.copy(ctx, from, name)
	if err != nil {
		return d, err
	}
	server, err := d.Start(ctx, "")
	if err != nil {
		return d, err
	}
	load := server.Load(ctx, corpus.Shapes()[0], stageRows, seed)
	time.Sleep(700 * time.Millisecond) // how long the load writes
	load.Stop()
	return d, errors.Join(load.Wait(), server.Stop())
}

// death is how a directory comes to be killed.
type death struct {
	state    damage.State
	shape    string
	steps    int64 // of the load
	settings []string
}

var (
	// A small pool writes pages back all the time, and with them the doublewrite
	// buffer.
	small = death{damage.Killed, "smallpool", 60, []string{"innodb_buffer_pool_size=6M", "innodb_flush_log_at_trx_commit=1"}}
	// A large one with a large log has no reason to write any.
	large = death{damage.Unflushed, "oltp", 300, []string{"innodb_buffer_pool_size=128M", "innodb_log_file_size=64M", "innodb_flush_log_at_trx_commit=1"}}
)

// kill makes a killed directory, again if it has no place for one of the kinds
// of damage: when the server dies is not by the seed.
func (s *Stage) kill(ctx context.Context, from corpus.Directory, how death, seed uint64) error {
	const tries = 8
	var unfit error
	for try := range uint64(tries) {
		if err := s.killOnce(ctx, from, how, seed+try); err != nil {
			return err
		}
		if unfit = s.fits(ctx, how.state, seed); unfit == nil {
			return nil
		}
	}
	return fmt.Errorf("kill: %d directories without a place for damage: %w", tries, unfit)
}

func (s *Stage) killOnce(ctx context.Context, from corpus.Directory, how death, seed uint64) error {
	shapes := corpus.Shapes()
	shape := shapes[slices.IndexFunc(shapes, func(k corpus.Shape) bool { return k.Name == how.shape })]
	d, err := s.copy(ctx, from, "stage/"+string(how.state), how.settings...)
	if err != nil {
		return err
	}
	server, err := d.Start(ctx, "")
	if err != nil {
		return err
	}
	load := server.Load(ctx, shape, stageRows, seed)
	for deadline := time.Now().Add(time.Minute); load.Done.Load() < how.steps && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	server.Kill()
	if err := load.Wait(); err != nil {
		return err
	}
	s.states[how.state] = d
	s.material.Recovered[how.state] = filepath.Join(s.maker.Root, "stage/recovered-"+string(how.state), "data")
	return s.locate(ctx, how.state)
}

// fits says whether all kinds of damage to a state find a place.
func (s *Stage) fits(ctx context.Context, state damage.State, seed uint64) error {
	for _, c := range damage.Cases() {
		if c.On != state {
			continue
		}
		if _, err := s.Damage(ctx, c, "try", seed); err != nil {
			return err
		}
	}
	return nil
}

// locate lets the server recover a copy of a state and notes the position.
func (s *Stage) locate(ctx context.Context, state damage.State) error {
	d, err := s.copy(ctx, s.states[state], "stage/recovered-"+string(state))
	if err != nil {
		return err
	}
	r, err := d.Recover(ctx)
	if err == nil && (r.Exit != 0 || !r.Found) {
		err = fmt.Errorf("recover %s: the server ended with %d", d.Root, r.Exit)
	}
	s.positions[state], s.material.End[state] = r.Position, r.End
	return err
}

// interrupt kills a server in the middle of a DDL statement, which is when
// grastate.dat has no uuid.
func (s *Stage) interrupt(ctx context.Context, from corpus.Directory) error {
	d, err := s.copy(ctx, from, "stage/definition")
	if err != nil {
		return err
	}
	server, err := d.Start(ctx, "")
	if err != nil {
		return err
	}
	defer server.Kill()
	ended := make(chan error, 1)
	go func() {
		_, err := server.DB.ExecContext(ctx, "ALTER TABLE cargo.t1 FORCE, ALGORITHM=COPY")
		ended <- err
	}()
	for {
		content, err := os.ReadFile(filepath.Join(d.Data(), "grastate.dat"))
		if err != nil {
			return err
		}
		if strings.Contains(string(content), "00000000-0000-0000-0000-000000000000") {
			s.states[damage.Definition] = d
			return nil
		}
		select {
		case err := <-ended:
			return errors.Join(errors.New("the DDL statement ended before the server could be killed"), err)
		case <-ctx.Done():
			return ctx.Err()
		default:
		}
	}
}

// Damage copies the directory that a case is for to a new place and damages it.
func (s *Stage) Damage(ctx context.Context, c damage.Case, name string, seed uint64) (corpus.Directory, error) {
	d, err := s.copy(ctx, s.states[c.On], filepath.Join("damage", name))
	if err != nil {
		return d, err
	}
	if err := c.Do(d.Data(), s.material, seed); err != nil {
		return d, fmt.Errorf("damage %s (%s): %w", c.ID, c.What, err)
	}
	return d, nil
}
