package attack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/berth-dev/berth/test/corpus"
	"github.com/berth-dev/berth/test/corpus/damage"
)

// transfer lets a new member ask for a full copy by rsync, and kills it when the
// first tables arrive.
func (s *Stage) transfer(ctx context.Context, from corpus.Directory) error {
	d, err := s.copy(ctx, from, "stage/donor")
	if err != nil {
		return err
	}
	donor, err := d.Start(ctx, "")
	if err != nil {
		return err
	}
	defer donor.Kill()
	joiner := corpus.Directory{Root: filepath.Join(s.maker.Root, "stage/joiner"), Format: d.Format}
	if err := os.RemoveAll(joiner.Root); err != nil {
		return err
	}
	tables := func(dir string) (int, error) {
		found, err := filepath.Glob(filepath.Join(dir, "cargo", "*.ibd"))
		return len(found), err
	}
	if err := joiner.JoinUntil(ctx, donor, func() (bool, error) { n, err := tables(joiner.Data()); return n > 0, err }); err != nil {
		return err
	}
	s.states[damage.Transfer] = joiner
	got, err := tables(joiner.Data())
	all, err2 := tables(d.Data())
	if got >= all {
		return fmt.Errorf("all %d tables had arrived before the joiner could be killed", all)
	}
	return errors.Join(err, err2)
}
