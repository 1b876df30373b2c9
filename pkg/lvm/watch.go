package lvm

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/fsnotify/fsnotify"
)

// Watch calls changed soon after lvm on this machine, whoever ran it, has changed
// the metadata of a volume group: the last thing that such a command does is to
// write the new metadata to a file of the group's name in lvm's backup directory
// (vgcfgbackup(8); lvm.conf, backup/backup, on unless somebody turns it off). seqno
// is that of the metadata, or 0 when it is not known, as when the group is removed.
// At its beginning it calls changed once, with no name, for what it has missed.
//
// It is a hint, no record: where backups are turned off nothing is seen, nor of a
// group whose name ends in .tmp, as files do that lvm has not ended yet. It returns
// when the context ends, or with an error when there is nothing to watch, as before
// the machine's first volume group.
func (t SelfTest) Watch(ctx context.Context, changed func(vg string, seqno int)) error {
	dirs, err := t.directories(ctx)
	if err != nil {
		return fmt.Errorf("watch lvm: %w", err)
	}
	dir := dirs.backup
	if t.Place == OnHost {
		dir = filepath.Join(t.proc(), "1/root", dir)
	}
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch lvm: %w", err)
	}
	defer watcher.Close()
	if err := watcher.Add(dir); err != nil {
		return fmt.Errorf("watch lvm's backups in %s: %w", dir, err)
	}
	changed("", 0)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case event := <-watcher.Events:
			name := filepath.Base(event.Name)
			switch {
			case event.Name == dir && event.Has(fsnotify.Remove|fsnotify.Rename):
				return fmt.Errorf("watch lvm's backups: %s is gone", dir)
			case strings.HasPrefix(name, "."), strings.HasSuffix(name, ".tmp"): // before it gets its name
			case event.Has(fsnotify.Create | fsnotify.Remove):
				changed(name, seqnoOf(event.Name))
			}
		case err := <-watcher.Errors:
			if !errors.Is(err, fsnotify.ErrEventOverflow) {
				return fmt.Errorf("watch lvm's backups in %s: %w", dir, err)
			}
			changed("", 0)
		}
	}
}

// seqnoOf reads the sequence number out of metadata as text, where it has a line
// of its own, near the beginning. 0 is unknown.
func seqnoOf(name string) int {
	file, err := os.Open(name)
	if err != nil {
		return 0
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if value, is := strings.CutPrefix(strings.TrimSpace(lines.Text()), "seqno = "); is {
			if seqno, err := strconv.Atoi(value); err == nil {
				return seqno
			}
		}
	}
	return 0
}
