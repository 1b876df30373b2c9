package member

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"k8s.io/klog/v2"

	"github.com/berth-dev/berth/pkg/datadir"
)

// install makes the data directory of a first installation beside its final
// place and moves it there complete, so that a power cut leaves no half of one.
// The history's uuid is known before the server starts: every epoch, the first
// included, then begins at a position that lineage and grant can name.
func (m *Member) install(ctx context.Context, begin datadir.Position) error {
	found, err := exists(filepath.Join(m.Volume.Data, "ibdata1"))
	if err != nil {
		return fmt.Errorf("look for the data directory: %w", err)
	}
	if !found {
		klog.FromContext(ctx).Info("First installation: creating the data directory")
		building := filepath.Join(m.Volume.Install(), "data")
		if err := os.RemoveAll(m.Volume.Install()); err != nil {
			return fmt.Errorf("remove an unfinished installation: %w", err)
		}
		if err := os.MkdirAll(building, 0o750); err != nil {
			return fmt.Errorf("make the place of the installation: %w", err)
		}
		if err := datadir.SyncDir(m.Volume.Berth()); err != nil {
			return err
		}
		if err := m.Server.Install(ctx, building); err != nil {
			return err
		}
		if err := os.Remove(m.Volume.Data); err != nil && !os.IsNotExist(err) { // only ever an empty directory
			return fmt.Errorf("replace the empty data directory: %w", err)
		}
		if err := os.Rename(building, m.Volume.Data); err != nil {
			return fmt.Errorf("put the data directory into its place: %w", err)
		}
		if err := datadir.SyncDir(m.Volume.Root); err != nil {
			return err
		}
	}
	return datadir.WriteGrastate(m.Volume.Data, begin, false)
}

// finishInstall is called when the lineage is written: from then on, the data
// directory counts as data.
func (m *Member) finishInstall() error {
	if err := os.RemoveAll(m.Volume.Install()); err != nil {
		return fmt.Errorf("finish the installation: %w", err)
	}
	return datadir.SyncDir(m.Volume.Berth())
}
