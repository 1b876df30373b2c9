package damage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/berth-dev/berth/pkg/innodb"
)

const redo = "ib_logfile0"

// redoLog are kinds of damage to the log of a server that had stopped.
func redoLog() []Case {
	log, missing := []innodb.Code{innodb.RedoLog}, []innodb.Code{innodb.RedoLog, innodb.FileMissing}
	return []Case{
		{"8a", "redo header flipped", Stopped, log, innodb.Fatal, func(s *scene, _ Material) error { return s.flipIn(redo, 4, 508) }},
		{"8b", "one checkpoint flipped", Stopped, log, innodb.Repairable, func(s *scene, _ Material) error {
			return s.edit(redo, func(b []byte) error {
				from, _ := checkpoint(b)
				if block := b[4096:]; binary.BigEndian.Uint64(block) != from { // the one that counts
					b[8192+s.rand.IntN(16)] ^= 1
				} else {
					b[4096+s.rand.IntN(16)] ^= 1
				}
				return nil
			})
		}},
		{"8c", "both checkpoints flipped", Stopped, log, innodb.Fatal, func(s *scene, _ Material) error {
			return errors.Join(s.flipIn(redo, 4096, 4096+60), s.flipIn(redo, 8192, 8192+60))
		}},
		{"8d", "redo log deleted", Stopped, missing, innodb.Fatal, func(s *scene, _ Material) error { return os.Remove(s.path(redo)) }},
		{"8e", "redo log empty", Stopped, missing, innodb.Fatal, func(s *scene, _ Material) error { return os.Truncate(s.path(redo), 0) }},
		{"8f", "redo log truncated before its end", Stopped, log, innodb.Fatal, func(s *scene, _ Material) error {
			b, err := s.read(redo)
			if err != nil {
				return err
			}
			from, _ := checkpoint(b)
			return os.Truncate(s.path(redo), int64(max(logOffset(b, from)&^4095, 16384)))
		}},
	}
}

// killed are kinds of damage to a directory whose log holds what its tables do
// not have yet.
func killed() []Case {
	return []Case{
		{"C1", "bit flip in the redo tail, before pages that were written back", Killed, []innodb.Code{innodb.PageLSN}, innodb.Fatal, func(s *scene, m Material) error {
			return s.flipTail(m.End[Killed], true)
		}},
		{"C1b", "bit flip in the redo tail, no page written back", Unflushed, []innodb.Code{innodb.RedoCut}, innodb.NotVerified, func(s *scene, m Material) error {
			return s.flipTail(m.End[Unflushed], false)
		}},
		{"C2", "bit flip between checkpoint and what confirms it", Killed, []innodb.Code{innodb.RedoLog}, innodb.Fatal, func(s *scene, _ Material) error {
			return s.edit(redo, func(b []byte) error {
				from, end := checkpoint(b)
				if end < from+64 {
					return fmt.Errorf("checkpoint %d and its end %d are the same place", from, end)
				}
				b[logOffset(b, from+s.rand.Uint64N(end-from-16))] ^= 1 << s.rand.IntN(8)
				return nil
			})
		}},
		{"C3", "bad page that redo touches, without a copy", Killed, []innodb.Code{innodb.PageChecksum}, innodb.Fatal, func(s *scene, m Material) error {
			return s.flipLeaf(m, true)
		}},
		{"C4", "bad page that redo does not touch", Killed, []innodb.Code{innodb.PageChecksum}, innodb.Fatal, func(s *scene, m Material) error {
			return s.flipLeaf(m, false)
		}},
		{"C5", "an older redo log put back", Killed, []innodb.Code{innodb.PageLSN, innodb.RedoCut}, innodb.Fatal, func(s *scene, m Material) error {
			return s.replace(redo, m.Older+"/"+redo)
		}},
		{"C6", "redo log deleted", Killed, []innodb.Code{innodb.RedoLog, innodb.FileMissing}, innodb.Fatal, func(s *scene, _ Material) error { return os.Remove(s.path(redo)) }},
		{"C7", "a newer table in an older directory", Stopped, []innodb.Code{innodb.PageLSN}, innodb.Fatal, func(s *scene, m Material) error {
			return s.replace(one, m.Newer+"/"+one)
		}},
		{"C8", "torn page with a copy in the doublewrite buffer", Killed, []innodb.Code{innodb.PageTorn}, innodb.Repairable, func(s *scene, _ Material) error {
			return s.tear()
		}},
	}
}

// flipTail turns over a bit of what recovery would apply, in a log that ends at
// last: before the last change of a page that was written back, or else behind it.
func (s *scene) flipTail(last uint64, writtenBack bool) error {
	newest, err := s.newest()
	if err != nil {
		return err
	}
	return s.edit(redo, func(b []byte) error {
		_, end := checkpoint(b)
		from, to := end+1024, min(newest, last)
		if !writtenBack {
			from, to = max(newest, end)+1024, last-min(last, 16<<10)
		}
		if from >= to {
			return fmt.Errorf("no place for a break: checkpoint confirmed at %d, newest page %d, end of the log %d", end, newest, last)
		}
		b[logOffset(b, from+s.rand.Uint64N(to-from))] ^= 1 << s.rand.IntN(8)
		return nil
	})
}

// newest is the highest LSN of a page of the system tablespace, of undo and of
// the tables.
func (s *scene) newest() (uint64, error) {
	highest := uint64(0)
	for _, name := range append([]string{"ibdata1", "undo001", "undo002"}, written...) {
		b, err := s.read(name)
		if err != nil {
			return 0, err
		}
		for no := range len(b) / pageSize {
			if p := at(b, no); isSum(p) {
				highest = max(highest, lsn(p))
			}
		}
	}
	return highest, nil
}

// eachWritten shows the tables that were written to, with the LSN of the
// checkpoint and the system tablespace, until one serves.
func (s *scene) eachWritten(try func(name string, table, system []byte, from uint64) (done bool, err error)) (bool, error) {
	log, err := s.read(redo)
	if err != nil {
		return false, err
	}
	system, err := s.read("ibdata1")
	if err != nil {
		return false, err
	}
	from, _ := checkpoint(log)
	for _, name := range written {
		table, err := s.read(name)
		if err != nil {
			return false, err
		}
		if done, err := try(name, table, system, from); done || err != nil {
			return done, err
		}
	}
	return false, nil
}

// flipLeaf turns over a bit of a leaf page that recovery changes, or else of one
// that it does not change; the page is neither made anew by the log nor in the
// doublewrite buffer.
func (s *scene) flipLeaf(m Material, changed bool) error {
	done, err := s.eachWritten(func(name string, before, system []byte, from uint64) (bool, error) {
		after, err := os.ReadFile(m.Recovered[Killed] + "/" + name)
		if err != nil {
			return false, err
		}
		copied := doublewritten(system, before, 0)
		var found []int
		for _, no := range leaves(before) {
			// A page that was there before the checkpoint was not made after it, unless it
			// had been freed.
			if no < len(after)/pageSize && lsn(at(before, no)) < from && !slices.Contains(copied, no) &&
				changed == (string(at(before, no)) != string(at(after, no))) {
				found = append(found, no)
			}
		}
		if len(found) == 0 {
			return false, nil
		}
		return true, s.flipPage(name, pick(s, found))
	})
	if err == nil && !done {
		err = fmt.Errorf("no leaf page for which it holds that recovery changes it: %v", changed)
	}
	return err
}

// tear leaves a page half written, whose good copy is in the doublewrite buffer.
func (s *scene) tear() error {
	done, err := s.eachWritten(func(name string, table, system []byte, from uint64) (bool, error) {
		all := doublewritten(system, table, from)
		if len(all) == 0 {
			return false, nil
		}
		no := pick(s, all)
		return true, s.edit(name, func(b []byte) error {
			for i := 4096; i < pageSize; i++ {
				at(b, no)[i] = byte(s.rand.Uint32())
			}
			return nil
		})
	})
	if err == nil && !done {
		err = errors.New("no page at home has a copy that recovery accepts")
	}
	return err
}
