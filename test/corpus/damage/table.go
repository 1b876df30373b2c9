package damage

import (
	"errors"
	"os"

	"github.com/berth-dev/berth/pkg/innodb"
)

// Tables that are damaged; the load has written them.
const (
	one   = "cargo/t1.ibd"
	other = "cargo/t2.ibd"
)

// written are all tables that the load writes.
var written = []string{one, other, "cargo/t3.ibd"}

// tables are kinds of damage to a table's own file.
func tables() []Case {
	return []Case{
		{"1", "bit flip in a leaf page", Stopped, []innodb.Code{innodb.PageChecksum}, innodb.Fatal, func(s *scene, _ Material) error {
			no, err := s.leaf(one)
			return errors.Join(err, s.flipPage(one, no))
		}},
		{"2", "table truncated at a page boundary", Stopped, []innodb.Code{innodb.SpaceSize}, innodb.Fatal, func(s *scene, _ Material) error {
			return s.cut(one, 0)
		}},
		{"3", "table truncated inside a page", Stopped, []innodb.Code{innodb.SpaceSize}, innodb.Fatal, func(s *scene, _ Material) error {
			return s.cut(one, 1+s.rand.IntN(pageSize-1))
		}},
		{"4", "leaf page zeroed", Stopped, []innodb.Code{innodb.PageZero}, innodb.Fatal, func(s *scene, _ Material) error {
			no, err := s.leaf(one)
			return errors.Join(err, s.edit(one, func(b []byte) error { clear(at(b, no)); return nil }))
		}},
		{"5", "two pages swapped", Stopped, []innodb.Code{innodb.PageNumber}, innodb.Fatal, func(s *scene, _ Material) error {
			return s.edit(one, func(b []byte) error {
				all := leaves(b)
				i := s.rand.IntN(len(all) - 1)
				x, y := at(b, all[i]), at(b, all[i+1])
				kept := append([]byte(nil), x...)
				copy(x, y)
				copy(y, kept)
				return nil
			})
		}},
		{"5b", "page of another table", Stopped, []innodb.Code{innodb.PageSpace}, innodb.Fatal, func(s *scene, _ Material) error {
			foreign, err := s.read(other)
			if err != nil {
				return err
			}
			return s.edit(one, func(b []byte) error {
				for _, no := range leaves(b) { // one that the other table has too, by the same number
					if no < len(foreign)/pageSize && isSum(at(foreign, no)) {
						copy(at(b, no), at(foreign, no))
						return nil
					}
				}
				return errors.New("no page number in both tables")
			})
		}},
		{"6", "two tables' files swapped", Stopped, []innodb.Code{innodb.SpaceSwapped}, innodb.Fatal, func(s *scene, _ Material) error {
			kept := s.path("kept")
			return errors.Join(os.Rename(s.path(one), kept), os.Rename(s.path(other), s.path(one)), os.Rename(kept, s.path(other)))
		}},
		{"6b", "a table's file copied over another's", Stopped, []innodb.Code{innodb.SpaceDuplicate, innodb.SpaceSwapped}, innodb.Fatal, func(s *scene, _ Material) error {
			return s.replace(other, s.path(one))
		}},
	}
}

// files are kinds of damage to whole files, and to first pages.
func files() []Case {
	return []Case{
		{"10", "grastate.dat empty", Stopped, []innodb.Code{innodb.Grastate}, innodb.Repairable, func(s *scene, _ Material) error { return os.Truncate(s.path("grastate.dat"), 0) }},
		{"10b", "grastate.dat deleted", Stopped, []innodb.Code{innodb.Grastate}, innodb.Repairable, func(s *scene, _ Material) error { return os.Remove(s.path("grastate.dat")) }},
		{"11", "table's file deleted", Stopped, []innodb.Code{innodb.SpaceMissing}, innodb.Fatal, func(s *scene, _ Material) error { return os.Remove(s.path(one)) }},
		{"12", "table's .frm deleted", Stopped, []innodb.Code{innodb.FrmMissing}, innodb.Fatal, func(s *scene, _ Material) error { return os.Remove(s.path("cargo/t1.frm")) }},
		{"13", "bit flip in page 0", Stopped, []innodb.Code{innodb.PageChecksum, innodb.SpaceHeader}, innodb.Fatal, func(s *scene, _ Material) error { return s.flipPage(one, 0) }},
		{"13b", "page 0 zeroed", Stopped, []innodb.Code{innodb.SpaceHeader}, innodb.Fatal, func(s *scene, _ Material) error {
			return s.edit(one, func(b []byte) error { clear(at(b, 0)); return nil })
		}},
		{"14", "whole table zeroed", Stopped, []innodb.Code{innodb.SpaceHeader}, innodb.Fatal, func(s *scene, _ Material) error {
			return s.edit(one, func(b []byte) error { clear(b); return nil })
		}},
		{"14b", "table's file empty", Stopped, []innodb.Code{innodb.SpaceHeader, innodb.SpaceSize}, innodb.Fatal, func(s *scene, _ Material) error { return os.Truncate(s.path(one), 0) }},
	}
}

// harmless are leftovers that no server reads.
func harmless() []Case {
	return []Case{
		{"O1", "a file of zeros that no table has, without .frm", Stopped, []innodb.Code{innodb.SpaceOrphan}, innodb.Fine, func(s *scene, _ Material) error {
			return os.WriteFile(s.path("cargo/stray.ibd"), make([]byte, 5*pageSize), 0o660)
		}},
	}
}

// unseen are kinds of damage in which every page is one that the server wrote
// once. Only the server's CHECK TABLE or another member can tell.
func unseen() []Case {
	return []Case{
		{"L1", "lost write: an older version of a page", Stopped, nil, innodb.Fine, func(s *scene, m Material) error {
			older, err := os.ReadFile(m.Older + "/" + one)
			if err != nil {
				return err
			}
			return s.edit(one, func(b []byte) error {
				for _, no := range leaves(b) {
					if no < len(older)/pageSize && isSum(at(older, no)) && lsn(at(older, no)) < lsn(at(b, no)) {
						copy(at(b, no), at(older, no))
						return nil
					}
				}
				return errors.New("no page has an older version")
			})
		}},
		{"L2", "wrong content under a right checksum", Stopped, nil, innodb.Fine, func(s *scene, _ Material) error {
			no, err := s.leaf(one)
			return errors.Join(err, s.edit(one, func(b []byte) error {
				p := at(b, no)
				p[pageSize/2+s.rand.IntN(1000)] ^= 1
				seal(p)
				return nil
			}))
		}},
	}
}

// cut ends a table within or, with no bytes of it, before one of its leaf pages.
func (s *scene) cut(name string, bytes int) error {
	no, err := s.leaf(name)
	return errors.Join(err, os.Truncate(s.path(name), int64(no*pageSize+bytes)))
}

// replace puts the content of another file into one that is there.
func (s *scene) replace(name, from string) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(s.path(name), os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Close())
}
